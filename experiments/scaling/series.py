"""The launches of one scaling experiment, which all write into one file of samples."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.launches import run_ranks
from experiments.places import Place
from experiments.progress import Notify, last_line, watching
from experiments.scaling.plan import Visit
from experiments.scaling.ranks import JOBS, PLAN, PROGRESS, dump
from experiments.work_folders import work_folder

__all__ = ["Series"]

_STARTUP = 3.0  # seconds that a launch takes beside its visits, until one has shown it
_MOST_OFF = 3.0  # times that a launch is believed to take longer, or shorter, than planned, because the last one did
_SLACK = 10.0  # times the planned seconds, after which a launch counts as hung


@dataclass(slots=True)
class Series:
    """Starts ``ranks`` ranks for each launch, and keeps what each tells: ``jobs`` by launch and rank count.

    ``file``: where rank 0 appends samples. ``cell_limit``: seconds that a cell may take beside ten times its plan.
    ``startup`` (seconds) and ``slowness`` (sampling time over planned time) are those of the last launch.
    """

    file: Path
    ranks: int
    mpi: str
    place: Place
    cell_limit: float
    notify: Notify | None = None
    jobs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    stories: list[str] = field(default_factory=list[str])
    done: int = 0
    startup: float = _STARTUP
    slowness: float = 1.0

    def budget(self, deadline: float, launches: int) -> float:
        """Seconds of plan until ``deadline`` (monotonic), if so many launches are still to come as good as the last."""
        return max(0.0, deadline - time.monotonic() - launches * self.startup) / self.slowness

    def launch(self, number: int, visits: list[Visit], seed: int, launches: int) -> None:
        """Carry out ``visits`` in a shuffled order in launch ``number`` of ``launches``."""
        began, planned = time.monotonic(), sum(visit.total for visit in visits)
        groups = _shuffled(visits, f"{seed}/{number}")
        with work_folder() as work:
            steps = work / PROGRESS
            (work / PLAN).write_text(json.dumps(dump(groups, planned, self.cell_limit)), encoding="utf-8")
            arguments = [f"--launch={number}", f"--work={work}", f"--file={self.file.resolve()}"]
            with watching(steps, self.notify, self.done, self.done + len(visits) * (launches - number)):
                started = run_ranks(
                    self.ranks, ["python", "-m", "experiments.scaling.ranks", *arguments], self.mpi,
                    self.cell_limit + _SLACK * planned, lambda: _where(number, last_line(steps).get("case")),
                    self.place,
                )  # fmt: skip
            about = json.loads((work / JOBS).read_text(encoding="utf-8"))
        settings = {key: value for key, value in started.environment.items() if key != "MPI4PY_LIBMPI"}  # it is a path
        self.jobs += [job | {"settings": settings, "notes": list(started.notes)} for job in about["jobs"]]
        self.stories += about["stories"]
        self.done += len(visits)
        sampling = sum(job["sampling_seconds"] for job in about["jobs"])
        self.startup = max(0.0, time.monotonic() - began - sampling)
        self.slowness = min(max(sampling / planned, 1 / _MOST_OFF), _MOST_OFF)


def _shuffled(visits: Iterable[Visit], seed: str) -> list[list[Visit]]:
    """By rank count, both the counts and the visits of each in an order of this launch's own."""
    luck = random.Random(seed)
    groups: dict[int, list[Visit]] = defaultdict(list)
    for visit in visits:
        groups[visit.cell.ranks].append(visit)
    shuffled = list(groups.values())
    luck.shuffle(shuffled)
    for group in shuffled:
        luck.shuffle(group)
    return shuffled


def _where(number: int, case: str | None) -> str:
    return f"launch {number + 1}, {f'measuring {case}' if case else 'before its first sample'}"
