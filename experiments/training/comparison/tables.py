"""The comparison on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from experiments.tables import show
from experiments.training.comparison.findings import READINGS
from experiments.training.comparison.records import Trained, TrainingRecord
from experiments.units import format_seconds

__all__ = ["print_all"]

_STEPS = ("trained by", "step", "95 % interval", "n", "exposed", "simulated", "off", "theory", "off")
_LEARNING = ("trained by", "samples/s", "efficiency", "sent", "missed", "most", "time to accuracy", "accuracy")


def print_all(trained: Trained) -> None:
    """Every contestant, and what all of them say together; times carry their unit."""
    for ranks, group in groupby(trained.records, lambda record: record.ranks):
        records = list(group)
        show(
            f"{ranks} ranks{', more than cores' * records[0].oversubscribed}: a step",
            _STEPS,
            [_step(record) for record in records],
        )
        show(f"{ranks} ranks: training", _LEARNING, [_learning(record) for record in records])
    _findings(trained.findings)
    print(_method(trained))


def _step(record: TrainingRecord) -> list[str]:
    known = record.measured_low is not None
    return [
        record.label,
        _time(record.measured_seconds) or "no time for it",
        f"{_time(record.measured_low)} .. {_time(record.measured_high)}" if known else "",
        str(record.samples),
        _time(record.exposed_seconds),
        *_beside(record, record.simulated_seconds),
        *_beside(record, record.theory_seconds),
    ]


def _learning(record: TrainingRecord) -> list[str]:
    mean, most = record.staleness_mean, record.staleness_max
    return [
        record.label,
        "" if record.throughput is None else f"{record.throughput:.0f}",
        _percent(record.efficiency),
        "" if record.sent_bytes is None else f"{record.sent_bytes / 1e3:.0f}kB",
        "" if mean is None or record.synchronous else f"{mean:.2f}",
        "" if most is None or record.synchronous else str(most),
        _time(record.target_seconds) or "not reached",
        _percent(record.accuracy),
    ]


def _findings(found: Mapping[str, Any]) -> None:
    rows = [
        [row["kind"], row["model"], str(row["cells"]), _percent(row["median"]), _percent(row["percentile_95"]),
         _percent(row["target"])]
        for row in found["errors"]
    ]  # fmt: skip
    show("|predicted - measured| / measured", ("steps", "by", "n", "median", "95 % are below", "target"), rows)
    rows = [_crossing(row) for row in found["crossings"]]
    columns = ("ranks", "servers", "compared by", *(f"{reading}: time / ring's" for reading in READINGS), "from k")
    show("How many servers keep up with the ring", columns, rows)
    for row in found["wire"]:
        print(
            f"{row['ranks']} ranks, a server beside each worker, bsp: {_percent(row['share'])} of the bandwidth bound "
            f"({_time(row['bound_seconds'])} of {_time(row['exposed_seconds'])} exposed; target {row['target']:.0%})"
        )


def _crossing(row: Mapping[str, Any]) -> list[str]:
    ratios = [
        ", ".join(f"k={one['servers']}: {one[reading]:.2f}" for one in row["ratios"] if one[reading] is not None)
        for reading in READINGS
    ]
    from_k = ", ".join(f"{reading} {row['at'][reading] or 'none'}" for reading in READINGS)
    return [str(row["ranks"]), "beside workers" if row["beside"] else "own hosts", row["over"], *ratios, from_k]


def _method(trained: Trained) -> str:
    load: Mapping[str, Any] = trained.environment["workload"]
    return (
        f"A worker takes {load['batch']} samples a step of {load['data']}, and computing is said to take "
        f"{format_seconds(load['compute'])}. missed: updates by others between a worker's pull and push. "
        f"Time to accuracy: until {load['target']:.0%} on test samples."
    )


def _beside(record: TrainingRecord, predicted: float | None) -> Sequence[str]:
    if predicted is None or not record.measured_seconds:
        return _time(predicted), ""
    return _time(predicted), f"{predicted / record.measured_seconds - 1:+.0%}"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else format_seconds(seconds, digits=3)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
