"""The launcher's side: calibrate, plan, launch, and set predictions and reasons beside what was measured."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectives import catalogue
from collectives.profile import Profile
from experiments import calibrate, differences, environment, payload, predict
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
from simulator import networks, simulate, theory

__all__ = ["Request", "Scaling", "run"]

_NATIVE = 2.0  # times the lower bound, until the library's own has been measured
_AFTERWARDS = 8.0  # times as long as predicting once, to predict and explain all records at the end


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure: algorithms (none: all), rank counts, sizes in bytes, and how much of it.

    ``time_limit`` (seconds) is for all launches with their starts, ``calibration`` for the calibration before them.
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
    _expected(wanted[:2], profile)  # so that what is timed next is no compiling
    began = time.monotonic()
    planner = Planner(_expected(wanted, profile), request.launches, request.most)
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
    records = _records(wanted, raw.summarise(raw.read(file), library, place.name), profile, library, place.name)
    around = environment.collect() | {
        "mpi": request.mpi, "seed": request.seed, "time_limit_seconds": request.time_limit, "library": library,
        "place": place.name, "place_facts": place.describe(), "place_reason": reason, "launches": series.jobs,
        "load_average_before_calibration": before,
    }  # fmt: skip
    found = findings(records, request.compute)
    raw.write_folder(folder, records, around, {profile.ranks: profile}, {"scaling": found})
    return Scaling(records, around, series.stories, found, profile)


def _expected(wanted: Iterable[Cell], profile: Profile) -> dict[Cell, float]:
    """Seconds of one call of each cell by the simulator; of the library's own by the lower bound."""
    here: dict[int, tuple[Profile, networks.Network]] = {}
    found: dict[Cell, float] = {}
    for cell in wanted:
        count, case = cell
        if count not in here:
            own = profile.at(count)
            here[count] = own, networks.from_profile(profile, count)
        own, network = here[count]
        if case.algorithm == NATIVE:
            seconds = _NATIVE * theory.bound("allreduce", count, case.nbytes, own.alpha, own.beta, own.gamma)
        else:
            itemsize = payload.dtype(case.dtype).itemsize
            seconds = simulate(catalogue.parse(case.algorithm), count, case.nbytes, network, itemsize=itemsize).seconds
        found[cell] = max(seconds, 1e-7)
    return found


def _taken(file: Path) -> tuple[dict[Cell, float], dict[Cell, int]]:
    """Median seconds and number of the samples so far, by cell."""
    piles: dict[Cell, list[float]] = {}
    for line in raw.read(file):
        if not line["warmup"]:
            case = Case(*(line[name] for name in Case._fields))
            piles.setdefault(Cell(line["ranks"], case), []).append(line["seconds"])
    return {c: median(pile).value for c, pile in piles.items()}, {c: len(pile) for c, pile in piles.items()}


def _records(
    wanted: Iterable[Cell], measured: Iterable[Record], profile: Profile, library: str, place: str
) -> list[Record]:
    """A record for each cell, in the order of the cells, predicted and explained."""
    known = {(record.ranks, record.algorithm, record.nbytes): record for record in measured}
    records: list[Record] = []
    for ranks, case in wanted:
        record = known.get((ranks, case.algorithm, case.nbytes)) or _not_measured(ranks, case, library, place)
        records.append(differences.explained(predict.predicted(record, profile.at(ranks)), profile))
    return records


def _not_measured(ranks: int, case: Case, library: str, place: str) -> Record:
    return Record(
        **case._asdict(), ranks=ranks, collective="allreduce", library=library, place=place,
        executor=NATIVE if case.algorithm == NATIVE else raw.EXECUTOR,
    )  # fmt: skip
