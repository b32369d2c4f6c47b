"""Where the parameter server and allreduce overtake each other, by measurement and by each model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from experiments.records import Record
from experiments.scaling.cells import HALF
from experiments.scaling.judgement import MODELS, predicted, seconds, usable

__all__ = ["RIVALS", "crossings", "points"]

RIVALS = ("ring", "best")
"""What a parameter server is set against: the ring, and at each point the fastest of all algorithms without servers."""

_PREFIX = "parameter_server"
_ALL = "p"

Curve = Mapping[int, float]
"""Seconds over the size, or over the number of ranks."""


def crossings(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Each parameter server against each rival, over the size for every number of ranks, and the other way round.

    ``over``: nbytes or ranks, what varies; the other one is fixed. ``servers``: 1, 2, p/2 or p. For ``measured`` and
    each model: ``first``, who is the faster at the least point (server or rival), and ``at``, where the lead changes,
    interpolated on logarithmic scales. Left out where fewer than two points have both.
    """
    series = usable(records)
    return [
        row
        for over, fixed in (("nbytes", "ranks"), ("ranks", "nbytes"))
        for value in sorted({getattr(record, fixed) for record in series})
        for row in _rows([r for r in series if getattr(r, fixed) == value], over, {fixed: value})
    ]


def points(server: Curve, rival: Curve) -> tuple[str, list[float]] | None:
    """Who is faster at the least common point, and where the lead changes; None with fewer than two common points.

    Between two points times are taken as powers of what varies. Equal times are no lead.
    """
    common = sorted(server.keys() & rival.keys())
    gaps = [(x, math.log(server[x] / rival[x])) for x in common]
    if len(gaps) < 2:
        return None
    leads = [(x, gap) for x, gap in gaps if gap]
    at = [_zero(*left, *right) for left, right in pairwise(leads) if left[1] * right[1] < 0]
    return ("server" if leads and leads[0][1] < 0 else "rival" if leads else "neither"), at


def _zero(x: int, gap: float, other_x: int, other_gap: float) -> float:
    share = gap / (gap - other_gap)
    return math.exp(math.log(x) + share * math.log(other_x / x))


def _rows(series: Sequence[Record], over: str, fixed: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    readings: dict[str, Callable[[Record], float]] = {"measured": seconds}
    readings |= {model: partial(predicted, model=model) for model in MODELS}
    known: list[list[Record]] = []  # of two ranks a half is one, and one server is one server
    for servers in ("1", "2", HALF, _ALL):
        mine = [record for record in series if _is(record, servers)]
        if mine in known:
            continue
        known.append(mine)
        for rival in RIVALS:
            others = [r for r in series if not r.algorithm.startswith(_PREFIX) and rival in ("best", r.algorithm)]
            found = {name: points(_least(mine, over, read), _least(others, over, read))
                     for name, read in readings.items()}  # fmt: skip
            if all(found.values()):
                yield {
                    "over": over, **fixed, "servers": servers, "rival": rival,
                    **{name: {"first": one[0], "at": one[1]} for name, one in found.items() if one},
                }  # fmt: skip


def _is(record: Record, servers: str) -> bool:
    """Whether the record is of a parameter server with so many servers, for its number of ranks."""
    name, _, setting = record.algorithm.partition(":servers=")
    if name != _PREFIX:
        return False
    count = int(setting) if setting else record.ranks
    return count == {HALF: record.ranks // 2, _ALL: record.ranks}.get(servers, int(servers) if servers.isdigit() else 0)


def _least(records: Sequence[Record], over: str, read: Callable[[Record], float]) -> dict[int, float]:
    found: dict[int, float] = {}
    for record in records:
        x = getattr(record, over)
        found[x] = min(read(record), found.get(x, math.inf))
    return found
