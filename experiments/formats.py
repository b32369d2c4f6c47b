"""Records as text: our own table, and the columns of the OSU micro-benchmarks and of nccl-tests.

The foreign formats keep the column conventions that parsers rely on (comment lines begin with ``#``, one block an
algorithm). Their titles say that Ciranda measured, for these are not runs of those programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Literal, get_args

from experiments import __version__, payload
from experiments.errors import UsageFault
from experiments.records import Record
from experiments.units import format_bytes

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["FORMATS", "Format", "nccl_tests", "osu", "tables", "text"]

Format = Literal["table", "osu", "nccl-tests"]
FORMATS: tuple[Format, ...] = get_args(Format)

_MPI_TYPES = {
    "float16": "FLOAT16", "bfloat16": "BFLOAT16", "float32": "MPI_FLOAT", "float64": "MPI_DOUBLE", "int8": "MPI_INT8_T",
    "int16": "MPI_INT16_T", "int32": "MPI_INT", "int64": "MPI_INT64_T", "uint8": "MPI_UINT8_T",
    "uint16": "MPI_UINT16_T", "uint32": "MPI_UINT32_T", "uint64": "MPI_UINT64_T", "complex64": "MPI_C_FLOAT_COMPLEX",
    "complex128": "MPI_C_DOUBLE_COMPLEX",
}  # fmt: skip

_NCCL_TYPES = {"float16": "half", "float32": "float", "float64": "double"}

_NCCL_COLUMNS = (
    f"#{'':62}out-of-place{'':23}in-place{'':10}",
    f"#{'size':>11}  {'count':>12}  {'type':>8}  {'redop':>6}  {'root':>6}"
    + 2 * f"  {'time':>7}  {'algbw':>6}  {'busbw':>6} {'#wrong':>6}",
    f"#{'(B)':>11}  {'(elements)':>12}  {'':>8}  {'':>6}  {'':>6}"
    + 2 * f"  {'(us)':>7}  {'(GB/s)':>6}  {'(GB/s)':>6}  {'':>5}",
)


def text(form: str) -> Callable[[Iterable[Record]], str]:
    """The writer of a foreign format. Raises UsageFault listing the formats."""
    writers = {"osu": osu, "nccl-tests": nccl_tests}
    if form not in writers:
        raise UsageFault(f"format {form!r} is not known; use one of {', '.join(FORMATS)}")
    return writers[form]


def osu(records: Iterable[Record]) -> str:
    """As ``osu_allreduce -f`` prints: size in bytes, then mean, least and greatest rank's mean latency in µs.

    The OSU micro-benchmarks report means over the iterations, so these columns are means, and not our medians. They
    measure out of place only.
    """
    outside = [record for record in records if not record.in_place]
    return "\n".join(line for block in _blocks(outside) for line in _osu_block(block)) + "\n"


def nccl_tests(records: Iterable[Record]) -> str:
    """As ``all_reduce_perf`` prints: times in µs, bandwidths in GB/s (1e9), ``#wrong`` the wrong elements.

    Times are medians. A placement that was not measured says ``N/A``, as nccl-tests itself does.
    """
    return "\n".join(line for block in _blocks(records) for line in _nccl_block(block)) + "\n"


def tables(records: Sequence[Record]) -> Iterator[RenderableType]:
    """Our own tables, one for each rank count, dtype, operation and placement; every header states its unit."""
    for (ranks, dtype, op, in_place), group in groupby(records, lambda r: (r.ranks, r.dtype, r.op, r.in_place)):
        rows = list(group)
        title = (
            f"allreduce, {ranks} ranks, {dtype} {op}, {'in place' if in_place else 'out of place'}, {rows[0].library}"
        )
        if rows[0].oversubscribed:
            title += " (oversubscribed: more ranks than cores)"
        yield _table(title, rows)


# --- our own --------------------------------------------------------------------------------------------------------


def _table(title: str, rows: Sequence[Record]) -> RenderableType:
    from rich import box
    from rich.table import Table

    predicts = any(row.bound_seconds is not None for row in rows)
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    headers = ["size", "algorithm", "median\n(us)", "95 % interval\n(us)", "busbw\n(GB/s)", "native / this", "samples"]
    headers += ["theory\n(us)", "simulated\n(us)", "bound\n(us)"] if predicts else []
    for header in headers:
        table.add_column(header, justify="left" if header == "algorithm" else "right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    for _, group in groupby(rows, lambda row: row.nbytes):
        for row in sorted(group, key=lambda row: row.measured_seconds or 0.0):
            table.add_row(*_cells(row, predicts=predicts), style="bold" if row.is_native else None)
        table.add_section()
    return table


def _cells(row: Record, *, predicts: bool) -> list[str]:
    interval = f"{_time(row.measured_low)} .. {_time(row.measured_high)}" if row.measured_low is not None else "too few"
    cells = [format_bytes(row.nbytes), row.algorithm, _time(row.measured_seconds), interval]
    cells += [f"{(row.busbw or 0) / 1e9:.3f}", _ratio(row), str(row.samples)]
    if predicts:
        cells += [_time(seconds) for seconds in (row.theory_seconds, row.simulated_seconds, row.bound_seconds)]
    return [*cells, "correct" if row.correct else f"[red]{row.wrong} wrong[/]"]


def _ratio(row: Record) -> str:
    if row.native_ratio is None:
        return ""
    if row.native_ratio_low is None or row.native_ratio_high is None:
        return f"{row.native_ratio:.2f}"
    return f"{row.native_ratio:.2f} [{row.native_ratio_low:.2f}, {row.native_ratio_high:.2f}]"


def _time(seconds: float | None) -> str:
    """Microseconds in three digits, or all that are before the point."""
    if seconds is None:
        return ""
    microseconds = seconds * 1e6
    return f"{microseconds:,.{2 if microseconds < 9.995 else 1 if microseconds < 99.95 else 0}f}"


# --- theirs ---------------------------------------------------------------------------------------------------------


def _blocks(records: Iterable[Record]) -> list[list[Record]]:
    """One block for each algorithm, rank count, dtype and operation, in the order of the records, by ascending size."""
    blocks: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        blocks.setdefault((record.ranks, record.dtype, record.op, record.algorithm), []).append(record)
    return [sorted(block, key=lambda record: record.nbytes) for block in blocks.values()]


def _subject(block: Sequence[Record]) -> str:
    first = block[0]
    crowded = ", oversubscribed: more ranks than cores" if first.oversubscribed else ""
    return f"{first.algorithm} on {first.ranks} ranks, {first.op}, {first.library}{crowded}"


def _osu_block(block: Sequence[Record]) -> Iterator[str]:
    yield ""
    yield f"# OSU MPI Allreduce Latency Test: the columns of its version 7, measured by Ciranda {__version__}"
    yield f"# Algorithm: {_subject(block)}."
    yield f"# Datatype: {_MPI_TYPES[block[0].dtype]}."
    yield "# Size       Avg Latency(us)   Min Latency(us)   Max Latency(us)  Iterations"
    for record in block:
        latencies = (record.rank_mean_seconds, record.rank_min_seconds, record.rank_max_seconds)
        columns = "".join(f"{(seconds or 0) * 1e6:18.2f}" for seconds in latencies)
        yield f"{record.nbytes:<10d}{columns}{record.samples:12d}"


def _nccl_block(block: Sequence[Record]) -> Iterator[str]:
    outside = {record.nbytes: record for record in block if not record.in_place}
    inside = {record.nbytes: record for record in block if record.in_place}
    sizes = sorted(outside | inside)
    yield f"# The columns of nccl-tests' all_reduce_perf, measured by Ciranda {__version__}: {_subject(block)}"
    yield f"# minBytes {sizes[0]} maxBytes {sizes[-1]} validation: 1"
    yield "#"
    yield from _NCCL_COLUMNS
    for size in sizes:
        record = outside.get(size) or inside[size]
        count = size // payload.dtype(record.dtype).itemsize
        kind = _NCCL_TYPES.get(record.dtype, record.dtype)
        yield (
            f"{size:12d}  {count:12d}  {kind:>8s}  {record.op:>6s}  {-1:6d}"
            f"{_nccl_times(outside.get(size))}{_nccl_times(inside.get(size))}"
        )
    wrong = sum(record.wrong for record in block)
    rates = [record.busbw or 0.0 for record in block]
    yield f"# Out of bounds values : {wrong} {'FAILED' if wrong else 'OK'}"
    yield f"# Avg bus bandwidth    : {sum(rates) / len(rates) / 1e9:g} "
    yield "#"


def _nccl_times(record: Record | None) -> str:
    if record is None or record.measured_seconds is None:
        return f"  {'N/A':>7s}  {'N/A':>6s}  {'N/A':>6s}  {'N/A':>5s}"
    microseconds = record.measured_seconds * 1e6
    digits = 2 if microseconds < 100 else 1 if microseconds < 10_000 else 0
    rates = "".join(f"  {(rate or 0) / 1e9:6.2f}" for rate in (record.algbw, record.busbw))
    return f"  {microseconds:7.{digits}f}{rates}  {record.wrong:5d}"
