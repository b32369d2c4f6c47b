"""The launcher's side: predict, plan, launch, and set predictions beside what was measured."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from collectives.profile import Profile
from experiments import environment, samples
from experiments.errors import UsageFault
from experiments.launches import run_ranks
from experiments.places import LOCAL, Place
from experiments.progress import Notify, last_line, watching
from experiments.training import datasets, handling, models
from experiments.training.comparison import predictions, records, summary
from experiments.training.comparison.contestants import ALGORITHMS, CONSISTENCIES, Contestant, contestants
from experiments.training.comparison.findings import findings
from experiments.training.comparison.plan import planned, shuffled
from experiments.training.comparison.ranks import ABOUT, PLAN, PROGRESS, Visit, dump
from experiments.training.comparison.records import STEPS_FILE, Trained, TrainingRecord
from experiments.training.comparison.workload import Workload
from experiments.work_folders import work_folder
from kernels import optimise
from simulator.parameter_server import Handling

__all__ = ["Request", "compare"]

_STARTUP = 8.0  # seconds until all ranks have loaded what they need, and the first of them its kernels
_LIMIT = 30.0  # seconds that a contestant may take beside ten times its plan
_SLACK = 3.0  # times the time limit, after which the launch counts as hung


@dataclass(frozen=True, slots=True)
class Request:
    """What to compare on which numbers of ranks, in how many seconds, predictions and start included.

    ``most``: steps of a contestant.
    """

    ranks: tuple[int, ...] = (2, 4, 8)
    algorithms: tuple[str, ...] = ALGORITHMS
    consistencies: tuple[str, ...] = CONSISTENCIES
    workload: Workload = Workload()  # noqa: RUF009 - a frozen value
    time_limit: float = 120.0
    most: int = 200
    mpi: str = "openmpi"
    seed: int | None = None


def compare(
    request: Request, folder: Path, profile: Profile, *,
    place: Place = LOCAL, reason: str = "", notify: Notify | None = None,
) -> Trained:  # fmt: skip
    """Train every contestant on ``place``, predicted by ``profile``, and write both files into ``folder``.

    Contestants for which there is no time have records without a measured time. ``notify`` is called from a thread of
    its own. Raises UsageFault for a request that cannot be met, Failure when the launch dies or hangs.
    """
    deadline, seed = time.monotonic() + request.time_limit, request.seed
    seed = secrets.randbits(32) if seed is None else seed
    before, load = environment.load_average(), request.workload
    data = datasets.get(load.data)
    model = models.get(load.model, data)
    found = contestants(request.ranks, request.algorithms, request.consistencies)
    costs = _handling(request)
    expected = predictions.predicted(found, model, data.inputs.shape[1:], load, profile, handling=costs)
    seconds = {one: record.simulated_seconds or record.theory_seconds or 0.0 for one, record in expected.items()}
    left = deadline - time.monotonic()
    steps, until = planned(seconds, left - _STARTUP, request.most), time.time() + left
    if not steps:
        raise UsageFault(f"{request.time_limit:g} s are too short to train anything; give more with --time-limit")
    visits = [Visit(one, steps[one], seconds[one]) for one in shuffled(steps, seed)]
    about = _launch(request, folder / STEPS_FILE, visits, until, place, notify)
    lines = summary.by_contestant(samples.read(folder / STEPS_FILE))
    trained = summary.compared([_record(record, lines.get(one, ()), about, place) for one, record in expected.items()])
    around = environment.collect() | {
        "mpi": request.mpi, "seed": seed, "time_limit_seconds": request.time_limit, "place": place.name,
        "place_facts": place.describe(), "place_reason": reason, "workload": load.to_json(),
        "load_average_before": before, **about,
    }  # fmt: skip
    result = Trained(trained, around, findings(trained, _beta(place, profile)))
    records.write(folder, result)
    return result


def _beta(place: Place, profile: Profile) -> float:
    """Seconds per byte of a link: as the place says, else as it was calibrated."""
    rate: float | None = place.describe().get("rate")
    return 1 / rate if rate else profile.at(2).beta


def _handling(request: Request) -> dict[str, Handling]:
    """What a message of a server takes of a processor by each consistency, measured in this process."""
    load = request.workload
    optimiser = optimise.get(load.optimiser, learning_rate=load.learning_rate)
    alike = {rules: Contestant(3, consistency=rules, servers=1) for rules in request.consistencies}
    return {rules: handling.measured(one.configuration(load.partition), optimiser) for rules, one in alike.items()}


def _launch(
    request: Request, file: Path, visits: Sequence[Visit], until: float, place: Place, notify: Notify | None
) -> dict[str, Any]:
    """Have the visits carried out; returns what rank 0 tells of the job."""
    file.write_text("", encoding="utf-8")
    with work_folder() as work:
        (work / PLAN).write_text(json.dumps(dump(request.workload, list(visits), until, _LIMIT)), encoding="utf-8")
        steps = work / PROGRESS
        files = [f"--work={work}", f"--file={file.resolve()}"]
        program = ["python", "-m", "experiments.training.comparison.ranks", *files]
        with watching(steps, notify, 0, len(visits)):
            started = run_ranks(
                max(visit.contestant.ranks for visit in visits), program, request.mpi, _SLACK * request.time_limit,
                lambda: _where(last_line(steps).get("case")), place,
            )  # fmt: skip
        about: dict[str, Any] = json.loads((work / ABOUT).read_text(encoding="utf-8"))
    settings = {key: value for key, value in started.environment.items() if key != "MPI4PY_LIBMPI"}  # it is a path
    return about | {"settings": settings, "notes": list(started.notes)}


def _record(record: TrainingRecord, lines: Sequence[Any], about: dict[str, Any], place: Place) -> TrainingRecord:
    """The record as it was measured, or without a time where it was not."""
    job = next((job for job in about["jobs"] if job["ranks"] == record.ranks), about["jobs"][-1])
    known = replace(record, place=place.name, library=job["library"], oversubscribed=job["oversubscribed"])
    return summary.measured(known, lines, wire=place.name != LOCAL.name) if lines else known


def _where(case: str | None) -> str:
    return f"training by {case}" if case else "before the first contestant"
