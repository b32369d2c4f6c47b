"""Speed-up and efficiency over the number of ranks, of an allreduce alone and of a training step around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.records import Record
from experiments.scaling.judgement import MODELS, predicted, seconds, usable

__all__ = ["scaling", "training"]


def scaling(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Strong scaling: vectors of one size, more and more of them, beside the fewest ranks p₀ of the same algorithm.

    p ranks combine p vectors, in p − 1 additions. ``speedup`` is the additions per second beside those of p₀ ranks,
    times p₀ − 1: (p − 1)·T(p₀)/T(p); ``efficiency`` is T(p₀)/T(p), 1 where more ranks take no longer. Both by
    measurement and by each model. ``bound_efficiency``: lower bound / measured time.
    """
    rows: list[dict[str, Any]] = []
    for (algorithm, nbytes), group in sorted(_series(records).items()):
        first = group[0]
        rows += [
            {
                "algorithm": algorithm, "nbytes": nbytes, "ranks": record.ranks, "beside_ranks": first.ranks,
                **{
                    f"{name}_{kind}": factor * beside / taken
                    for name, beside, taken in zip(
                        ("measured", *MODELS), _times(first).values(), _times(record).values(), strict=True
                    )
                    for kind, factor in (("speedup", record.ranks - 1), ("efficiency", 1.0))
                },
                "bound_efficiency": record.bound_seconds / seconds(record) if record.bound_seconds else None,
            }
            for record in group
        ]  # fmt: skip
    return rows


def training(records: Sequence[Record], compute: float) -> dict[str, Any]:
    """A data-parallel training step that computes for ``compute`` seconds and then sums its gradients.

    The gradients have the largest size that was measured on every number of ranks. Nothing overlaps, so this is the
    least that training gets. ``efficiency``, with the same work for every worker (weak scaling): C/(C + T).
    ``strong_speedup``, with the work of one worker shared by all: C/(C/p + T), and ``strong_efficiency`` is that over
    p. T is the measured allreduce, or the model's.
    """
    series = usable(records)
    everywhere = {record.ranks for record in series}
    common = [n for n in {r.nbytes for r in series} if {r.ranks for r in series if r.nbytes == n} == everywhere]
    nbytes = max(common, default=None)
    rows = [
        {"algorithm": record.algorithm, "ranks": record.ranks}
        | {
            f"{name}_{kind}": value
            for name, taken in _times(record).items()
            for kind, value in _step(compute, taken, record.ranks).items()
        }
        for record in series
        if record.nbytes == nbytes
    ]
    return {"compute_seconds": compute, "nbytes": nbytes, "overlap": "none", "rows": rows}


def _step(compute: float, allreduce: float, ranks: int) -> Mapping[str, float]:
    strong = compute / (compute / ranks + allreduce)
    return {
        "efficiency": compute / (compute + allreduce),
        "strong_speedup": strong,
        "strong_efficiency": strong / ranks,
    }


def _times(record: Record) -> dict[str, float]:
    return {"measured": seconds(record)} | {model: predicted(record, model) for model in MODELS}


def _series(records: Sequence[Record]) -> dict[tuple[str, int], list[Record]]:
    """The records of each algorithm and size, by ascending number of ranks."""
    found: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in sorted(usable(records), key=lambda record: record.ranks):
        found[record.algorithm, record.nbytes].append(record)
    return found
