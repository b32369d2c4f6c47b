"""What the records of a scaling experiment say together: the object ``scaling`` of its document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.records import Record
from experiments.scaling.crossings import crossings
from experiments.scaling.efficiency import scaling, training
from experiments.scaling.judgement import LARGE, TARGETS, errors, winners

__all__ = ["SCHEMA", "findings"]

SCHEMA = 1
"""Version of the object ``scaling``."""


def findings(records: Sequence[Record], compute: float) -> dict[str, Any]:
    """Errors, winners, speed-up, training step and crossings, from the records alone.

    ``compute``: seconds that a training step computes. docs/scaling.md defines every key.
    """
    return {
        "schema": SCHEMA,
        "large_from_bytes": LARGE,
        "targets": TARGETS,
        "errors": errors(records),
        "winners": winners(records),
        "scaling": scaling(records),
        "training": training(records, compute),
        "crossings": crossings(records),
        "not_measured": [
            {"algorithm": record.algorithm, "ranks": record.ranks, "nbytes": record.nbytes,
             "simulated_seconds": record.simulated_seconds}
            for record in records if record.measured_seconds is None
        ],
    }  # fmt: skip
