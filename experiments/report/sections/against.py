"""The section that sets these results against an earlier measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.report.comparison import Change, Comparison
from experiments.report.palette import Series
from experiments.report.tables import moment
from experiments.report.texts import Texts

__all__ = ["Board", "values"]

_TOP = 25  # as many changes are listed one by one; comparison.json holds all


@dataclass(frozen=True, slots=True)
class Board:
    """The changes at one rank count: a row for each algorithm, a column for each size, None where there is none."""

    ranks: int
    sizes: Sequence[int]
    rows: Sequence[tuple[Series, Sequence[Change | None]]]


def values(comparison: Comparison | None, looks: Mapping[str, Series], say: Texts) -> dict[str, Any]:
    """What the template needs under ``against``, None where nothing is compared."""
    if comparison is None:
        return {"against": None}
    changed = [change for change in comparison.changes if change.verdict in ("faster", "slower")]
    changed.sort(key=lambda change: -abs(math.log(change.speed.value)))
    known = comparison.before
    before = [moment(known.get("created")), *(str(known[key]) for key in ("ciranda", "revision") if known.get(key))]
    unknown = str(say("against.unknown"))
    return {
        "against": {
            "before": " · ".join(before),
            "differences": [
                (say(f"against.what_{difference.key}"), difference.old or unknown, difference.new or unknown)
                for difference in comparison.differences
            ],
            "totals": [
                (say(f"against.{name}"), total)
                for name, native in (("ours", False), ("native", True))
                if (total := comparison.total(native=native)).cells
            ],
            "only_old": comparison.only_old,
            "only_new": comparison.only_new,
            "maps": _boards(comparison.changes, looks),
            "top": [(looks[change.algorithm], change) for change in changed[:_TOP]],
        }
    }


def _boards(changes: Sequence[Change], looks: Mapping[str, Series]) -> list[Board]:
    at = {(change.ranks, change.nbytes, change.algorithm): change for change in changes}
    boards: list[Board] = []
    for ranks in sorted({change.ranks for change in changes}):
        here = [change for change in changes if change.ranks == ranks]
        sizes = sorted({change.nbytes for change in here})
        present = {change.algorithm for change in here}
        rows = [
            (look, [at.get((ranks, size, name)) for size in sizes]) for name, look in looks.items() if name in present
        ]
        boards.append(Board(ranks, sizes, rows))
    return boards
