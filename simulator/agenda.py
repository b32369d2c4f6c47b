"""Events to come, as a heap by moment; those of one moment come in the order in which they were put there."""

from __future__ import annotations

from simulator.compiled import lean
from simulator.world import AGENDA, COMING, Records, World

__all__ = ["drop", "put"]


@lean
def put(w: World, time: float, kind: int, subject: int) -> None:
    """An event at ``time``; there must be room."""
    agenda, at = w.agenda, w.totals[AGENDA]
    w.totals[AGENDA] += 1
    while at:
        above = (at - 1) >> 1
        if agenda[above].time <= time:
            break
        agenda[at] = agenda[above]
        at = above
    agenda[at].time, agenda[at].coming, agenda[at].kind, agenda[at].subject = time, w.totals[COMING], kind, subject
    w.totals[COMING] += 1


@lean
def _earlier(agenda: Records, one: int, other: int) -> bool:
    a, b = agenda[one], agenda[other]
    return a.time < b.time or (a.time == b.time and a.coming < b.coming)


@lean
def drop(w: World) -> None:
    """Take the first event away."""
    agenda, last = w.agenda, w.totals[AGENDA] - 1
    w.totals[AGENDA] = last
    at = 0
    while True:
        below = 2 * at + 1
        if below >= last:
            break
        if below + 1 < last and _earlier(agenda, below + 1, below):
            below += 1
        if not _earlier(agenda, below, last):
            break
        agenda[at] = agenda[below]
        at = below
    agenda[at] = agenda[last]
