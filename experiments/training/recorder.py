"""What happened in a run, as JSON Lines: each rank notes its steps, and where they meet rank 0 writes for all.

Notes cost no messages while ranks train. In lockstep they are gathered at each evaluation and checkpoint, and a step is
one line for all ranks; otherwise at the end, with a line for each rank's step.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from experiments.training.gathering import gather
from experiments.training.model import Scores
from experiments.training.strategy import Step

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["JsonLines", "Recorder", "Sink", "Ticker"]

Record = dict[str, Any]


class Sink(Protocol):
    """Where records go, at rank 0."""

    def write(self, record: Record) -> None:
        """One more."""
        ...

    def close(self) -> None:
        """There are no more."""
        ...


class _Noted(NamedTuple):
    """One rank's step. Seconds but for ``rate``; ``elapsed``: of all its steps until the end of this one."""

    step: float
    rate: float
    loss: float
    right: float
    samples: float
    computing: float
    exposed: float
    sent: float
    seconds: float
    elapsed: float
    staleness: float
    """How many numbers of staleness belong to it."""


class _Judged(NamedTuple):
    """One rank's share of an evaluation."""

    step: float
    elapsed: float
    loss: float
    right: float
    samples: float


class Recorder:
    """Notes this rank's steps; ``meet`` has them written. ``sinks`` are those of rank 0 of the ``workers``."""

    def __init__(self, workers: Communicator, *, lockstep: bool, sinks: Sequence[Sink]) -> None:
        self._workers, self._lockstep = workers, lockstep
        self._sinks = sinks
        self._steps: list[_Noted] = []
        self._staleness: list[int] = []
        self._evaluations: list[_Judged] = []
        self.elapsed = 0.0
        """Seconds of this rank's steps so far."""

    def step(self, number: int, rate: float, step: Step, seconds: float) -> None:
        """This rank's step ``number`` took so many seconds from its call to its return."""
        self.elapsed += seconds
        self._steps.append(
            _Noted(
                number, rate, *step.scores, step.computing, step.exposed, step.sent, seconds, self.elapsed,
                len(step.staleness),
            )
        )  # fmt: skip
        self._staleness += step.staleness

    def evaluation(self, number: int, scores: Scores) -> None:
        """After step ``number`` this rank's share of the samples to judge by had these scores."""
        self._evaluations.append(_Judged(number, self.elapsed, *scores))

    def meet(self) -> list[Record]:
        """Gather and write what was noted since the last time; returns it at rank 0. Collective over the workers."""
        steps = [_rows(each, _Noted) for each in gather(self._workers, _flat(self._steps))]
        stale = gather(self._workers, np.array(self._staleness, np.int64))
        judged = [_rows(each, _Judged) for each in gather(self._workers, _flat(self._evaluations))]
        self._steps, self._staleness, self._evaluations = [], [], []
        if self._workers.rank:
            return []
        lines = _together(steps, stale) if self._lockstep else _apart(steps, stale)
        records = sorted([*lines, *_evaluated(judged)], key=lambda record: record["step"])
        for record in records:
            for sink in self._sinks:
                sink.write(record)
        return records


class JsonLines:
    """One line a record in ``file``, which is written anew, or goes on after the records up to step ``kept``."""

    def __init__(self, file: Path, kept: int = 0) -> None:
        lines = file.read_text(encoding="utf-8").splitlines() if kept and file.exists() else []
        before = [line for line in lines if json.loads(line)["step"] <= kept]
        self._file = file.open("w", encoding="utf-8")
        self._file.writelines(f"{line}\n" for line in before)

    def write(self, record: Record) -> None:
        """A line."""
        self._file.write(json.dumps(record, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Ticker:
    """How far rank 0 is, for the launcher to read (``experiments.progress``): a line now and then."""

    PERIOD = 0.1  # seconds

    def __init__(self, file: Path, total: int) -> None:
        self._file, self._total, self._told = file.open("w", encoding="utf-8"), total, 0.0

    def step(self, number: int, scores: Scores) -> None:
        """It has done step ``number``."""
        now = time.monotonic()
        if now - self._told < self.PERIOD and number < self._total:
            return
        self._told = now
        case = f"loss {scores.loss / scores.samples:.4f}" if scores.samples else "training"
        self._file.write(json.dumps({"done": number, "total": self._total, "case": case}) + "\n")
        self._file.flush()


def _flat(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array(rows, np.float64).reshape(-1)


def _rows(flat: NDArray[np.float64], kind: Any) -> list[Any]:
    return [kind(*row) for row in flat.reshape(-1, len(kind._fields)).tolist()]


def _together(ranks: list[list[_Noted]], stale: list[NDArray[np.int64]]) -> Iterator[Record]:
    """A step of all ranks is one record."""
    missed = [_staleness(rows, numbers) for rows, numbers in zip(ranks, stale, strict=True)]
    for rows, lists in zip(zip(*ranks, strict=True), zip(*missed, strict=True), strict=True):
        yield _record(rows, [number for each in lists for number in each])


def _apart(ranks: list[list[_Noted]], stale: list[NDArray[np.int64]]) -> Iterator[Record]:
    for rank, (rows, numbers) in enumerate(zip(ranks, stale, strict=True)):
        for row, missed in zip(rows, _staleness(rows, numbers), strict=True):
            yield {**_record([row], missed), "rank": rank}


def _record(rows: Sequence[_Noted], staleness: list[int]) -> Record:
    samples = sum(row.samples for row in rows)
    return {
        "kind": "step",
        "step": int(rows[0].step),
        "learning_rate": rows[0].rate,
        "loss": _number(sum(row.loss for row in rows) / samples) if samples else None,
        "accuracy": sum(row.right for row in rows) / samples if samples else None,
        "samples": int(samples),
        "seconds": max(row.seconds for row in rows),
        "elapsed_seconds": max(row.elapsed for row in rows),
        "computing_seconds": max(row.computing for row in rows),
        "exposed_seconds": sum(row.exposed for row in rows) / len(rows),
        "bytes_sent": int(sum(row.sent for row in rows)),
        "staleness": staleness,
    }


def _evaluated(ranks: list[list[_Judged]]) -> Iterator[Record]:
    for rows in zip(*ranks, strict=True):
        samples = sum(row.samples for row in rows)
        yield {
            "kind": "evaluation",
            "step": int(rows[0].step),
            "elapsed_seconds": max(row.elapsed for row in rows if row.samples),  # of those who judged
            "loss": _number(sum(row.loss for row in rows) / samples),
            "accuracy": sum(row.right for row in rows) / samples,
            "samples": int(samples),
        }


def _staleness(rows: list[_Noted], numbers: NDArray[np.int64]) -> list[list[int]]:
    ends = np.cumsum([int(row.staleness) for row in rows])
    return [part.tolist() for part in np.split(numbers, ends[:-1])] if rows else []


def _number(value: float) -> float | None:
    """JSON has no inf and no NaN, which a loss may be."""
    return value if np.isfinite(value) else None
