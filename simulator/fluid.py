"""Flows that share links: max-min fairness, worked out anew only where flows begin, end or links change.

A flow has bytes to move along a set of links and a rate that it never exceeds (its cap). Rates are max-min fair: none
can grow but at the cost of one that is no larger. They are found by filling (Bertsekas and Gallager, "Data Networks",
section 6.5.2): all rates rise together until a link is full or a cap is reached, those flows are settled, and so on.
A change spreads only along shared links, so each recomputation covers the flows connected to the one that changed.
Source of the use for networks: Casanova et al., "Versatile, scalable, and accurate simulation" (SimGrid, 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Flows", "State", "begin", "change", "finish_due", "make", "next_finish", "settle", "stop"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SAME = 1e-12
"""Moments and rates that differ by less than this share are one, so that rounding never decides."""

_LIVE, _QUEUED, _TOUCHED_LINKS, _TOUCHED_FLOWS = 0, 1, 2, 3


class State(NamedTuple):
    """All flows at one moment, as arrays for compiled code; a flow is an index below ``len(remaining)``.

    By link: ``capacity`` (bytes/s), ``count`` (flows on it), ``head`` (first entry of its list of flows), ``moved``
    (bytes so far). By flow: ``remaining`` (bytes) as of moment ``since``, ``rate``, ``cap`` (bytes/s), ``finish`` (s),
    ``owner`` (whatever the caller wants to find again), ``hops``. ``links[f, h]`` is the h-th link of flow f, and
    ``after``/``before`` chain the entries ``f * H + h`` of one link. ``heap`` orders live flows by ``finish``;
    ``place`` is where each stands in it. ``used``, of shape (links, bins) or (links, 0), receives the bytes
    that each link carries in each span of ``width[0]`` seconds. The rest is room to work in.
    """

    capacity: Floats
    count: Ints
    head: Ints
    moved: Floats
    remaining: Floats
    rate: Floats
    cap: Floats
    since: Floats
    finish: Floats
    owner: Ints
    hops: Ints
    links: Ints
    after: Ints
    before: Ints
    heap: Ints
    place: Ints
    free: Ints
    counters: Ints
    link_mark: Ints
    flow_mark: Ints
    link_list: Ints
    flow_list: Ints
    left: Floats
    open_count: Ints
    used: Floats
    width: Floats


def make(capacity: Floats, flows: int, hops: int, bins: int = 0, width: float = 0.0) -> State:
    """Room for ``flows`` flows at once of up to ``hops`` links each, over links of ``capacity`` bytes/s.

    With ``bins``, what each link carries is counted in as many spans of ``width`` seconds.
    """
    links, hops = len(capacity), max(1, hops)
    zeros, nothing = (lambda n: np.zeros(n, dtype=np.int64)), (lambda n: np.full(n, -1, dtype=np.int64))
    return State(
        capacity=np.array(capacity, dtype=np.float64),
        count=zeros(links), head=nothing(links), moved=np.zeros(links),
        remaining=np.zeros(flows), rate=np.zeros(flows), cap=np.zeros(flows), since=np.zeros(flows),
        finish=np.full(flows, np.inf), owner=nothing(flows), hops=zeros(flows),
        links=np.zeros((flows, hops), dtype=np.int64), after=nothing(flows * hops), before=nothing(flows * hops),
        heap=zeros(flows), place=nothing(flows), free=np.arange(flows)[::-1].copy(), counters=zeros(4),
        link_mark=zeros(links), flow_mark=zeros(flows), link_list=zeros(links), flow_list=zeros(flows),
        left=np.zeros(links), open_count=zeros(links), used=np.zeros((links, bins)), width=np.array([width]),
    )  # fmt: skip


@njit(cache=True)
def _up(state: State, at: int) -> None:
    heap, place, finish = state.heap, state.place, state.finish
    flow = heap[at]
    while at:
        above = (at - 1) >> 1
        if finish[heap[above]] <= finish[flow]:
            break
        heap[at] = heap[above]
        place[heap[at]] = at
        at = above
    heap[at] = flow
    place[flow] = at


@njit(cache=True)
def _down(state: State, at: int) -> None:
    heap, place, finish, live = state.heap, state.place, state.finish, state.counters[_LIVE]
    flow = heap[at]
    while True:
        below = 2 * at + 1
        if below >= live:
            break
        if below + 1 < live and finish[heap[below + 1]] < finish[heap[below]]:
            below += 1
        if finish[flow] <= finish[heap[below]]:
            break
        heap[at] = heap[below]
        place[heap[at]] = at
        at = below
    heap[at] = flow
    place[flow] = at


@njit(cache=True)
def _reschedule(state: State, flow: int, rate: float, now: float) -> None:
    """From ``now`` on ``flow`` moves at ``rate``."""
    _catch_up(state, flow, now)
    state.rate[flow] = rate
    state.finish[flow] = now + state.remaining[flow] / rate if rate > 0 else np.inf
    _up(state, state.place[flow])
    _down(state, state.place[flow])


@njit(cache=True)
def _catch_up(state: State, flow: int, now: float) -> None:
    """Book what ``flow`` has moved since its rate was last looked at."""
    moved = state.rate[flow] * (now - state.since[flow])
    if moved > 0:
        state.remaining[flow] = max(0.0, state.remaining[flow] - moved)
        for hop in range(state.hops[flow]):
            state.moved[state.links[flow, hop]] += moved
        if state.used.shape[1]:
            _book(state, flow, now)
    state.since[flow] = now


@njit(cache=True)
def _book(state: State, flow: int, now: float) -> None:
    """Spread what ``flow`` moved since it was last looked at over the spans of time in which it did."""
    width, bins, since, rate = state.width[0], state.used.shape[1], state.since[flow], state.rate[flow]
    for number in range(min(int(since / width), bins - 1), min(int(now / width), bins - 1) + 1):
        end = now if number == bins - 1 else min(now, (number + 1) * width)
        for hop in range(state.hops[flow]):
            state.used[state.links[flow, hop], number] += rate * max(0.0, end - max(since, number * width))


@njit(cache=True)
def begin(state: State, links: Ints, nbytes: float, cap: float, owner: int, now: float) -> int:
    """A new flow; its rate is known once ``settle`` has run. Links on which it is alone need no settling."""
    live = state.counters[_LIVE]
    flow = state.free[len(state.free) - 1 - live]
    width = state.links.shape[1]
    state.remaining[flow], state.cap[flow], state.since[flow] = nbytes, cap, now
    state.rate[flow], state.finish[flow], state.owner[flow] = 0.0, np.inf, owner
    state.hops[flow] = len(links)
    alone, rate = True, cap
    for hop in range(len(links)):
        link, entry = links[hop], flow * width + hop
        state.links[flow, hop] = link
        old = state.head[link]
        state.after[entry], state.before[entry], state.head[link] = old, -1, entry
        if old >= 0:
            state.before[old] = entry
            alone = False
        state.count[link] += 1
        rate = min(rate, state.capacity[link])
    state.heap[live], state.place[flow] = flow, live
    state.counters[_LIVE] = live + 1
    _up(state, live)
    if alone:
        _reschedule(state, flow, rate, now)
    else:
        _touch(state, flow)
    return flow


@njit(cache=True)
def _touch(state: State, flow: int) -> None:
    """``flow`` and its links wait to be settled."""
    if not state.flow_mark[flow]:
        state.flow_mark[flow] = 1
        state.flow_list[state.counters[_TOUCHED_FLOWS]] = flow
        state.counters[_TOUCHED_FLOWS] += 1
    for hop in range(state.hops[flow]):
        _touch_link(state, state.links[flow, hop])


@njit(cache=True)
def _touch_link(state: State, link: int) -> None:
    if not state.link_mark[link]:
        state.link_mark[link] = 1
        state.link_list[state.counters[_TOUCHED_LINKS]] = link
        state.counters[_TOUCHED_LINKS] += 1


@njit(cache=True)
def stop(state: State, flow: int, now: float) -> None:
    """Take ``flow`` away; those who shared a link with it wait to be settled."""
    _catch_up(state, flow, now)
    width = state.links.shape[1]
    for hop in range(state.hops[flow]):
        link, entry = state.links[flow, hop], flow * width + hop
        after, before = state.after[entry], state.before[entry]
        if before >= 0:
            state.after[before] = after
        else:
            state.head[link] = after
        if after >= 0:
            state.before[after] = before
        state.count[link] -= 1
        if state.count[link]:
            _touch_link(state, link)
    last = state.counters[_LIVE] - 1
    state.counters[_LIVE] = last
    at, mover = state.place[flow], state.heap[last]
    if mover != flow:
        state.heap[at] = mover
        state.place[mover] = at
        _up(state, at)
        _down(state, state.place[mover])
    state.place[flow] = -1
    state.free[len(state.free) - 1 - last] = flow


@njit(cache=True)
def change(state: State, link: int, capacity: float) -> None:
    """``link`` carries ``capacity`` bytes/s from now on (0: nothing); its flows wait to be settled."""
    state.capacity[link] = capacity
    _touch_link(state, link)


@njit(cache=True)
def next_finish(state: State) -> float:
    """When the first flow ends, infinity if none does. Only right when all is settled."""
    return state.finish[state.heap[0]] if state.counters[_LIVE] else np.inf


@njit(cache=True)
def finish_due(state: State, now: float) -> int:
    """The first flow if it ends by ``now``, else -1; the caller reads its owner and then stops it."""
    if state.counters[_LIVE] and state.finish[state.heap[0]] <= now * (1 + SAME):
        return state.heap[0]
    return -1


@njit(cache=True)
def _connected(state: State) -> None:
    """Touch all flows on touched links, and all links of those, until nothing is added."""
    counters, width = state.counters, state.links.shape[1]
    at = 0
    while at < counters[_TOUCHED_LINKS]:
        entry = state.head[state.link_list[at]]
        while entry >= 0:
            _touch(state, entry // width)
            entry = state.after[entry]
        at += 1


@njit(cache=True)
def settle(state: State, now: float) -> None:
    """Give all flows that are connected with a change their max-min fair rates."""
    counters = state.counters
    if not counters[_TOUCHED_LINKS] and not counters[_TOUCHED_FLOWS]:
        return
    _connected(state)
    touched_links, flows = counters[_TOUCHED_LINKS], counters[_TOUCHED_FLOWS]
    kept = 0
    for at in range(flows):
        flow = state.flow_list[at]
        if state.place[flow] >= 0:  # else begun and gone before it was settled
            state.flow_list[kept] = flow
            kept += 1
        state.flow_mark[flow] = 0
    links = 0
    for at in range(touched_links):
        link = state.link_list[at]
        state.link_mark[link] = 0
        if state.count[link]:
            state.left[link], state.open_count[link] = state.capacity[link], state.count[link]
            state.link_list[links] = link
            links += 1
    counters[_TOUCHED_LINKS] = counters[_TOUCHED_FLOWS] = 0
    _fill(state, links, kept, now)


@njit(cache=True)
def _fill(state: State, links: int, flows: int, now: float) -> None:
    left, open_count, flow_list, link_list = state.left, state.open_count, state.flow_list, state.link_list
    while flows:
        level = np.inf
        kept = 0
        for at in range(links):
            link = link_list[at]
            if open_count[link]:
                level = min(level, left[link] / open_count[link])
                link_list[kept] = link
                kept += 1
        links = kept
        for at in range(flows):
            level = min(level, state.cap[flow_list[at]])
        # A flow is settled when its cap, or one of its links, stands at the level; compare before any is taken away.
        kept = settled = 0
        for at in range(flows):
            flow = flow_list[at]
            full = state.cap[flow] <= level * (1 + SAME)
            for hop in range(state.hops[flow]):
                link = state.links[flow, hop]
                full = full or left[link] <= level * open_count[link] * (1 + SAME)
            if full:
                state.flow_mark[flow] = 1
                settled += 1
        for at in range(flows):
            flow = flow_list[at]
            if state.flow_mark[flow]:
                state.flow_mark[flow] = 0
                for hop in range(state.hops[flow]):
                    link = state.links[flow, hop]
                    left[link] = max(0.0, left[link] - level)
                    open_count[link] -= 1
                if state.rate[flow] != level:
                    _reschedule(state, flow, level, now)
            else:
                flow_list[kept] = flow
                kept += 1
        flows = kept


class Flows:
    """The same for Python callers: flows over ``capacity`` (float64 of shape (links,), bytes/s).

    Moments are seconds and never go back. After any ``start``, ``stop`` or ``set_capacity`` rates are fair at once.
    """

    def __init__(self, capacity: Floats) -> None:
        self._state = make(np.asarray(capacity, dtype=np.float64), 64, 8)

    def start(self, links: Sequence[int], nbytes: float, cap: float, now: float) -> int:
        """A flow of ``nbytes`` over ``links``, no faster than ``cap`` bytes/s; its index is its own until it ends."""
        if self._state.counters[_LIVE] == len(self._state.remaining) or len(links) > self._state.links.shape[1]:
            self._grow(len(links))
        route = np.array(links, dtype=np.int64)
        flow = int(begin(self._state, route, float(nbytes), float(cap), -1, now))
        settle(self._state, now)
        return flow

    def next(self) -> float:
        """When the first flow ends; infinity if none does."""
        return float(next_finish(self._state))

    def advance(self, now: float) -> list[int]:
        """End the flows that are done at ``now``, and return them."""
        done: list[int] = []
        while (flow := int(finish_due(self._state, now))) >= 0:
            stop(self._state, flow, now)
            done.append(flow)
        settle(self._state, now)
        return sorted(done)

    def stop(self, flow: int, now: float) -> None:
        """Take a flow away before its end."""
        stop(self._state, flow, now)
        settle(self._state, now)

    def set_capacity(self, link: int, bandwidth: float, now: float) -> None:
        """``link`` carries ``bandwidth`` bytes/s from ``now`` on; 0 stops what it carries."""
        change(self._state, link, float(bandwidth))
        settle(self._state, now)

    def rate(self, flow: int) -> float:
        """Bytes/s of ``flow``."""
        return float(self._state.rate[flow])

    @property
    def moved(self) -> Floats:
        """Bytes that each link has carried up to the last change of each flow on it; float64 of shape (links,)."""
        return self._state.moved.copy()

    def _grow(self, hops: int) -> None:
        self._state = grown(self._state, 2 * len(self._state.remaining), max(hops, self._state.links.shape[1]))


def grown(old: State, flows: int, hops: int) -> State:
    """The same flows with more room."""
    new = make(old.capacity, flows, hops, old.used.shape[1], float(old.width[0]))
    new.used[:] = old.used
    size, width = old.links.shape
    for name in ("count", "moved", "link_mark", "link_list", "counters"):
        getattr(new, name)[:] = getattr(old, name)
    for name in ("remaining", "rate", "cap", "since", "finish", "owner", "hops", "heap", "place"):
        getattr(new, name)[:size] = getattr(old, name)
    new.flow_mark[:size], new.flow_list[:size] = old.flow_mark, old.flow_list
    new.links[:, :width][:size] = old.links
    live = int(old.counters[_LIVE])
    taken = set(old.heap[:live].tolist())
    new.free[: flows - live] = [flow for flow in range(flows) if flow not in taken]
    for flow in sorted(taken):
        for hop in range(int(old.hops[flow])):
            link, entry = int(new.links[flow, hop]), flow * hops + hop
            new.after[entry], new.head[link] = new.head[link], entry
            if new.after[entry] >= 0:
                new.before[new.after[entry]] = entry
    return new
