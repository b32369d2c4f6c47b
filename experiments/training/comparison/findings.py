"""What the records say together: how far predictions are off, and how many servers keep up with the ring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from experiments.training.comparison.records import TrainingRecord

__all__ = ["READINGS", "RIVAL", "TARGETS", "WIRE", "findings"]

TARGETS = {"synchronous": 0.10, "asynchronous": 0.20}
"""What the median error of the simulated step times is wanted to stay below."""

WIRE = 0.8
"""The part of the bandwidth bound that push and pull with a server beside every worker are wanted to reach."""

RIVAL = "ring"
"""What a parameter server is set against."""

Reading = Literal["measured", "simulated", "theory"]
READINGS: tuple[Reading, ...] = ("measured", "simulated", "theory")
"""Where a time comes from."""

_LOCKSTEP = "bsp"
_TIE = 1 + 1e-9  # closed forms that are equal but for rounding


def findings(records: Sequence[TrainingRecord], beta: float | None = None) -> dict[str, Any]:
    """``errors``, ``crossings`` and ``wire``; ``beta``: seconds per byte of the network, where it is known."""
    measured = [record for record in records if record.measured_seconds and record.ranks > 1]
    return {
        "errors": _errors(measured),
        "crossings": list(_crossings(records)),
        "wire": _wire(measured, beta) if beta else [],
    }


def _errors(records: Sequence[TrainingRecord]) -> list[dict[str, Any]]:
    """For each kind and model: how many records, the median error and its 95th percentile, and the target."""
    found: list[dict[str, Any]] = []
    for kind, target in TARGETS.items():
        chosen = [record for record in records if record.synchronous == (kind == "synchronous")]
        for model in READINGS[1:]:
            errors = [error for record in chosen if (error := record.error(_seconds(record, model))) is not None]
            if errors:
                middle, high = (float(value) for value in np.percentile(errors, [50, 95]))
                found.append({
                    "kind": kind, "model": model, "cells": len(errors), "median": middle, "percentile_95": high,
                    "target": target if model == "simulated" else None,
                })  # fmt: skip
    return found


def _crossings(records: Sequence[TrainingRecord]) -> Iterator[dict[str, Any]]:
    """For each number of ranks: lockstep with servers of their own, or beside the workers, against the ring.

    ``over``: ``step``, whose time counts, or ``sample``, the time for a sample of all workers together, as hosts that
    only serve compute nothing. ``ratios``: by number of servers the server's time over the ring's, by each reading;
    ``at``: the least number of servers for which it is at most 1, None where none that was tried is enough.
    """
    for ranks in sorted({record.ranks for record in records if record.ranks > 1}):
        here = [record for record in records if record.ranks == ranks]
        ring = next((record for record in here if record.algorithm == RIVAL), None)
        for beside in (False, True):
            servers = [record for record in here if record.consistency == _LOCKSTEP and record.colocated == beside]
            compared = ("step",) if beside else ("step", "sample")  # beside the workers no host is lost to serving
            for over in compared if ring and servers else ():
                ratios = [_ratios(record, ring, over) for record in servers if ring]
                at = {model: _least(ratios, model) for model in READINGS}
                yield {"ranks": ranks, "beside": beside, "over": over, "ratios": ratios, "at": at}


def _ratios(server: TrainingRecord, ring: TrainingRecord, over: str) -> dict[str, Any]:
    fewer = ring.workers * ring.batch / (server.workers * server.batch) if over == "sample" else 1.0
    found: dict[str, Any] = {"servers": server.servers}
    for model in READINGS:
        own, rival = _seconds(server, model), _seconds(ring, model)
        found[model] = fewer * own / rival if own is not None and rival else None
    return found


def _least(ratios: Iterable[dict[str, Any]], model: str) -> int | None:
    return min((row["servers"] for row in ratios if row[model] is not None and row[model] <= _TIE), default=None)


def _wire(records: Iterable[TrainingRecord], beta: float) -> list[dict[str, Any]]:
    """Of lockstep with a server beside every worker: the bound 2(p−1)/p·nβ over what was exposed."""
    chosen = [record for record in records if record.colocated and record.consistency == _LOCKSTEP]
    return [
        {"ranks": record.ranks, "bound_seconds": bound, "exposed_seconds": record.exposed_seconds,
         "share": bound / record.exposed_seconds, "target": WIRE}
        for record in chosen
        if record.exposed_seconds
        for bound in [2 * (record.ranks - 1) / record.ranks * record.nbytes * beta]
    ]  # fmt: skip


def _seconds(record: TrainingRecord, model: Reading) -> float | None:
    if model == "measured":
        return record.measured_seconds
    return record.simulated_seconds if model == "simulated" else record.theory_seconds
