"""What a run came to, from its records: one flat object with units in its names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from experiments.statistics import median

__all__ = ["WARM_UP", "summary"]

WARM_UP = 2
"""First steps of each rank that no time is taken from: kernels are loaded and connections made in them."""

Record = Mapping[str, Any]


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """Of the records of one run, in order.

    Times are medians over steps with their 95 % intervals (None for too few), warm-up left out, of all ranks together
    in lockstep and else of each rank's own. ``samples_per_second``: of all ranks. ``bytes_sent``: by all ranks, for
    as many steps as a rank does, on average. ``loss`` and ``accuracy``: of the last evaluation.
    """
    facts = next(dict(each) for each in records if each["kind"] == "run")
    steps = [each for each in records if each["kind"] == "step"]
    judged = [each for each in records if each["kind"] == "evaluation"]
    warm = list(_warm(steps)) or steps
    times = median([each["seconds"] for each in warm])
    last: Record = judged[-1] if judged else {}
    facts.pop("kind")
    return facts | {
        "loss": last.get("loss"), "accuracy": last.get("accuracy"),
        "best_accuracy": max((each["accuracy"] for each in judged), default=None),
        "step_seconds": times.value, "step_low": times.low, "step_high": times.high, "samples": len(warm),
        "step_mean_seconds": sum(each["seconds"] for each in warm) / len(warm),
        "computing_seconds": _middle(warm, "computing_seconds"), "exposed_seconds": _middle(warm, "exposed_seconds"),
        "samples_per_second": _throughput(warm),
        "bytes_sent": sum(each["bytes_sent"] for each in steps) / max(1, _count(steps)),
        "training_seconds": max((each["elapsed_seconds"] for each in steps), default=0.0),
        **_staleness(steps),
    }  # fmt: skip


def _ranks(steps: Iterable[Record]) -> list[list[Record]]:
    """The steps of each rank by itself; those of all ranks together are one group."""
    ordered = sorted(steps, key=lambda each: each.get("rank", 0))
    return [list(group) for _, group in groupby(ordered, key=lambda each: each.get("rank", 0))]


def _warm(steps: Iterable[Record]) -> Iterable[Record]:
    return (each for own in _ranks(steps) for each in own[WARM_UP:])


def _count(steps: Sequence[Record]) -> int:
    """How many steps a rank does."""
    return max((len(own) for own in _ranks(steps)), default=0)


def _middle(steps: Sequence[Record], key: str) -> float:
    return median([each[key] for each in steps]).value


def _throughput(steps: Sequence[Record]) -> float:
    """Ranks train at once, so their rates add up."""
    rates = [sum(each["samples"] for each in own) / sum(each["seconds"] for each in own) for own in _ranks(steps)]
    return sum(rates)


def _staleness(steps: Iterable[Record]) -> dict[str, Any]:
    missed = Counter(number for each in steps for number in each["staleness"])
    total = missed.total()
    return {
        "staleness_mean": sum(number * times for number, times in missed.items()) / total if total else None,
        "staleness_max": max(missed, default=None),
        "staleness": {str(number): missed[number] for number in sorted(missed)},
    }
