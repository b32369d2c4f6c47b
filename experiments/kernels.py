"""`ciranda kernels`: each kernel's bandwidth beside that of a copy, and its time beside NumPy's, in one run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.errors import UsageFault
from experiments.units import format_bytes, format_seconds, parse_sizes

if TYPE_CHECKING:
    from experiments.kernel_cases import Case
    from experiments.kernel_places import Place
    from experiments.kernel_timing import Timing
    from experiments.statistics import Estimate

__all__ = ["command"]

Names = Annotated[
    list[str] | None,
    typer.Argument(help="Families (reduce, compress ...) or kernels (sum ...); by default all.", show_default=False),
]


def command(
    names: Names = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    sizes: Annotated[str, typer.Option(help="Bytes of each array: a list or a doubling range.")] = "1KiB,1MiB,64MiB",
    dtype: Annotated[
        str, typer.Option("--dtype", help="Such as float32,bfloat16; checksums are of uint8.")
    ] = "float32,float16,bfloat16,uint8",
    samples: Annotated[int, typer.Option(help="Most samples of a kernel.", min=1)] = 25,
    as_json: Annotated[bool, typer.Option("--json", help="Print flat records and the environment as JSON.")] = False,
) -> None:
    """Measure the kernels beside a copy and beside NumPy, on one core or on a CUDA device.

    Kernel, copies and NumPy are called in turns, and compared by medians with 95 % intervals. Bytes are those that must
    be read and written: lines that a plain store reads before it writes them count for neither side.

    Example: ciranda kernels sum compress --sizes 64KiB,64MiB --dtype float32,bfloat16
    """
    from experiments import kernel_places
    from experiments.benchmark import shown_progress
    from experiments.kernel_timing import measure
    from experiments.progress import Progress

    place = kernel_places.named(device)
    groups = list(_groups(names or (), place, dtype.split(","), parse_sizes(sizes)))
    measured: list[tuple[Case, Timing]] = []
    with shown_progress() as notify:
        for done, group in enumerate(groups):
            for case in group:
                if notify is not None:
                    notify(Progress(done, len(groups), f"{case.kernel} {case.dtype} {format_bytes(case.nbytes)}"))
                measured.append((case, measure(case, place, samples)))
    if not measured:
        raise UsageFault(f"no kernel is called {' or '.join(names or ())} for {dtype}; see ciranda kernels --help")
    if as_json:
        _print_records([timing.record(case, place) for case, timing in measured])
    else:
        _show(measured, place)


def _groups(
    names: Sequence[str], place: Place, dtypes: Sequence[str], sizes: Sequence[int]
) -> Iterator[Iterator[Case]]:
    """The wanted cases, by family, dtype and size; a group's arrays are made when it is looked at."""
    from experiments import payload
    from experiments.kernel_cases import FAMILIES

    kinds = [payload.dtype(name) for name in dtypes]
    for family, makers in FAMILIES.items():
        for kind in kinds:
            for nbytes in sizes:
                for cases in makers:
                    yield _wanted(names, family, cases(place, kind, nbytes))


def _wanted(names: Sequence[str], family: str, cases: Iterator[Case]) -> Iterator[Case]:
    for case in cases:
        if not names or family in names or case.kernel in names:
            yield case


def _print_records(records: Sequence[dict[str, Any]]) -> None:
    from experiments.environment import collect

    print(json.dumps({"records": list(records), "environment": collect()}, indent=1, ensure_ascii=False))


def _show(measured: Sequence[tuple[Case, Timing]], place: Place) -> None:
    from experiments.tables import show

    families = dict.fromkeys(case.family for case, _ in measured)
    columns = ["kernel", "dtype", "size", "time", "GB/s", "of copy", "NumPy / this"]
    for family in families:
        rows = [_row(case, timing) for case, timing in measured if case.family == family]
        show(f"{family} on {place.name}", columns, rows)
    typer.echo(
        "Medians and their 95 % intervals. Of copy: bytes that the kernel moves in a second over those of the fastest "
        "copy of one array, taken in turns with it. NumPy / this above 1: the kernel is faster."
    )


def _row(case: Case, timing: Timing) -> list[str]:
    share, ratio = timing.copy_share, timing.numpy_ratio
    return [
        f"{case.kernel}, in place" if case.in_place else case.kernel, case.dtype, format_bytes(case.nbytes),
        format_seconds(timing.kernel.value, digits=3), f"{case.moved / timing.kernel.value / 1e9:.1f}",
        _with_interval(share, ".0%"), "" if ratio is None else _with_interval(ratio, ".2f"),
    ]  # fmt: skip


def _with_interval(estimate: Estimate, form: str) -> str:
    around = "" if estimate.low is None else f" {estimate.low:{form}}–{estimate.high:{form}}"
    return f"{estimate.value:{form}}{around}"
