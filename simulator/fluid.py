"""Flows that share links: max-min fairness, worked out anew only where flows begin, end or links change.

A flow has bytes to move along a set of links and a rate that it never exceeds (its cap). Rates are max-min fair: none
can grow but at the cost of one that is no larger. They are found by filling (Bertsekas and Gallager, "Data Networks",
section 6.5.2): all rates rise together until a link is full or a cap is reached, those flows are settled, and so on.
A change spreads only along shared links, so each recomputation covers the flows connected to the one that changed.
Source of the use for networks: Casanova et al., "Versatile, scalable, and accurate simulation" (SimGrid, 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.compiled import lean

__all__ = ["SAME", "Flows", "State", "begin", "change", "finish_due", "grown", "make", "next_finish", "settle", "stop"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Records = Any  # an array of records; its fields are known to the compiler, not to a type checker

SAME = 1e-12
"""Moments and rates that differ by less than this share are one, so that rounding never decides."""

_LIVE, _LINKS, _FLOWS = range(3)
"""Places in ``State.totals``: live flows, and how many links and flows wait to be settled."""


def _record(ints: str, floats: str) -> np.dtype[np.void]:
    return np.dtype([(name, np.int64) for name in ints.split()] + [(name, np.float64) for name in floats.split()])


_LINK = _record("count head waits listed open", "capacity left moved")
_FLOW = _record("owner hops heap place free waits listed", "remaining rate cap since finish")
_ENTRY = _record("link after before", "")


class State(NamedTuple):
    """All flows at one moment, as records for compiled code; a flow is an index below ``len(flow)``.

    ``link``: ``capacity`` (bytes/s), ``count`` of flows on it, ``head`` of their chain, ``moved`` (bytes so far).
    ``flow``: ``remaining`` bytes as of moment ``since``, ``rate`` and ``cap`` (bytes/s), ``finish`` (s), ``owner``
    (whatever the caller wants to find again), ``place`` in the heap by finish that the column ``heap`` holds.
    ``entry[f, h]``: the h-th link of flow f; ``after`` and ``before`` chain all entries of a link by flat index.
    ``used``, of shape (links, bins or 0), receives the bytes that a link carries in each span of ``width[0]`` seconds.
    """

    link: Records
    flow: Records
    entry: Records
    totals: Ints
    used: Floats
    width: Floats


def make(capacity: Floats, flows: int, hops: int, bins: int = 0, width: float = 0.0) -> State:
    """Room for ``flows`` flows at once of up to ``hops`` links each, over links of ``capacity`` bytes/s.

    With ``bins``, what each link carries is counted in as many spans of ``width`` seconds.
    """
    link, flow = np.zeros(len(capacity), dtype=_LINK), np.zeros(flows, dtype=_FLOW)
    link["capacity"], link["head"] = capacity, -1
    flow["owner"], flow["place"], flow["free"] = -1, -1, np.arange(flows)[::-1]
    entry = np.zeros((flows, max(1, hops)), dtype=_ENTRY)
    return State(link, flow, entry, np.zeros(3, dtype=np.int64), np.zeros((len(link), bins)), np.array([width]))


def grown(old: State, flows: int, hops: int) -> State:
    """The same flows with room for ``flows`` of ``hops`` links."""
    size, width = (int(extent) for extent in old.entry.shape)
    new = make(np.array(old.link["capacity"]), flows, hops)
    new.flow[:size] = old.flow
    new.flow["free"] = np.concatenate([np.arange(size, flows)[::-1], old.flow["free"]])
    new.entry[:size, :width] = old.entry
    old_of = old.entry.reshape(-1)
    for name in ("after", "before"):
        at = old_of[name].reshape(size, width)
        new.entry[name][:size, :width] = np.where(at < 0, at, at // width * hops + at % width)
    link = old.link.copy()
    link["head"] = np.where(link["head"] < 0, -1, link["head"] // width * hops + link["head"] % width)
    return State(link, new.flow, new.entry, old.totals, old.used, old.width)


# --- the heap of live flows by their end --------------------------------------------------------------------------


@lean
def _up(state: State, at: int) -> None:
    flows = state.flow
    flow = flows[at].heap
    while at:
        above = (at - 1) >> 1
        if flows[flows[above].heap].finish <= flows[flow].finish:
            break
        flows[at].heap = flows[above].heap
        flows[flows[at].heap].place = at
        at = above
    flows[at].heap = flow
    flows[flow].place = at


@lean
def _down(state: State, at: int) -> None:
    flows, live = state.flow, state.totals[_LIVE]
    flow = flows[at].heap
    while True:
        below = 2 * at + 1
        if below >= live:
            break
        if below + 1 < live and flows[flows[below + 1].heap].finish < flows[flows[below].heap].finish:
            below += 1
        if flows[flow].finish <= flows[flows[below].heap].finish:
            break
        flows[at].heap = flows[below].heap
        flows[flows[at].heap].place = at
        at = below
    flows[at].heap = flow
    flows[flow].place = at


# --- flows --------------------------------------------------------------------------------------------------------


@lean
def _reschedule(state: State, flow: int, rate: float, now: float) -> None:
    """From ``now`` on ``flow`` moves at ``rate``."""
    _catch_up(state, flow, now)
    mine = state.flow[flow]
    mine.rate = rate
    mine.finish = now + mine.remaining / rate if rate > 0 else np.inf
    _up(state, mine.place)
    _down(state, mine.place)


@lean
def _catch_up(state: State, flow: int, now: float) -> None:
    """Book what ``flow`` has moved since its rate was last looked at."""
    mine = state.flow[flow]
    moved = mine.rate * (now - mine.since)
    if moved > 0:
        mine.remaining = max(0.0, mine.remaining - moved)
        for hop in range(mine.hops):
            state.link[state.entry[flow, hop].link].moved += moved
        if state.used.shape[1]:
            _book(state, flow, now)
    mine.since = now


@lean
def _book(state: State, flow: int, now: float) -> None:
    """Spread what ``flow`` moved since it was last looked at over the spans of time in which it did."""
    mine, width, bins = state.flow[flow], state.width[0], state.used.shape[1]
    for number in range(min(int(mine.since / width), bins - 1), min(int(now / width), bins - 1) + 1):
        end = now if number == bins - 1 else min(now, (number + 1) * width)
        moved = mine.rate * max(0.0, end - max(mine.since, number * width))
        for hop in range(mine.hops):
            state.used[state.entry[flow, hop].link, number] += moved


@lean
def begin(state: State, links: Ints, first: int, last: int, nbytes: float, cap: float, owner: int, now: float) -> int:
    """A new flow over ``links[first:last]``; its rate is known once ``settle`` has run."""
    live, hops = state.totals[_LIVE], state.entry.shape[1]
    flow = state.flow[len(state.flow) - 1 - live].free
    mine = state.flow[flow]
    mine.remaining, mine.cap, mine.since, mine.rate, mine.finish = nbytes, cap, now, 0.0, np.inf
    mine.owner, mine.hops = owner, last - first
    alone, rate = True, cap
    for hop in range(last - first):
        at, entry, link = flow * hops + hop, state.entry[flow, hop], state.link[links[first + hop]]
        entry.link, entry.after, entry.before = links[first + hop], link.head, -1
        if link.head >= 0:
            state.entry[link.head // hops, link.head % hops].before = at
            alone = False
        link.head = at
        link.count += 1
        rate = min(rate, link.capacity)
    state.flow[live].heap, mine.place = flow, live
    state.totals[_LIVE] = live + 1
    _up(state, live)
    if alone:  # nobody else is concerned
        _reschedule(state, flow, rate, now)
    else:
        _wait(state, flow)
    return flow


@lean
def stop(state: State, flow: int, now: float) -> int:
    """Take ``flow`` away and return its owner; those who shared a link with it wait to be settled."""
    _catch_up(state, flow, now)
    mine, hops = state.flow[flow], state.entry.shape[1]
    for hop in range(mine.hops):
        entry = state.entry[flow, hop]
        link = state.link[entry.link]
        if entry.before >= 0:
            state.entry[entry.before // hops, entry.before % hops].after = entry.after
        else:
            link.head = entry.after
        if entry.after >= 0:
            state.entry[entry.after // hops, entry.after % hops].before = entry.before
        link.count -= 1
        if link.count:
            _wait_link(state, entry.link)
    last = state.totals[_LIVE] - 1
    state.totals[_LIVE] = last
    at, mover = mine.place, state.flow[last].heap
    if mover != flow:
        state.flow[at].heap = mover
        state.flow[mover].place = at
        _up(state, at)
        _down(state, state.flow[mover].place)
    mine.place = -1
    state.flow[len(state.flow) - 1 - last].free = flow
    return mine.owner


@lean
def change(state: State, link: int, capacity: float) -> None:
    """``link`` carries ``capacity`` bytes/s from now on (0: nothing); its flows wait to be settled."""
    state.link[link].capacity = capacity
    _wait_link(state, link)


@lean
def next_finish(state: State) -> float:
    """When the first flow ends, infinity if none does. Only right when all is settled."""
    return state.flow[state.flow[0].heap].finish if state.totals[_LIVE] else np.inf


@lean
def finish_due(state: State, now: float) -> int:
    """The first flow if it ends by ``now``, else -1."""
    if state.totals[_LIVE] and state.flow[state.flow[0].heap].finish <= now * (1 + SAME):
        return state.flow[0].heap
    return -1


# --- sharing ------------------------------------------------------------------------------------------------------


@lean
def _wait(state: State, flow: int) -> None:
    """``flow`` and its links wait to be settled."""
    if not state.flow[flow].waits:
        state.flow[flow].waits = 1
        state.flow[state.totals[_FLOWS]].listed = flow
        state.totals[_FLOWS] += 1
    for hop in range(state.flow[flow].hops):
        _wait_link(state, state.entry[flow, hop].link)


@lean
def _wait_link(state: State, link: int) -> None:
    if not state.link[link].waits:
        state.link[link].waits = 1
        state.link[state.totals[_LINKS]].listed = link
        state.totals[_LINKS] += 1


@lean
def settle(state: State, now: float) -> None:
    """Give all flows that are connected with a change their max-min fair rates."""
    if not state.totals[_LINKS] and not state.totals[_FLOWS]:
        return
    hops, at = state.entry.shape[1], 0
    while at < state.totals[_LINKS]:  # the list grows by all that is connected
        entry = state.link[state.link[at].listed].head
        while entry >= 0:
            _wait(state, entry // hops)
            entry = state.entry[entry // hops, entry % hops].after
        at += 1
    flows = links = 0
    for at in range(state.totals[_FLOWS]):
        flow = state.flow[at].listed
        state.flow[flow].waits = 0
        if state.flow[flow].place >= 0:  # else begun and gone before it was settled
            state.flow[flows].listed = flow
            flows += 1
    for at in range(state.totals[_LINKS]):
        number = state.link[at].listed
        link = state.link[number]
        link.waits, link.left, link.open = 0, link.capacity, link.count
        if link.count:
            state.link[links].listed = number
            links += 1
    state.totals[_LINKS] = state.totals[_FLOWS] = 0
    while flows:
        level, links = _level(state, links, flows)
        flows = _fill(state, flows, level, now)


@lean
def _level(state: State, links: int, flows: int) -> tuple[float, int]:
    """The rate at which the next link is full or the next cap reached, and how many links are still open."""
    level, kept = np.inf, 0
    for at in range(links):
        number = state.link[at].listed
        link = state.link[number]
        if link.open:
            level = min(level, link.left / link.open)
            state.link[kept].listed = number
            kept += 1
    for at in range(flows):
        level = min(level, state.flow[state.flow[at].listed].cap)
    return level, kept


@lean
def _fill(state: State, flows: int, level: float, now: float) -> int:
    """Settle the flows that stand at ``level``; how many are left."""
    for at in range(flows):
        flow = state.flow[state.flow[at].listed]
        full = flow.cap <= level * (1 + SAME)
        for hop in range(flow.hops):
            link = state.link[state.entry[state.flow[at].listed, hop].link]
            full = full or link.left <= level * link.open * (1 + SAME)
        flow.waits = 1 if full else 0  # all are compared before any share is taken away
    kept = 0
    for at in range(flows):
        number = state.flow[at].listed
        flow = state.flow[number]
        if not flow.waits:
            state.flow[kept].listed = number
            kept += 1
            continue
        flow.waits = 0
        for hop in range(flow.hops):
            link = state.link[state.entry[number, hop].link]
            link.left = max(0.0, link.left - level)
            link.open -= 1
        if flow.rate != level:
            _reschedule(state, number, level, now)
    return kept


class Flows:
    """The same for Python callers: flows over ``capacity`` (float64 of shape (links,), bytes/s).

    Moments are seconds and never go back. After any ``start``, ``stop`` or ``set_capacity`` rates are fair at once.
    """

    def __init__(self, capacity: Floats) -> None:
        self._state = make(np.asarray(capacity, dtype=np.float64), 64, 8)

    def start(self, links: Sequence[int], nbytes: float, cap: float, now: float) -> int:
        """A flow of ``nbytes`` over ``links``, no faster than ``cap`` bytes/s; its index is its own until it ends."""
        flows, hops = self._state.entry.shape
        if self._state.totals[_LIVE] == flows or len(links) > hops:
            self._state = grown(self._state, 2 * flows, max(hops, len(links)))
        route = np.array(links, dtype=np.int64)
        flow = int(begin(self._state, route, 0, len(route), float(nbytes), float(cap), -1, float(now)))
        settle(self._state, float(now))
        return flow

    def next(self) -> float:
        """When the first flow ends; infinity if none does."""
        return float(next_finish(self._state))

    def advance(self, now: float) -> list[int]:
        """End the flows that are done at ``now``, and return them."""
        done: list[int] = []
        while (flow := int(finish_due(self._state, float(now)))) >= 0:
            stop(self._state, flow, float(now))
            done.append(flow)
        settle(self._state, float(now))
        return sorted(done)

    def stop(self, flow: int, now: float) -> None:
        """Take a flow away before its end."""
        stop(self._state, flow, float(now))
        settle(self._state, float(now))

    def set_capacity(self, link: int, bandwidth: float, now: float) -> None:
        """``link`` carries ``bandwidth`` bytes/s from ``now`` on; 0 stops what it carries."""
        change(self._state, link, float(bandwidth))
        settle(self._state, float(now))

    def rate(self, flow: int) -> float:
        """Bytes/s of ``flow``."""
        return float(self._state.flow["rate"][flow])

    @property
    def moved(self) -> Floats:
        """Bytes that each link has carried up to the last change of each flow on it; float64 of shape (links,)."""
        return self._state.link["moved"].copy()
