"""The launcher's side: calibrate, plan, launch, and set predictions and reasons beside what was measured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from collectives.profile import Profile
from experiments import calibrate, differences, environment, predict
from experiments import samples as raw
from experiments.environment import load_average
from experiments.errors import UsageFault
from experiments.grid import Case
from experiments.launches import start_fresh
from experiments.places import Place
from experiments.progress import Notify
from experiments.records import NATIVE, Record, document
from experiments.scaling.cells import Cell, cells
from experiments.scaling.findings import findings
from experiments.scaling.plan import Planner
from experiments.scaling.series import Series
from experiments.statistics import median

__all__ = ["Request", "Scaling", "run"]

_NATIVE = 2.0  # times the lower bound, until the library's own has been measured
_AFTERWARDS = 8.0  # times as long as predicting once, to explain all records at the end


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure: algorithms (none: all), rank counts, sizes in bytes, and how much of it.

    ``time_limit`` (seconds) is for all of it, of which ``calibration`` goes to the calibration.
    ``most``: samples of a cell in one launch. ``cell_limit``: seconds after which a cell hangs, beside ten times what
    it should take. ``compute``: seconds that a training step computes.
    """

    algorithms: tuple[str, ...]
    ranks: tuple[int, ...]
    sizes: tuple[int, ...]
    launches: int = 3
    most: int = 15
    time_limit: float = 600.0
    calibration: float = 15.0
    cell_limit: float = 60.0
    compute: float = 1.0
    mpi: str = "openmpi"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Scaling:
    """Every cell as a record, where they were taken, a story for each wrong result, and what they say together."""

    records: Sequence[Record]
    environment: Mapping[str, Any]
    stories: Sequence[str]
    findings: Mapping[str, Any]
    profile: Profile

    def document(self) -> dict[str, Any]:
        """The content of ``results.json``: records, environment, and ``scaling``."""
        return document(self.records, self.environment) | {"scaling": self.findings}


def run(
    request: Request,
    folder: Path,
    place: Place,
    *,
    reason: str = "",
    profile: Profile | None = None,
    notify: Notify | None = None,
) -> Scaling:
    """Calibrate on ``place`` (unless a ``profile`` is given), measure, and write the results folder (made if missing).

    ``reason``: why this place was taken, for the environment. ``notify`` is called from a thread of its own. Raises
    UsageFault for a request that cannot be met, and Failure when a launch dies or hangs; the samples taken until then
    stay in the folder. A cell without a sample has a record without a measured time.
    """
    before, deadline = load_average(), time.monotonic() + request.time_limit
    wanted = cells(request.algorithms, request.ranks, request.sizes)
    file = start_fresh(folder)
    if profile is None:
        profile = calibrate.calibrate(
            max(request.ranks), mpi=request.mpi, time_limit=request.calibration, place=place
        )  # fmt: skip
    differences.explain(_predicted(wanted[-1], profile, place.name), profile)  # what is timed next is no compiling
    began = time.monotonic()
    predictions = {cell: _predicted(cell, profile, place.name) for cell in wanted}
    expected = {cell: _expected(record) for cell, record in predictions.items()}
    planner = Planner(expected, request.launches, request.most)
    deadline -= _AFTERWARDS * (time.monotonic() - began)
    series = Series(file, max(request.ranks), request.mpi, place, request.cell_limit, notify)
    for launch in range(request.launches):
        visits = planner.next(launch, series.budget(deadline, request.launches - launch))
        if visits:
            series.launch(launch, visits, request.seed, request.launches)
            planner.learn(*_taken(file))
    if not series.jobs:
        raise UsageFault(f"{request.time_limit:g} s are too short to measure anything; give more with --time-limit")
    library: str = series.jobs[0]["library"]
    records = _records(predictions, raw.summarise(raw.read(file), library, place.name), profile, library)
    around = environment.collect() | {
        "mpi": request.mpi, "seed": request.seed, "time_limit_seconds": request.time_limit, "library": library,
        "place": place.name, "place_facts": place.describe(), "place_reason": reason, "launches": series.jobs,
        "load_average_before_calibration": before,
    }  # fmt: skip
    found = findings(records, request.compute)
    raw.write_folder(folder, records, around, {profile.ranks: profile}, {"scaling": found})
    return Scaling(records, around, series.stories, found, profile)


def _predicted(cell: Cell, profile: Profile, place: str) -> Record:
    """The cell as a record without a measured time."""
    ranks, case = cell
    executor = NATIVE if case.algorithm == NATIVE else raw.EXECUTOR
    empty = Record(**case._asdict(), ranks=ranks, collective="allreduce", executor=executor, library="", place=place)
    return predict.predicted(empty, profile)


def _expected(record: Record) -> float:
    """Seconds of one call by the simulator; of the library's own by the lower bound."""
    return max(record.simulated_seconds or _NATIVE * (record.bound_seconds or 0.0), 1e-7)


def _taken(file: Path) -> tuple[dict[Cell, float], dict[Cell, int]]:
    """Median seconds and number of the samples so far, by cell."""
    piles: dict[Cell, list[float]] = {}
    for line in raw.read(file):
        if not line["warmup"]:
            case = Case(*(line[name] for name in Case._fields))
            piles.setdefault(Cell(line["ranks"], case), []).append(line["seconds"])
    return {c: median(pile).value for c, pile in piles.items()}, {c: len(pile) for c, pile in piles.items()}


def _records(
    predictions: Mapping[Cell, Record], measured: Iterable[Record], profile: Profile, library: str
) -> list[Record]:
    """A record for each cell, in the order of the cells, predicted and explained."""
    known = {(record.ranks, record.algorithm, record.nbytes): record for record in measured}
    records: list[Record] = []
    for (ranks, case), empty in predictions.items():
        record = replace(
            known.get((ranks, case.algorithm, case.nbytes), empty), library=library, bound_seconds=empty.bound_seconds,
            theory_seconds=empty.theory_seconds, simulated_seconds=empty.simulated_seconds,
        )  # fmt: skip
        records.append(differences.explained(record, profile))
    return records
