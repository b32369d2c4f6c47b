"""A results folder as the page needs it: measured cells of one kind, with their predictions, profiles, environment."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from collectives.profile import Profile, ProfileError
from experiments.errors import UsageFault
from experiments.records import Record, RecordError, bandwidths, read_document
from experiments.report.place import Place
from experiments.scaling.findings import findings

__all__ = ["FILES", "MODELS", "Cell", "Kind", "Model", "Results", "load"]

Model = Literal["theory", "simulated"]
MODELS: tuple[Model, ...] = ("theory", "simulated")
"""What predicts: the closed form and the simulator."""

COMPUTE = 1.0
"""Seconds that a training step computes, where the results do not say."""

FILES = (
    "results.json", "results.parquet", "samples.jsonl", "samples.parquet", "environment.json", "comparison.json",
    "what_if.json", "training.json", "training_steps.jsonl",
)  # fmt: skip
"""The raw data that may lie in a results folder, beside the profiles."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One algorithm at one size and rank count, measured.

    ``seconds`` is the median, ``low`` to ``high`` its 95 % interval (both equal to the median where there were too few
    samples for one). ``theory``, ``simulated`` and ``bound`` are predictions in seconds, None where there is none.
    ``speed`` is the native library's time over this one (above 1: this one is faster) with its interval. ``cpu`` is
    the seconds of CPU time that a rank spent in the call (the mean over ranks). ``explained`` says how many seconds
    each term of the simulator adds to theory, ``reason`` which is the largest.
    """

    algorithm: str
    native: bool
    ranks: int
    nbytes: int
    seconds: float
    low: float
    high: float
    theory: float | None
    simulated: float | None
    bound: float | None
    busbw: float
    speed: tuple[float, float, float] | None
    oversubscribed: bool
    correct: bool | None
    samples: int
    cpu: float | None = None
    explained: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    reason: str = ""

    def predicted(self, model: Model) -> float | None:
        """Seconds that the closed form or the simulator gave."""
        return self.theory if model == "theory" else self.simulated

    def error(self, model: Model) -> float | None:
        """|predicted − measured| / measured."""
        predicted = self.predicted(model)
        return None if predicted is None else abs(predicted - self.seconds) / self.seconds

    @property
    def factor(self) -> float | None:
        """Measured over theory: 2 where it took twice as long as theory says."""
        return self.seconds / self.theory if self.theory else None


class Kind(NamedTuple):
    """What all cells have in common."""

    dtype: str
    op: str
    library: str
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Results:
    """What the page is made from; ``files`` names the raw data, ``unmeasured`` holds what there was no time for.

    ``scaling`` is what the records say of more ranks, in the form of ``experiments.scaling.findings``.
    """

    cells: Sequence[Cell]
    profiles: Mapping[int, Profile]
    environment: Mapping[str, Any]
    kind: Kind
    clock: str
    files: Sequence[str]
    unmeasured: Sequence[Record] = ()
    scaling: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def profile(self, ranks: int) -> Profile | None:
        """The calibration in force for ``ranks`` ranks: its own, or that of a larger launch with so many at work."""
        if ranks in self.profiles:
            return self.profiles[ranks]
        larger = [count for count in self.profiles if count > ranks]
        return self.profiles[min(larger)].at(ranks) if larger else None

    @property
    def costs(self) -> dict[int, Profile]:
        """The calibration in force, for each rank count that has one."""
        return {ranks: profile for ranks in self.ranks if (profile := self.profile(ranks)) is not None}

    @property
    def place(self) -> Place:
        """Where the ranks ran."""
        return Place.read(self.environment)

    @property
    def ranks(self) -> list[int]:
        """The rank counts, ascending."""
        return sorted({cell.ranks for cell in self.cells})

    @property
    def cores(self) -> int | None:
        """How many cores the ranks had."""
        cores = self.environment.get("cores")
        return cores if isinstance(cores, int) else None

    @property
    def load(self) -> float | None:
        """How many processes wanted a core before we began."""
        loads = (self.environment.get(name) for name in ("load_average_before_calibration", "load_average"))
        return next((load for load in loads if isinstance(load, (int, float))), None)

    @property
    def sizes(self) -> list[int]:
        """The sizes in bytes, ascending."""
        return sorted({cell.nbytes for cell in self.cells})


def load(folder: Path) -> Results:
    """Read a results folder that ``ciranda report`` or ``ciranda bench`` wrote; a UsageFault says what is missing."""
    path = folder / "results.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        records, environment = read_document(content)
        profiles = _profiles(folder)
    except FileNotFoundError:
        raise UsageFault(f"there is no {path}; name a folder that ciranda report or ciranda bench wrote") from None
    except OSError as problem:
        raise UsageFault(f"{path} cannot be read: {problem.strerror}") from None
    except (RecordError, ProfileError) as problem:
        raise UsageFault(f"{path}: {problem}") from None
    except ValueError as problem:
        raise UsageFault(f"{path} is not JSON ({problem}); measure anew with ciranda report") from None
    chosen = _of_one_kind(records)
    cells = [cell for record in chosen if (cell := _cell(record)) is not None]
    if not any(not cell.native for cell in cells):
        raise UsageFault(f"{path} holds no measured allreduce; measure with ciranda report")
    sample = next(record for record in chosen if not record.is_native)
    kind = Kind(sample.dtype, sample.op, sample.library, sample.in_place)
    present = [name for name in FILES if (folder / name).is_file()]
    present += sorted(entry.name for entry in folder.glob("profile*.json"))
    unmeasured = [r for r in records if r.collective == "allreduce" and r.measured_seconds is None]
    scaling = content.get("scaling") or findings(chosen, COMPUTE)
    return Results(cells, profiles, environment, kind, sample.clock, present, unmeasured, scaling)


def _of_one_kind(records: Sequence[Record]) -> list[Record]:
    """The allreduce records of the commonest dtype, operation and executor, and the native ones beside them."""
    measured = [r for r in records if r.collective == "allreduce" and r.measured_seconds]
    kinds = Counter((r.dtype, r.op, r.in_place, r.executor) for r in measured if not r.is_native)
    if not kinds:
        return []
    dtype, op, in_place, executor = kinds.most_common(1)[0][0]
    return [
        r for r in measured
        if (r.dtype, r.op, r.in_place) == (dtype, op, in_place) and (r.is_native or r.executor == executor)
    ]  # fmt: skip


def _cell(record: Record) -> Cell | None:
    """The record as a cell, or None where its time is no positive number or the message holds nothing."""
    seconds = record.measured_seconds
    if seconds is None or not math.isfinite(seconds) or seconds <= 0 or record.nbytes < 1 or record.ranks < 2:
        return None
    low, high = record.measured_low, record.measured_high
    return Cell(
        record.algorithm, record.is_native, record.ranks, record.nbytes,
        seconds, seconds if low is None else low, seconds if high is None else high,
        record.theory_seconds, record.simulated_seconds, record.bound_seconds,
        bandwidths(record.collective, record.ranks, record.nbytes, seconds)[1], _speed(record),
        record.oversubscribed, record.correct, record.samples,
        record.cpu_seconds, dict(record.explained or {}), record.reason,
    )  # fmt: skip


def _speed(record: Record) -> tuple[float, float, float] | None:
    ratio, low, high = record.native_ratio, record.native_ratio_low, record.native_ratio_high
    return None if ratio is None or low is None or high is None else (ratio, low, high)


def _profiles(folder: Path) -> dict[int, Profile]:
    """The profiles in the folder by their rank count."""
    profiles = [Profile.load(path) for path in sorted(folder.glob("profile*.json"))]
    return {profile.ranks: profile for profile in profiles}
