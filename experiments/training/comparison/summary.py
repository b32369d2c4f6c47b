"""From what the ranks wrote down to records: medians, throughput, bytes, staleness, and time to accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from experiments.statistics import median
from experiments.training.comparison.contestants import Contestant
from experiments.training.comparison.plan import WARMUP
from experiments.training.comparison.records import TrainingRecord

__all__ = ["by_contestant", "compared", "measured"]

Line = Mapping[str, Any]


def by_contestant(lines: Iterable[Line]) -> dict[Contestant, list[Line]]:
    """The lines of each contestant, one for each of its ranks."""
    found: dict[Contestant, list[Line]] = {}
    for line in lines:
        one = Contestant(line["ranks"], line["algorithm"], line["consistency"], line["servers"], line["colocated"])
        found.setdefault(one, []).append(line)
    return found


def measured(record: TrainingRecord, lines: Sequence[Line], *, wire: bool) -> TrainingRecord:
    """The record with what its ranks did; ``wire``: bytes are those of their hosts' interfaces.

    Otherwise they are those that the workers say they sent, which leaves out what servers do. A worker does as many
    steps a second as fit its mean step, and the throughput is that of all workers together.
    """
    workers = [line for line in lines if line["seconds"]]
    counted: list[list[float]] = [line["seconds"][WARMUP:] for line in workers]
    seconds: list[float] = [each for line in counted for each in line]
    exposed: list[float] = [each for line in workers for each in line["exposed"][WARMUP:]]
    middle, steps = median(seconds), max(len(line["seconds"]) for line in workers)
    sent = [(line["wire_bytes"] if wire else sum(line["sent"])) / steps for line in lines]
    curve: tuple[tuple[float, float], ...] = tuple((at, share) for at, share in workers[0]["curve"])
    return replace(
        record, steps=steps, warmup=WARMUP, samples=len(seconds), measured_seconds=middle.value,
        measured_low=middle.low, measured_high=middle.high,
        throughput=sum(record.batch * len(line) / sum(line) for line in counted),
        exposed_seconds=median(exposed).value, sent_bytes=sum(sent), sent_most_bytes=max(sent),
        staleness=_added([line["staleness"] for line in workers]),
        curve=curve, accuracy=curve[-1][1] if curve else None, target_seconds=_reached(curve, record.target_accuracy),
    )  # fmt: skip


def compared(records: Sequence[TrainingRecord]) -> list[TrainingRecord]:
    """The same with their efficiency: throughput beside ``ranks`` times that of the one rank that trains alone."""
    alone = next((record.throughput for record in records if record.ranks == 1), None)
    return [_efficient(record, alone) for record in records]


def _efficient(record: TrainingRecord, alone: float | None) -> TrainingRecord:
    if not alone or record.throughput is None:
        return record
    return replace(record, efficiency=record.throughput / (record.ranks * alone))


def _added(histograms: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(sum(counts) for counts in zip_longest(*histograms, fillvalue=0))


def _reached(curve: Sequence[tuple[float, float]], target: float | None) -> float | None:
    """Seconds until the accuracy was first as wanted."""
    return next((at for at, share in curve if target is not None and share >= target), None)
