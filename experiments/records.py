"""The flat record of one measured or predicted collective: what ``--json`` prints and the report reads.

Times are in seconds, sizes in bytes and bandwidths in bytes per second. A value that was neither measured nor
computed in the run is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, cast

__all__ = [
    "NATIVE",
    "SAMPLES_SCHEMA",
    "SCHEMA",
    "Record",
    "RecordError",
    "bandwidths",
    "bus_factor",
    "document",
    "read_document",
]

SCHEMA = 2
"""Version of ``results.json``. 2 added place, cpu_seconds, cpu_max_seconds, explained and reason; 1 is still read."""

SAMPLES_SCHEMA = 2
"""Version of ``samples.jsonl``, in ``environment.json`` under ``samples_schema``. 2 added cpu_ns; 1 is still read."""

_READ = (1, SCHEMA)

NATIVE = "native"
"""The algorithm and executor name of the MPI library's own collective."""


class RecordError(ValueError):
    """A results document that this version cannot read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One algorithm at one size: what was measured, beside what was predicted.

    ``measured_seconds`` is the median of ``samples`` calls that were no warm-up and ``measured_low`` to
    ``measured_high`` its 95 % interval (None when there are too few samples for one). ``native_seconds`` is the median
    of the MPI library's own collective in the same launches, and ``native_ratio`` = native / this, above 1 where this
    algorithm is the faster one, with its 95 % interval. ``rank_mean_seconds``, ``rank_min_seconds`` and
    ``rank_max_seconds`` are the mean, least and greatest over the ranks of each rank's own mean time in the call.
    ``cpu_seconds`` is the median over the samples of the CPU time that a rank spent in a call, mean over the ranks, and
    ``cpu_max_seconds`` that of the rank that spent most. ``explained`` maps the terms of
    ``experiments.differences`` to the seconds that each adds to the prediction, and ``reason`` is the largest of them.
    ``wrong`` counts wrong elements over all checks. ``clock`` says how a sample's duration was taken.
    ``oversubscribed``: more ranks than cores. ``place``: where the ranks ran, such as ``local`` or ``cluster``.
    """

    algorithm: str
    collective: str
    executor: str
    library: str
    ranks: int
    nbytes: int
    dtype: str
    op: str
    device: str = "cpu"
    in_place: bool = False
    measured_seconds: float | None = None
    measured_low: float | None = None
    measured_high: float | None = None
    samples: int = 0
    launches: int = 0
    rank_mean_seconds: float | None = None
    rank_min_seconds: float | None = None
    rank_max_seconds: float | None = None
    simulated_seconds: float | None = None
    theory_seconds: float | None = None
    bound_seconds: float | None = None
    native_seconds: float | None = None
    native_ratio: float | None = None
    native_ratio_low: float | None = None
    native_ratio_high: float | None = None
    algbw: float | None = None
    busbw: float | None = None
    oversubscribed: bool = False
    correct: bool | None = None
    wrong: int = 0
    clock: str = ""
    place: str = ""
    cpu_seconds: float | None = None
    cpu_max_seconds: float | None = None
    explained: Mapping[str, float] | None = None
    reason: str = ""

    @property
    def is_native(self) -> bool:
        """Whether this is the MPI library's own collective."""
        return self.executor == NATIVE

    @property
    def cell(self) -> tuple[str, int, int, str, str, bool]:
        """What records have in common that may be compared: collective, ranks, nbytes, dtype, op, in_place."""
        return self.collective, self.ranks, self.nbytes, self.dtype, self.op, self.in_place

    def to_json(self) -> dict[str, Any]:
        """A dictionary that ``json.dumps`` takes with ``allow_nan=False``: flat, but for ``explained``."""
        return {key: _finite(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """The record that ``to_json`` wrote. Raises RecordError naming what is missing or not known."""
        known = {item.name for item in fields(cls)}
        if extra := sorted(content.keys() - known):
            raise RecordError(f"a record has keys that this version does not know: {', '.join(extra)}")
        try:
            return cls(**content)
        except TypeError as problem:
            raise RecordError(f"a record is not complete: {problem}") from None


def bus_factor(collective: str, ranks: int) -> float:
    """``busbw / algbw`` by the convention of nccl-tests (doc/PERFORMANCE.md), where n is the whole vector.

    allreduce 2(p−1)/p; reduce_scatter, allgather and alltoall (p−1)/p; the others 1.
    """
    if collective == "allreduce":
        return 2 * (ranks - 1) / ranks
    if collective in ("reduce_scatter", "allgather", "alltoall"):
        return (ranks - 1) / ranks
    return 1.0


def bandwidths(collective: str, ranks: int, nbytes: int, seconds: float) -> tuple[float, float]:
    """``(algbw, busbw)`` in bytes per second."""
    algbw = nbytes / seconds
    return algbw, algbw * bus_factor(collective, ranks)


def document(records: Iterable[Record], environment: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``results.json`` and of ``--json``."""
    return {
        "schema": SCHEMA,
        "environment": dict(environment),
        "records": [record.to_json() for record in records],
    }


def read_document(content: object) -> tuple[list[Record], dict[str, Any]]:
    """``(records, environment)`` of what ``document`` wrote. Raises RecordError for anything else."""
    if not isinstance(content, dict) or "records" not in content:
        raise RecordError("these are no Ciranda results (there are no records in them)")
    values = cast("dict[str, Any]", content)
    version = values.get("schema")
    if version not in _READ:
        known = " and ".join(map(str, _READ))
        raise RecordError(f"results schema {version!r} is not known to this version (it reads {known}); measure anew")
    return [Record.from_json(item) for item in values["records"]], dict(values.get("environment") or {})


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in cast("Mapping[str, Any]", value).items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
