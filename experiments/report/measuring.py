"""The report's measurements: how collectives scale where the network is the slow part, and this machine itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from collectives.profile import Profile
from experiments import calibrate, launches, places
from experiments.environment import load_average
from experiments.grid import Grid
from experiments.samples import write_folder
from experiments.scaling import grounds
from experiments.scaling.cells import MORE_SIZES
from experiments.scaling.run import Request, run
from experiments.training.comparison import run as comparison
from experiments.training.comparison.run import compare

__all__ = ["FULL", "LOCAL", "LOCAL_RANKS", "QUICK", "TRAINING_RANKS", "USUAL", "Extent", "Scale", "measure", "scale"]

_KIBI, _MEBI = 2**10, 2**20


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured on local ranks: vector sizes in bytes, launches of mpirun, most samples of a cell in one.

    ``time_limit`` (seconds) is for all launches, ``calibration`` for each rank count.
    """

    sizes: tuple[int, ...]
    launches: int
    samples: int
    time_limit: float
    calibration: float


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured of scaling; ``time_limit`` (seconds) holds the ``calibration`` too.

    ``training``: seconds for the comparison of training strategies, on the same place and by the same calibration.
    ``local``: what is measured on this machine itself beside it, where scaling had an emulated cluster.
    """

    sizes: tuple[int, ...]
    launches: int
    time_limit: float
    calibration: float
    training: float
    local: Extent


LOCAL_RANKS = (2, 4)
"""Rank counts of the part on this machine itself, where a cluster was the main part."""

QUICK = Extent((8, 4 * _KIBI, 256 * _KIBI, 2 * _MEBI), launches=1, samples=12, time_limit=10.0, calibration=3.0)
LOCAL = Extent(
    (8, 2 * _KIBI, 64 * _KIBI, 256 * _KIBI, _MEBI, 4 * _MEBI), launches=2, samples=30, time_limit=14.0, calibration=3.0
)
MORE_LOCAL = Extent(MORE_SIZES, launches=5, samples=60, time_limit=240.0, calibration=15.0)
USUAL_SIZES = (8, 512, 4 * _KIBI, 16 * _KIBI, 64 * _KIBI, 256 * _KIBI, _MEBI)
"""Up to 1 MiB: at 100 Mbit/s one round of all algorithms at 16 MiB takes longer than a report may."""

TRAINING_RANKS = (2, 4, 8)
"""Rank counts of the comparison of training strategies."""

USUAL = Scale(USUAL_SIZES, launches=2, time_limit=108.0, calibration=15.0, training=42.0, local=LOCAL)
FULL = Scale(MORE_SIZES, launches=5, time_limit=900.0, calibration=40.0, training=300.0, local=MORE_LOCAL)


def scale(
    folder: Path, ranks: Sequence[int], extent: Scale, mpi: str, on: str, profile: Profile | None = None
) -> Sequence[str]:
    """Measure scaling into ``folder`` on the place ``on``, by ``profile`` or calibrating; returns stories of faults.

    Where that place is an emulated cluster, this machine itself is measured into ``folder/local``. Training by
    parameter servers and by allreduce is compared on the same place. Cost: about the three time limits. Raises
    UsageFault for a place that is not ready, and Failure when a launch dies.
    """
    stories: list[str] = []
    with grounds.chosen(on, ranks) as ground:
        kept = grounds.fitting(ranks, ground.place)
        missing = [f"the cluster has too few hosts for {count} ranks: left out" for count in ranks if count not in kept]
        for note in (*ground.notes, *missing):
            print(f"ciranda: {note}", file=sys.stderr)
        request = Request(
            (), kept, extent.sizes, launches=extent.launches, time_limit=extent.time_limit,
            calibration=extent.calibration, mpi=mpi,
        )  # fmt: skip
        with _steps() as step:
            measuring = step(f"scaling on {ground.place.name}", 1)
            found = run(
                request, folder, ground.place, reason=ground.reason, profile=profile,
                notify=lambda now: measuring(now.done / now.total, f"measuring {now.case}"),
            )  # fmt: skip
            measuring(1, f"measured {len(found.records)} cells on {ground.place.name}")
            training = step(f"training on {ground.place.name}", 1)
            trained = compare(
                training_request(kept, extent.training, mpi, ground.place), folder, found.profile, place=ground.place,
                reason=ground.reason, notify=lambda now: training(now.done / now.total, f"training by {now.case}"),
            )  # fmt: skip
            training(1, f"trained in {sum(one.steps > 0 for one in trained.records)} ways on {ground.place.name}")
        stories += found.stories
    if ground.place.name == places.Cluster.name:  # after the cluster is gone, which would take its part of the cores
        stories += measure(folder / "local", LOCAL_RANKS, extent.local, mpi)
    return stories


def training_request(ranks: Sequence[int], time_limit: float, mpi: str, place: places.Place) -> comparison.Request:
    """What is compared in training where so many ranks have been measured; fewer where all share one machine."""
    wanted = LOCAL_RANKS if place.name == places.Local.name else TRAINING_RANKS
    most = max(ranks)
    return comparison.Request(
        tuple(count for count in wanted if count <= most) or (most,), time_limit=time_limit, mpi=mpi
    )


def measure(folder: Path, ranks: Sequence[int], extent: Extent, mpi: str) -> Sequence[str]:
    """Fill ``folder`` with what local ranks do; returns a story for each wrong result.

    Cost: about ``extent.time_limit`` seconds and a few more for each calibration. Raises Failure when a launch dies.
    """
    before = load_average()  # later it holds what the calibration did
    with _steps() as step:
        calibrating = step("calibrating", len(ranks))
        profiles: dict[int, Profile] = {}
        for done, count in enumerate(ranks):
            calibrating(done, f"calibrating with {count} ranks")
            profiles[count] = calibrate.calibrate(count, mpi=mpi, time_limit=extent.calibration)
        calibrating(len(ranks), "calibrated")
        measuring = step("measuring", 1)
        measured = launches.measure(
            Grid.choose([], extent.sizes, ["float32"], ["sum"]), ranks, folder, mpi=mpi, launches=extent.launches,
            samples=extent.samples, time_limit=extent.time_limit, profiles=profiles,
            notify=lambda now: measuring(now.done / now.total, f"measuring {now.case}"),
        )  # fmt: skip
        measuring(1, f"measured {len(measured.records)} cells")
    known = {**measured.environment, "load_average_before_calibration": before}
    write_folder(folder, measured.records, known, profiles)
    return measured.stories


Step = Callable[[float, str], None]


@contextmanager
def _steps() -> Generator[Callable[[str, int], Step]]:
    """Rich bars on a terminal, and a line at the end of each step elsewhere."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def begin(title: str, total: int) -> Step:
            task = bars.add_task(title, total=total)

            def update(done: float, description: str) -> None:
                bars.update(task, completed=done, description=description)
                if done == total and not console.is_terminal:
                    console.print(description)

            return update

        yield begin
