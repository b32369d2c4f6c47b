"""The event engine: every rank works through its rounds, messages wait for processors, ports and shares of links.

All state is flat arrays, so that the whole loop is compiled. Messages live in slots: one is taken when its round is
loaded and given back when the message has been received, so memory follows what is under way. The loop stops with
``HUNGRY`` when a rank needs rounds that are not loaded yet; the caller loads more and calls again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from simulator import fluid

__all__ = [
    "DONE", "HUNGRY", "LINK", "STUCK", "Agenda", "Log", "Ranks", "Slots", "Work", "advance", "grown_agenda", "grown_log",
    "load", "log", "make", "put", "with_room",
]  # fmt: skip

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DONE, HUNGRY, STUCK = 0, 1, 2
"""Why ``advance`` stopped: all ranks are through; rounds are missing; nothing can ever happen again."""

_INJECTED, _POSTED, _ARRIVED = 1, 2, 4
"""What has happened to a message: its sender is through with it, its receiver is in the round, its bytes are there."""

_ENTER, _READY, _SENT, _PORTS, _ARRIVE, _CPU, LINK = 0, 1, 2, 3, 4, 5, 6
"""Kinds of events; the subject is a rank, a message's slot, or the number of a link change."""

_FOLD, _COMPUTE, _IDLE = -1, -2, -3
"""What a processor is busy with, beside a node: twice a slot for its sending, one more for its receiving."""

_TAKEN, _LOADED = 0, 1


class Slots(NamedTuple):
    """Messages by slot; see ``pricing.Priced`` for the costs and ``timeline.Message`` for the moments."""

    source: Ints
    dest: Ints
    round: Ints
    phase: Ints
    order: Ints
    nbytes: Floats
    send: Floats
    receive: Floats
    delay: Floats
    ideal: Floats
    fold: Floats
    eager: Ints
    route: Ints
    state: Ints
    injected: Floats
    next_op: Ints
    next_cpu: Ints
    next_out: Ints
    next_in: Ints
    free: Ints
    counters: Ints


class Ranks(NamedTuple):
    """Ranks: their lists of operations to come, what they wait for, their processor and their two ports."""

    head: Ints
    tail: Ints
    round: Ints
    phase: Ints
    pending: Ints
    hungry: Ints
    folding: Floats
    entered: Floats
    received: Floats
    left: Floats
    cpu: Ints
    cpu_head: Ints
    cpu_tail: Ints
    core: Ints
    out_busy: Ints
    in_busy: Ints
    out_wait: Ints
    in_wait: Ints
    dirty: Ints
    dirty_list: Ints
    compute_at: Ints
    counters: Ints


class Agenda(NamedTuple):
    """Events whose moment is known, as a heap by (time, order of coming); ``counters``: how many, how many ever."""

    time: Floats
    coming: Ints
    kind: Ints
    subject: Ints
    counters: Ints


class Log(NamedTuple):
    """What is written down if wanted: moments of messages, shape (m, 6), and stays (rank, round; three moments)."""

    messages: Floats
    stay_of: Ints
    stays: Floats
    counters: Ints


class Work(NamedTuple):
    """What the caller gives: completion and release by (phase, rank), compute phases, routes, link changes.

    ``compute_first``, of shape (size + 1,), ``compute_round`` and ``compute_seconds`` list each rank's phases in order.
    ``handshake``: 1 if messages that are not eager ask first. ``gap``: seconds. ``on_links``: 1 if routes count.
    """

    completion: Floats
    release: Floats
    compute_first: Ints
    compute_round: Ints
    compute_seconds: Floats
    route_first: Ints
    route_links: Ints
    change_link: Ints
    change_capacity: Floats
    handshake: int
    gap: float
    on_links: int


def make(size: int, slots: int, cores: Ints) -> tuple[Slots, Ranks, Agenda]:
    """Room for ``slots`` messages between ``size`` ranks; ``cores``: the link each processor's work takes, or -1."""
    zeros, nothing = (lambda n: np.zeros(n, dtype=np.int64)), (lambda n: np.full(n, -1, dtype=np.int64))
    table = Slots(
        *(zeros(slots) for _ in range(5)), *(np.zeros(slots) for _ in range(6)), *(zeros(slots) for _ in range(3)),
        np.zeros(slots), nothing(2 * slots), nothing(2 * slots), nothing(slots), nothing(slots),
        np.arange(slots)[::-1].copy(), zeros(2),
    )  # fmt: skip
    ranks = Ranks(
        head=nothing(size), tail=nothing(size), round=nothing(size), phase=zeros(size), pending=zeros(size),
        hungry=np.ones(size, dtype=np.int64), folding=np.zeros(size), entered=np.zeros(size),
        received=np.zeros(size), left=np.zeros(size), cpu=np.full(size, _IDLE), cpu_head=nothing(size),
        cpu_tail=nothing(size), core=cores, out_busy=zeros(size), in_busy=zeros(size), out_wait=nothing(size),
        in_wait=nothing(size), dirty=zeros(size), dirty_list=zeros(size), compute_at=zeros(size), counters=np.array([0, size, 0]),
    )  # fmt: skip
    return table, ranks, _agenda(2 * (slots + size) + 8)


def _agenda(events: int) -> Agenda:
    """Room for ``events`` events: two for each message under way and each rank, one for each link change."""
    zeros = (lambda: np.zeros(events, dtype=np.int64))  # fmt: skip
    return Agenda(np.zeros(events), zeros(), zeros(), zeros(), np.zeros(2, dtype=np.int64))


def log(messages: int) -> Log:
    """Room to write ``messages`` messages down; 0 writes nothing."""
    return Log(
        np.zeros((messages, 6)), np.zeros((2 * messages, 2), dtype=np.int64), np.zeros((2 * messages, 3)),
        np.zeros(1, dtype=np.int64),
    )  # fmt: skip


def with_room(old: Slots, messages: int) -> Slots:
    """The same slots, at least ``messages`` of them free."""
    size, taken = len(old.free), int(old.counters[_TAKEN])
    if taken + messages <= size:
        return old
    slots = max(taken + messages, 2 * size)
    # Lists of nodes start with two for each slot, all others with one; the free slots come last in ``free``.
    wider = [_longer(old_part, 2 * slots if len(old_part) == 2 * size else slots) for old_part in old]
    wider[-2] = np.concatenate([np.arange(size, slots)[::-1], old.free])
    wider[-1] = old.counters
    return Slots(*wider)


def grown_agenda(old: Agenda, events: int) -> Agenda:
    """The same events with room for ``events``."""
    return Agenda(*(_longer(part, events) for part in old[:-1]), old.counters)


def grown_log(old: Log, messages: int) -> Log:
    """Room to write ``messages`` more down."""
    count = len(old.messages) + messages
    return Log(
        _longer(old.messages, count), _longer(old.stay_of, 2 * count), _longer(old.stays, 2 * count), old.counters
    )


def _longer(part: NDArray[np.generic], length: int) -> NDArray[np.generic]:
    new = np.zeros((length, *part.shape[1:]), dtype=part.dtype)
    new[: len(part)] = part
    return new


# --- the agenda ---------------------------------------------------------------------------------------------------


@njit(cache=True)
def put(agenda: Agenda, time: float, kind: int, subject: int) -> None:
    """An event at ``time``; there must be room."""
    times, coming = agenda.time, agenda.coming
    at, order = agenda.counters[0], agenda.counters[1]
    agenda.counters[0] += 1
    agenda.counters[1] += 1
    while at:
        above = (at - 1) >> 1
        if times[above] <= time:
            break
        _move(agenda, above, at)
        at = above
    times[at], coming[at], agenda.kind[at], agenda.subject[at] = time, order, kind, subject


@njit(cache=True)
def _move(agenda: Agenda, here: int, there: int) -> None:
    agenda.time[there], agenda.coming[there] = agenda.time[here], agenda.coming[here]
    agenda.kind[there], agenda.subject[there] = agenda.kind[here], agenda.subject[here]


@njit(cache=True)
def _before(agenda: Agenda, one: int, other: int) -> bool:
    if agenda.time[one] != agenda.time[other]:
        return agenda.time[one] < agenda.time[other]
    return agenda.coming[one] < agenda.coming[other]


@njit(cache=True)
def _drop(agenda: Agenda) -> None:
    """Take the first event away."""
    last = agenda.counters[0] - 1
    agenda.counters[0] = last
    if not last:
        return
    time, coming, kind, subject = agenda.time[last], agenda.coming[last], agenda.kind[last], agenda.subject[last]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= last:
            break
        if below + 1 < last and _before(agenda, below + 1, below):
            below += 1
        if time < agenda.time[below] or (time == agenda.time[below] and coming < agenda.coming[below]):
            break
        _move(agenda, below, at)
        at = below
    agenda.time[at], agenda.coming[at], agenda.kind[at], agenda.subject[at] = time, coming, kind, subject


# --- loading ------------------------------------------------------------------------------------------------------


@njit(cache=True)
def load(
    slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, ints: Ints, floats: Floats, order: int, phase: int,
    more: int,
) -> None:  # fmt: skip
    """Take the messages of some rounds in: ``ints`` of shape (5, m) and ``floats`` of shape (6, m), see the body.

    ``order`` is the number of the first message; ``more``: whether there will be further rounds.
    """
    for m in range(ints.shape[1]):
        taken = slots.counters[_TAKEN]
        slot = slots.free[len(slots.free) - 1 - taken]
        slots.counters[_TAKEN] = taken + 1
        slots.source[slot], slots.dest[slot], slots.round[slot] = ints[0, m], ints[1, m], ints[2, m]
        slots.eager[slot], slots.route[slot] = ints[3, m], ints[4, m]
        slots.nbytes[slot], slots.send[slot], slots.receive[slot] = floats[0, m], floats[1, m], floats[2, m]
        slots.delay[slot], slots.ideal[slot], slots.fold[slot] = floats[3, m], floats[4, m], floats[5, m]
        slots.phase[slot], slots.order[slot], slots.state[slot] = phase, order + m, 0
        _append(slots, ranks, slots.source[slot], 2 * slot)
        _append(slots, ranks, slots.dest[slot], 2 * slot + 1)
    slots.counters[_LOADED] = 0 if more else 1
    for rank in range(len(ranks.head)):
        if ranks.hungry[rank]:
            ranks.hungry[rank] = 0
            ranks.counters[1] -= 1
            _proceed(slots, ranks, agenda, work, rank)


@njit(cache=True)
def _append(slots: Slots, ranks: Ranks, rank: int, node: int) -> None:
    slots.next_op[node] = -1
    if ranks.head[rank] < 0:
        ranks.head[rank] = node
    else:
        slots.next_op[ranks.tail[rank]] = node
    ranks.tail[rank] = node


# --- ranks --------------------------------------------------------------------------------------------------------


@njit(cache=True)
def _proceed(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, rank: int) -> None:
    """``rank`` has left a round: on to its next one, after compute phases and once that is released."""
    node, now = ranks.head[rank], ranks.left[rank]
    if node < 0 and not slots.counters[_LOADED]:
        ranks.hungry[rank] = 1
        ranks.counters[1] += 1
        return
    seconds, at = 0.0, ranks.compute_at[rank]
    while at < work.compute_first[rank + 1] and (node < 0 or work.compute_round[at] <= slots.round[node >> 1]):
        seconds += work.compute_seconds[at]
        at += 1
    ranks.compute_at[rank] = at
    if seconds > 0:
        _start_cpu(ranks, agenda, rank, _COMPUTE, seconds, now)
    else:
        _release(slots, ranks, agenda, work, rank, now)


@njit(cache=True)
def _release(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, rank: int, now: float) -> None:
    node = ranks.head[rank]
    if node < 0:
        ranks.left[rank] = now
        last = len(work.completion) - 1
        work.completion[last, rank] = max(work.completion[last, rank], now)
        ranks.counters[0] += 1
    else:
        put(agenda, max(now, work.release[slots.phase[node >> 1], rank]), _ENTER, rank)


@njit(cache=True)
def _enter(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, rank: int, now: float) -> None:
    node = ranks.head[rank]
    number = slots.round[node >> 1]
    ranks.round[rank], ranks.phase[rank] = number, slots.phase[node >> 1]
    ranks.entered[rank], ranks.folding[rank], ranks.pending[rank] = now, 0.0, 1
    while node >= 0 and slots.round[node >> 1] == number:
        slot, after = node >> 1, slots.next_op[node]
        ranks.head[rank] = after
        ranks.pending[rank] += 1
        if node & 1:
            slots.state[slot] |= _POSTED
            if slots.state[slot] & _ARRIVED:
                _deliver(slots, ranks, agenda, work, log, slot, now)
            elif slots.state[slot] & _INJECTED and not slots.eager[slot]:
                _both_there(slots, ranks, agenda, work, log, slot, now)
        elif slots.send[slot] > 0:
            _queue_cpu(slots, ranks, agenda, rank, node, slots.send[slot], now)
        else:
            _injected(slots, ranks, agenda, work, log, slot, now)
        node = after
    _completed(slots, ranks, agenda, work, log, rank, now)


@njit(cache=True)
def _completed(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, rank: int, now: float) -> None:
    """One operation of the rank's round is complete; after the last one it folds."""
    ranks.pending[rank] -= 1
    if ranks.pending[rank]:
        return
    ranks.received[rank] = now
    if ranks.folding[rank] > 0:
        _start_cpu(ranks, agenda, rank, _FOLD, ranks.folding[rank], now)
    else:
        _leave(slots, ranks, agenda, work, log, rank, now)


@njit(cache=True)
def _leave(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, rank: int, now: float) -> None:
    ranks.left[rank] = now
    work.completion[ranks.phase[rank], rank] = now
    if len(log.stays):
        at = log.counters[0]
        log.counters[0] += 1
        log.stay_of[at, 0], log.stay_of[at, 1] = rank, ranks.round[rank]
        log.stays[at, 0], log.stays[at, 1], log.stays[at, 2] = ranks.entered[rank], ranks.received[rank], now
    _proceed(slots, ranks, agenda, work, rank)


# --- processors ---------------------------------------------------------------------------------------------------


@njit(cache=True)
def _queue_cpu(slots: Slots, ranks: Ranks, agenda: Agenda, rank: int, node: int, seconds: float, now: float) -> None:
    if ranks.cpu[rank] == _IDLE:
        _start_cpu(ranks, agenda, rank, node, seconds, now)
        return
    slots.next_cpu[node] = -1
    if ranks.cpu_head[rank] < 0:
        ranks.cpu_head[rank] = node
    else:
        slots.next_cpu[ranks.cpu_tail[rank]] = node
    ranks.cpu_tail[rank] = node


@njit(cache=True)
def _start_cpu(ranks: Ranks, agenda: Agenda, rank: int, what: int, seconds: float, now: float) -> None:
    ranks.cpu[rank] = what
    if ranks.core[rank] < 0:
        put(agenda, now + seconds, _CPU, rank)
    else:
        put(agenda, now, _CPU, -1 - rank)  # cores are shared: the main loop makes it a flow
        ranks.folding[rank] = seconds if what < 0 else ranks.folding[rank]


@njit(cache=True)
def _cpu_done(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, rank: int, now: float) -> None:
    what, ranks.cpu[rank] = ranks.cpu[rank], _IDLE
    if what == _FOLD:
        _leave(slots, ranks, agenda, work, log, rank, now)
        return
    if what == _COMPUTE:
        _release(slots, ranks, agenda, work, rank, now)
        return
    node = ranks.cpu_head[rank]
    if node >= 0:
        ranks.cpu_head[rank] = slots.next_cpu[node]
        slot = node >> 1
        _start_cpu(ranks, agenda, rank, node, slots.receive[slot] if node & 1 else slots.send[slot], now)
    if what & 1:
        _received(slots, ranks, agenda, work, log, what >> 1, now)
    else:
        _injected(slots, ranks, agenda, work, log, what >> 1, now)


# --- messages -----------------------------------------------------------------------------------------------------


@njit(cache=True)
def _injected(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, slot: int, now: float) -> None:
    slots.state[slot] |= _INJECTED
    slots.injected[slot] = now
    if slots.eager[slot]:
        _ready(slots, ranks, log, slot, now)
        _completed(slots, ranks, agenda, work, log, slots.source[slot], now)
    elif slots.state[slot] & _POSTED:
        _both_there(slots, ranks, agenda, work, log, slot, now)


@njit(cache=True)
def _both_there(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, slot: int, now: float) -> None:
    """A message that is not eager has its sender and its receiver; with a handshake they now agree."""
    if work.handshake:
        asked = slots.injected[slot] + slots.delay[slot]
        put(agenda, max(asked, now) + slots.delay[slot], _READY, slot)
    else:
        _ready(slots, ranks, log, slot, now)


@njit(cache=True)
def _ready(slots: Slots, ranks: Ranks, log: Log, slot: int, now: float) -> None:
    """Into the queues of both its ports, in order of the schedule."""
    source, dest, order = slots.source[slot], slots.dest[slot], slots.order[slot]
    if len(log.messages):
        log.messages[order, 0], log.messages[order, 1] = slots.injected[slot], now
    _insert(ranks.out_wait, slots.next_out, slots.order, source, slot)
    _insert(ranks.in_wait, slots.next_in, slots.order, dest, slot)
    _mark(ranks, source)


@njit(cache=True)
def _insert(heads: Ints, after: Ints, order: Ints, rank: int, slot: int) -> None:
    at, last = heads[rank], -1
    while at >= 0 and order[at] < order[slot]:
        at, last = after[at], at
    after[slot] = at
    if last < 0:
        heads[rank] = slot
    else:
        after[last] = slot


@njit(cache=True)
def _remove(heads: Ints, after: Ints, rank: int, slot: int) -> None:
    if heads[rank] == slot:
        heads[rank] = after[slot]
        return
    at = heads[rank]
    while after[at] != slot:
        at = after[at]
    after[at] = after[slot]


@njit(cache=True)
def _mark(ranks: Ranks, rank: int) -> None:
    """A port of ``rank`` may have something to do."""
    if not ranks.dirty[rank]:
        ranks.dirty[rank] = 1
        ranks.dirty_list[ranks.counters[2]] = rank
        ranks.counters[2] += 1


@njit(cache=True)
def _start(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, flows: fluid.State, now: float) -> None:
    """Whenever ports are free, the first messages in order that can go go."""
    count = 0
    for at in range(ranks.counters[2]):
        rank = ranks.dirty_list[at]
        slot = ranks.out_wait[rank]
        while slot >= 0 and not ranks.out_busy[rank]:
            count += 1 - ranks.in_busy[slots.dest[slot]]
            slot = slots.next_out[slot]
        slot = ranks.in_wait[rank]
        while slot >= 0 and not ranks.in_busy[rank]:
            count += 1 - ranks.out_busy[slots.source[slot]]
            slot = slots.next_in[slot]
    candidates, orders = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    count = 0
    for at in range(ranks.counters[2]):
        rank = ranks.dirty_list[at]
        ranks.dirty[rank] = 0
        slot = ranks.out_wait[rank]
        while slot >= 0 and not ranks.out_busy[rank]:
            if not ranks.in_busy[slots.dest[slot]]:
                candidates[count], orders[count] = slot, slots.order[slot]
                count += 1
            slot = slots.next_out[slot]
        slot = ranks.in_wait[rank]
        while slot >= 0 and not ranks.in_busy[rank]:
            if not ranks.out_busy[slots.source[slot]]:
                candidates[count], orders[count] = slot, slots.order[slot]
                count += 1
            slot = slots.next_in[slot]
    ranks.counters[2] = 0
    last = -1
    for at in np.argsort(orders):
        slot = candidates[at]
        if slot != last and not ranks.out_busy[slots.source[slot]] and not ranks.in_busy[slots.dest[slot]]:
            _go(slots, ranks, agenda, work, log, flows, slot, now)
        last = slot


@njit(cache=True)
def _go(
    slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, flows: fluid.State, slot: int, now: float
) -> None:
    source, dest, ideal = slots.source[slot], slots.dest[slot], slots.ideal[slot]
    _remove(ranks.out_wait, slots.next_out, source, slot)
    _remove(ranks.in_wait, slots.next_in, dest, slot)
    if len(log.messages):
        log.messages[slots.order[slot], 2] = now
    if ideal <= 0:
        _sent(slots, ranks, agenda, work, log, slot, now)
        return
    ranks.out_busy[source] = ranks.in_busy[dest] = 1
    if work.on_links:
        route = slots.route[slot]
        links = work.route_links[work.route_first[route] : work.route_first[route + 1]]
        fluid.begin(flows, links, slots.nbytes[slot], slots.nbytes[slot] / ideal, slot, now)
    else:
        put(agenda, now + ideal, _SENT, slot)


@njit(cache=True)
def _sent(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, slot: int, now: float) -> None:
    """All bytes are out; the ports are free again, with a gap a little later."""
    source, dest = slots.source[slot], slots.dest[slot]
    if len(log.messages):
        log.messages[slots.order[slot], 3] = now
    put(agenda, now + slots.delay[slot], _ARRIVE, slot)
    if work.gap > 0:
        ranks.out_busy[source] = ranks.in_busy[dest] = 1
        put(agenda, now + work.gap, _PORTS, source * len(ranks.head) + dest)
    else:
        _free_ports(ranks, source, dest)


@njit(cache=True)
def _free_ports(ranks: Ranks, source: int, dest: int) -> None:
    ranks.out_busy[source] = ranks.in_busy[dest] = 0
    _mark(ranks, source)
    _mark(ranks, dest)


@njit(cache=True)
def _arrive(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, slot: int, now: float) -> None:
    slots.state[slot] |= _ARRIVED
    if len(log.messages):
        log.messages[slots.order[slot], 4] = now
    if not slots.eager[slot]:
        _completed(slots, ranks, agenda, work, log, slots.source[slot], now)
    if slots.state[slot] & _POSTED:
        _deliver(slots, ranks, agenda, work, log, slot, now)


@njit(cache=True)
def _deliver(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, slot: int, now: float) -> None:
    if slots.receive[slot] > 0:
        _queue_cpu(slots, ranks, agenda, slots.dest[slot], 2 * slot + 1, slots.receive[slot], now)
    else:
        _received(slots, ranks, agenda, work, log, slot, now)


@njit(cache=True)
def _received(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, slot: int, now: float) -> None:
    dest = slots.dest[slot]
    if len(log.messages):
        log.messages[slots.order[slot], 5] = now
    ranks.folding[dest] += slots.fold[slot]
    slots.counters[_TAKEN] -= 1
    slots.free[len(slots.free) - 1 - slots.counters[_TAKEN]] = slot
    _completed(slots, ranks, agenda, work, log, dest, now)


# --- the loop -----------------------------------------------------------------------------------------------------


@njit(cache=True)
def _happen(
    slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, flows: fluid.State, kind: int, subject: int,
    now: float,
) -> None:  # fmt: skip
    if kind == _ARRIVE:
        _arrive(slots, ranks, agenda, work, log, subject, now)
    elif kind == _ENTER:
        _enter(slots, ranks, agenda, work, log, subject, now)
    elif kind == _SENT:
        _sent(slots, ranks, agenda, work, log, subject, now)
    elif kind == _CPU and subject >= 0:
        _cpu_done(slots, ranks, agenda, work, log, subject, now)
    elif kind == _CPU:
        rank = -1 - subject
        what = ranks.cpu[rank]
        seconds = ranks.folding[rank] if what < 0 else slots.receive[what >> 1] if what & 1 else slots.send[what >> 1]
        fluid.begin(flows, ranks.core[rank : rank + 1], seconds, 1.0, -1 - rank, now)
    elif kind == _READY:
        _ready(slots, ranks, log, subject, now)
    elif kind == _PORTS:
        _free_ports(ranks, subject // len(ranks.head), subject % len(ranks.head))
    else:
        fluid.change(flows, work.change_link[subject], work.change_capacity[subject])


@njit(cache=True)
def advance(slots: Slots, ranks: Ranks, agenda: Agenda, work: Work, log: Log, flows: fluid.State) -> int:
    """Let time run until all ranks are done, or one needs rounds that are not loaded, or nothing can happen."""
    while True:
        if ranks.counters[1]:
            return HUNGRY
        if ranks.counters[0] == len(ranks.head):
            return DONE
        now = min(agenda.time[0] if agenda.counters[0] else np.inf, fluid.next_finish(flows))
        if now == np.inf:
            return STUCK
        due = now * (1 + fluid.SAME)
        while True:
            if agenda.counters[0] and agenda.time[0] <= due:
                now = max(now, agenda.time[0])
                kind, subject = agenda.kind[0], agenda.subject[0]
                _drop(agenda)
                _happen(slots, ranks, agenda, work, log, flows, kind, subject, now)
                continue
            flow = fluid.finish_due(flows, now)
            if flow < 0:
                break
            owner = flows.owner[flow]
            fluid.stop(flows, flow, now)
            if owner >= 0:
                _sent(slots, ranks, agenda, work, log, owner, now)
            else:
                _cpu_done(slots, ranks, agenda, work, log, -1 - owner, now)
        if ranks.counters[2]:
            _start(slots, ranks, agenda, work, log, flows, now)
        fluid.settle(flows, now)
