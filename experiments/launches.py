"""The launcher's side of the benchmark: start mpirun several times, watch it, and gather what the ranks wrote."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collectives.profile import Profile
from experiments import environment, launch
from experiments.errors import Failure, UsageFault
from experiments.grid import Grid, Pace
from experiments.places import LOCAL, Place
from experiments.progress import Notify, Progress, last_line, watching
from experiments.records import Record
from experiments.work_folders import work_folder

__all__ = ["Measurement", "Notify", "Progress", "measure", "run_ranks", "start_fresh"]

LAUNCHES = 3
SAMPLES = 40
TIME_LIMIT = 60.0
CELL_LIMIT = 300.0

_STARTUP = 1.5  # seconds that a launch takes beside its samples, until one has shown it
_BAD_USE = 2
_GRACE = 120.0  # seconds for mpirun and Python to start, before a launch counts as hung


@dataclass(frozen=True, slots=True)
class Measurement:
    """Records with their predictions, where they were taken, and a story for each wrong result."""

    records: Sequence[Record]
    environment: Mapping[str, Any]
    stories: Sequence[str]


def measure(
    grid: Grid,
    ranks: Sequence[int],
    folder: Path,
    *,
    mpi: str = "openmpi",
    launches: int = LAUNCHES,
    samples: int = SAMPLES,
    time_limit: float = TIME_LIMIT,
    cell_limit: float = CELL_LIMIT,
    profiles: Mapping[int, Profile] | None = None,
    seed: int | None = None,
    notify: Notify | None = None,
    place: Place = LOCAL,
    device: str = "cpu",
) -> Measurement:
    """Measure ``grid`` on each number of ranks and write the results folder (made if missing).

    ``time_limit`` (seconds) is for all launches with their starts. Every cell gets three samples in each launch
    whatever the limit, so a grid that is too large for it takes longer. ``profiles`` (by number of ranks) give the
    predictions. ``notify`` is called from a thread of its own. ``place``: where the ranks run; ``device``: where the
    vectors lie ("cpu" or "cuda").

    Raises UsageFault for a request that cannot be met, and Failure when a launch dies or hangs; the samples taken
    until then stay in the folder. A wrong result is no exception: see ``Measurement.stories``.
    """
    from experiments import predict  # these import SciPy, which `ciranda --help` should not wait for
    from experiments import samples as raw

    jobs = [(count, number) for number in range(launches) for count in ranks]
    visits = sum(len(grid.cases(count)) for count, _ in jobs) * Pace.VISITS
    series = _Series(grid, start_fresh(folder), mpi, place, samples, cell_limit, visits, notify, device)
    seed = secrets.randbits(32) if seed is None else seed
    surroundings = environment.collect() | {"mpi": mpi, "seed": seed, "time_limit_seconds": time_limit}
    surroundings |= {"place": place.name, "place_facts": place.describe()}
    deadline, startup = time.monotonic() + time_limit, _STARTUP
    for index, (count, number) in enumerate(jobs):
        began = time.monotonic()
        share = max(0.0, (deadline - began) / (len(jobs) - index) - startup)
        job = series.launch(count, Pace(seed, number, samples, share, cell_limit))
        startup = max(0.0, time.monotonic() - began - job["sampling_seconds"])
    library: str = series.jobs[0]["library"]
    surroundings |= {"library": library, "launches": series.jobs}
    executor: str = series.jobs[0].get("executor", raw.EXECUTOR)
    found = raw.summarise(raw.read(series.file), library, place.name, device=device, executor=executor)
    records = predict.predictions(found, profiles or {})
    raw.write_folder(folder, records, surroundings, profiles or {})
    return Measurement(records, surroundings, series.stories)


def start_fresh(folder: Path) -> Path:
    """The place for raw samples in ``folder``, made if missing. Raises UsageFault where results are there already."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "samples.jsonl"
    if file.exists():
        raise UsageFault(f"{file} is there already; name another folder, or remove it first")
    file.touch()
    return file


@dataclass(slots=True)
class _Series:
    """The launches of one measurement, which all write into one file of samples."""

    grid: Grid
    file: Path
    mpi: str
    place: Place
    samples: int
    cell_limit: float
    total: int
    notify: Notify | None
    device: str = "cpu"
    done: int = 0
    jobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    stories: list[str] = field(default_factory=list[str])

    def launch(self, ranks: int, pace: Pace) -> dict[str, Any]:
        """Run one launch and return what its rank 0 tells of it."""
        visits = len(self.grid.cases(ranks)) * Pace.VISITS
        with work_folder() as work:
            steps = work / "progress.jsonl"
            with watching(steps, self.notify, self.done, self.total):
                started = run_ranks(
                    ranks, self._program(pace, work), self.mpi, visits * pace.cell_limit,
                    lambda: _where(pace.launch, last_line(steps).get("case")), self.place,
                )  # fmt: skip
            job: dict[str, Any] = json.loads((work / "job.json").read_text(encoding="utf-8"))
        self.stories += job.pop("stories")
        settings = {name: value for name, value in started.environment.items() if name != "MPI4PY_LIBMPI"}
        self.jobs.append(job | {"settings": settings, "notes": list(started.notes)})  # that one is a path
        self.done += visits
        return job

    def _program(self, pace: Pace, work: Path) -> list[str]:
        grid = self.grid
        options = {
            "sizes": ",".join(map(str, grid.sizes)), "dtype": ",".join(grid.dtypes), "op": ",".join(grid.ops),
            "samples": pace.samples, "time-limit": pace.time_limit, "cell-limit": pace.cell_limit, "seed": pace.seed,
            "launch": pace.launch, "work": work, "samples-file": self.file.resolve(), "device": self.device,
        }  # fmt: skip
        both = ["--in-place"] if len(grid.placements) > 1 else []
        settings = [f"--{name}={value}" for name, value in options.items()]
        return ["python", "-m", "experiments.benchmark", *settings, *both, *grid.algorithms]


def _where(number: int, case: str | None) -> str:
    return f"launch {number + 1}, {f'measuring {case}' if case else 'before its first sample'}"


def run_ranks(
    ranks: int, program: Sequence[str], mpi: str, limit: float, where: Callable[[], str], place: Place = LOCAL
) -> launch.Launch:
    """Run a program on ranks to its end; raises Failure with a story if that is no good one or does not come.

    What the ranks call bad use (exit code 2, see ``on_ranks``) is raised as the UsageFault that it was.

    ``limit``: seconds that it may take, beside its start. ``where`` says how far it came. ``place``: where they run.
    """
    started = place.command(ranks, program, mpi)
    ended = launch.capture(started, timeout=_GRACE + limit)
    if ended.code == 0:
        return started
    how = f"ended with exit code {ended.code}"
    if (
        ended.code == launch.TIMED_OUT or "Timeout (" in ended.stderr
    ):  # so faulthandler begins when a cell takes too long
        how = "hung and was ended"
    elif ended.code > 128:
        how += f" (signal {ended.code - 128})"
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip(" -")]
    own = [line.removeprefix("ciranda: ") for line in lines if line.startswith("ciranda: ")] or lines[-4:]
    if ended.code == _BAD_USE and any(line.startswith("ciranda: ") for line in lines):
        raise UsageFault(" / ".join(dict.fromkeys(own)))
    words = f": {' / '.join(dict.fromkeys(own))}" if own else ""
    raise Failure(f"the job of {ranks} ranks {how} ({where()}){words}")
