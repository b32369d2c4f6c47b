"""How well predictions meet measurements: errors by size, and who was rightly said to win.

Every cell counts that was measured with a right result and has a prediction. Predictions come from point-to-point
traffic alone, so no cell was used for calibration.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from experiments.records import Record

__all__ = ["LARGE", "MODELS", "NEAR", "TARGETS", "Model", "errors", "predicted", "seconds", "usable", "winners"]

Model = Literal["simulated", "theory"]
MODELS: tuple[Model, ...] = ("simulated", "theory")

LARGE = 1 << 16
"""Bytes from which on a vector counts as large."""

NEAR = 0.05
"""A predicted winner is right if it takes at most this much longer, relatively, than the measured winner."""

TARGETS = {
    "large": {"median": 0.05, "percentile_95": 0.15},
    "small": {"median": 0.15, "percentile_95": 0.40},
    "winners": 0.95,
}
"""What the simulator is held to: relative errors from ``LARGE`` up and below, and the share of right winners."""


def usable(records: Iterable[Record]) -> list[Record]:
    """Those that were measured with a right result and are predicted by both models."""
    return [
        record for record in records
        if record.measured_seconds and record.correct and record.simulated_seconds and record.theory_seconds
    ]  # fmt: skip


def predicted(record: Record, model: Model) -> float:
    """Seconds that the model gives to a usable record."""
    value = record.simulated_seconds if model == "simulated" else record.theory_seconds
    assert value is not None
    return value


def seconds(record: Record) -> float:
    """Measured seconds of a usable record."""
    assert record.measured_seconds is not None
    return record.measured_seconds


def errors(records: Sequence[Record]) -> dict[str, Any]:
    """|predicted − measured| / measured by model and size: median, 95th percentile, greatest, and number of cells."""
    return {
        model: {
            "large": _spread([_error(r, model) for r in usable(records) if r.nbytes >= LARGE]),
            "small": _spread([_error(r, model) for r in usable(records) if r.nbytes < LARGE]),
        }
        for model in MODELS
    }


def winners(records: Sequence[Record]) -> dict[str, Any]:
    """For each number of ranks and size: the fastest by measurement and by each model, and whether that one is right.

    The library's own allreduce is no candidate, for its algorithm is not known and so not predicted. A cell with a
    single candidate does not count.
    """
    rows: list[dict[str, Any]] = []
    candidates: dict[tuple[int, int], list[Record]] = defaultdict(list)
    for record in usable(records):
        candidates[record.ranks, record.nbytes].append(record)
    for (ranks, nbytes), group in sorted(candidates.items()):
        if len(group) < 2:
            continue
        best = min(group, key=seconds)
        row: dict[str, Any] = {
            "ranks": ranks, "nbytes": nbytes, "measured": best.algorithm, "measured_seconds": seconds(best)
        }  # fmt: skip
        for model in MODELS:
            said = min(group, key=partial(predicted, model=model))
            excess = seconds(said) / seconds(best) - 1
            row |= {model: said.algorithm, f"{model}_excess": excess, f"{model}_right": excess <= NEAR}
        rows.append(row)
    return {
        "cells": rows,
        "share": {model: _share([row[f"{model}_right"] for row in rows]) for model in MODELS},
        "within": NEAR,
    }


def _error(record: Record, model: Model) -> float:
    return abs(predicted(record, model) - seconds(record)) / seconds(record)


def _spread(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"cells": 0, "median": None, "percentile_95": None, "greatest": None}
    middle, high = np.percentile(values, [50, 95])
    return {"cells": len(values), "median": float(middle), "percentile_95": float(high), "greatest": max(values)}


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None
