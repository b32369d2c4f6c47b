"""The report's measurements: calibrate each rank count, then measure every algorithm beside the library's own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from collectives.profile import Profile
from experiments import calibrate, launches
from experiments.environment import load_average
from experiments.grid import Grid
from experiments.samples import write_folder

__all__ = ["FULL", "QUICK", "USUAL", "Extent", "measure"]

_KIBI, _MEBI = 2**10, 2**20


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured: vector sizes in bytes, launches of mpirun, most samples of a cell in a launch.

    ``time_limit`` (seconds) is for all launches, ``calibration`` for each rank count.
    """

    sizes: tuple[int, ...]
    launches: int
    samples: int
    time_limit: float
    calibration: float


QUICK = Extent((8, 4 * _KIBI, 256 * _KIBI, 2 * _MEBI), launches=1, samples=12, time_limit=10.0, calibration=3.0)
USUAL = Extent(
    (8, 128, 2 * _KIBI, 16 * _KIBI, 64 * _KIBI, 256 * _KIBI, _MEBI, 4 * _MEBI),
    launches=3,
    samples=40,
    time_limit=100.0,
    calibration=8.0,
)
FULL = Extent(tuple(8 * 2**power for power in range(22)), launches=5, samples=60, time_limit=540.0, calibration=15.0)


def measure(folder: Path, ranks: Sequence[int], extent: Extent, mpi: str) -> Sequence[str]:
    """Fill ``folder`` with samples, results, environment and profiles; returns a story for each wrong result.

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
