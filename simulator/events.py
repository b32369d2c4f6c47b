"""The event engine: every rank works through its rounds, messages wait for processors, ports and shares of links.

The loop stops with ``HUNGRY`` when a rank needs rounds that are not loaded yet; the caller loads more and calls again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator import fluid
from simulator.agenda import drop, put
from simulator.compiled import lean
from simulator.world import (
    AGENDA,
    DIRTY,
    DONE_RANKS,
    HUNGRY_RANKS,
    LOADED,
    STAYS,
    TAKEN,
    Rules,
    World,
)

__all__ = ["DONE", "HUNGRY", "LINK", "STUCK", "advance", "load"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DONE, HUNGRY, STUCK = 0, 1, 2
"""Why ``advance`` stopped: all ranks are through; rounds are missing; nothing can ever happen again."""

_INJECTED, _POSTED, _ARRIVED = 1, 2, 4
"""What has happened to a message: its sender is through with it, its receiver is in the round, its bytes are there."""

_ENTER, _READY, _SENT, _PORTS, _ARRIVE, _CPU, _CORE, LINK = range(8)
"""Kinds of events; the subject is a rank, a message's slot, or the number of a link change."""

_FOLD, _COMPUTE, _IDLE = -1, -2, -3
"""What a processor is busy with, beside a node (one end of a message)."""


# --- loading ------------------------------------------------------------------------------------------------------


@lean
def load(w: World, rules: Rules, ints: Ints, floats: Floats, order: int, phase: int, more: bool) -> None:
    """Take the messages of some rounds in: ``ints`` of shape (5, m) and ``floats`` of shape (7, m), see the body.

    ``order`` is the number of the first message; ``more``: whether there will be further rounds.
    """
    for m in range(ints.shape[1]):
        slot = int(w.free[len(w.free) - 1 - w.totals[TAKEN]])
        w.totals[TAKEN] += 1
        message = w.slots[slot]
        message.source, message.dest, message.round = ints[0, m], ints[1, m], ints[2, m]
        message.eager, message.route = ints[3, m], ints[4, m]
        message.nbytes, message.send, message.receive = floats[0, m], floats[1, m], floats[2, m]
        message.delay, message.ideal, message.fold = floats[3, m], floats[4, m], floats[5, m]
        message.gap = floats[6, m]
        message.phase, message.order, message.state = phase, order + m, 0
        _append(w, message.source, 2 * slot)
        _append(w, message.dest, 2 * slot + 1)
    w.totals[LOADED] = 0 if more else 1
    for rank in range(len(w.ranks)):
        if w.ranks[rank].hungry:
            w.ranks[rank].hungry = 0
            w.totals[HUNGRY_RANKS] -= 1
            _proceed(w, rank)


@lean
def _append(w: World, rank: int, node: int) -> None:
    me = w.ranks[rank]
    w.nodes[node].next_op = -1
    if me.head < 0:
        me.head = node
    else:
        w.nodes[me.tail].next_op = node
    me.tail = node


# --- ranks --------------------------------------------------------------------------------------------------------


@lean
def _proceed(w: World, rank: int) -> None:
    """``rank`` has left a round: on to its next one, after compute phases and once that is released."""
    me = w.ranks[rank]
    if me.head < 0 and not w.totals[LOADED]:
        me.hungry = 1
        w.totals[HUNGRY_RANKS] += 1
        return
    seconds = 0.0
    while me.compute < me.compute_end:
        if me.head >= 0 and w.compute[me.compute].round > w.slots[me.head >> 1].round:
            break
        seconds += w.compute[me.compute].seconds
        me.compute += 1
    if seconds > 0:
        me.working = seconds
        _start_cpu(w, rank, _COMPUTE, seconds, me.left)
    else:
        _release(w, rank, me.left)


@lean
def _release(w: World, rank: int, now: float) -> None:
    me = w.ranks[rank]
    if me.head < 0:
        last = w.phases[len(w.phases) - 1, rank]
        last.completion = max(last.completion, now)
        w.totals[DONE_RANKS] += 1
    else:
        put(w, max(now, w.phases[w.slots[me.head >> 1].phase, rank].release), _ENTER, rank)


@lean
def _enter(w: World, rules: Rules, rank: int, now: float) -> None:
    me = w.ranks[rank]
    node = me.head
    number = w.slots[node >> 1].round
    me.round, me.phase, me.entered, me.folding = number, w.slots[node >> 1].phase, now, 0.0
    me.pending = 1  # itself, so that the round cannot end before all of it has been looked at
    while node >= 0 and w.slots[node >> 1].round == number:
        slot, message, after = node >> 1, w.slots[node >> 1], w.nodes[node].next_op
        me.head = after
        me.pending += 1
        if node & 1:
            message.state |= _POSTED
            if message.state & _ARRIVED:
                _deliver(w, slot, now)
            elif message.state & _INJECTED and not message.eager:
                _both_there(w, rules, slot, now)
        elif message.send > 0:
            _queue_cpu(w, rank, node, now)
        else:
            _injected(w, rules, slot, now)
        node = after
    _completed(w, rank, now)


@lean
def _completed(w: World, rank: int, now: float) -> None:
    """One operation of the rank's round is complete; after the last one it folds."""
    me = w.ranks[rank]
    me.pending -= 1
    if me.pending:
        return
    me.received = now
    if me.folding > 0:
        me.working = me.folding
        _start_cpu(w, rank, _FOLD, me.folding, now)
    else:
        _leave(w, rank, now)


@lean
def _leave(w: World, rank: int, now: float) -> None:
    me = w.ranks[rank]
    me.left = now
    w.phases[me.phase, rank].completion = now
    if len(w.stays):
        stay = w.stays[w.totals[STAYS]]
        w.totals[STAYS] += 1
        stay.rank, stay.round, stay.entered, stay.received, stay.left = rank, me.round, me.entered, me.received, now
    _proceed(w, rank)


# --- processors ---------------------------------------------------------------------------------------------------


@lean
def _queue_cpu(w: World, rank: int, node: int, now: float) -> None:
    """The processor of ``rank`` is to send or receive one message, after what it is at."""
    me = w.ranks[rank]
    if me.cpu == _IDLE:
        _start_node(w, rank, node, now)
        return
    w.nodes[node].next_cpu = -1
    if me.cpu_head < 0:
        me.cpu_head = node
    else:
        w.nodes[me.cpu_tail].next_cpu = node
    me.cpu_tail = node


@lean
def _start_node(w: World, rank: int, node: int, now: float) -> None:
    seconds = w.slots[node >> 1].receive if node & 1 else w.slots[node >> 1].send
    w.ranks[rank].working = seconds
    _start_cpu(w, rank, node, seconds, now)


@lean
def _start_cpu(w: World, rank: int, what: int, seconds: float, now: float) -> None:
    me = w.ranks[rank]
    me.cpu = what
    if me.core < 0:
        put(w, now + seconds, _CPU, rank)
    else:
        put(w, now, _CORE, rank)  # cores are shared: from there on it is a flow


@lean
def _cpu_done(w: World, rules: Rules, rank: int, now: float) -> None:
    me = w.ranks[rank]
    what, me.cpu = me.cpu, _IDLE
    if what == _FOLD:
        _leave(w, rank, now)
    elif what == _COMPUTE:
        _release(w, rank, now)
    else:
        node = me.cpu_head
        if node >= 0:
            me.cpu_head = w.nodes[node].next_cpu
            _start_node(w, rank, node, now)
        if what & 1:
            _received(w, what >> 1, now)
        else:
            _injected(w, rules, what >> 1, now)


# --- messages -----------------------------------------------------------------------------------------------------


@lean
def _injected(w: World, rules: Rules, slot: int, now: float) -> None:
    message = w.slots[slot]
    message.state |= _INJECTED
    message.injected = now
    if message.eager:
        _ready(w, slot, now)
        _completed(w, message.source, now)
    elif message.state & _POSTED:
        _both_there(w, rules, slot, now)


@lean
def _both_there(w: World, rules: Rules, slot: int, now: float) -> None:
    """A message that is not eager has its sender and its receiver; with a handshake they now agree."""
    message = w.slots[slot]
    if rules.handshake:
        put(w, max(message.injected + message.delay, now) + message.delay, _READY, slot)
    else:
        _ready(w, slot, now)


@lean
def _ready(w: World, slot: int, now: float) -> None:
    """Into the queues of both its ports, in order of the schedule."""
    message = w.slots[slot]
    if len(w.moments):
        w.moments[message.order, 0], w.moments[message.order, 1] = message.injected, now
    sender, receiver = w.ranks[message.source], w.ranks[message.dest]
    at, last = sender.out_wait, -1
    while at >= 0 and w.slots[at].order < message.order:
        at, last = w.slots[at].next_out, at
    message.next_out = at
    if last < 0:
        sender.out_wait = slot
    else:
        w.slots[last].next_out = slot
    at, last = receiver.in_wait, -1
    while at >= 0 and w.slots[at].order < message.order:
        at, last = w.slots[at].next_in, at
    message.next_in = at
    if last < 0:
        receiver.in_wait = slot
    else:
        w.slots[last].next_in = slot
    _look_at(w, message.source)


@lean
def _look_at(w: World, rank: int) -> None:
    """A port of ``rank`` may have something to do."""
    if not w.ranks[rank].dirty:
        w.ranks[rank].dirty = 1
        w.dirty[w.totals[DIRTY]] = rank
        w.totals[DIRTY] += 1


@lean
def _start(w: World, flows: fluid.State, rules: Rules, now: float) -> None:
    """Whenever ports are free, the first messages in order that can go go."""
    found = 0
    for at in range(w.totals[DIRTY]):
        me = w.ranks[w.dirty[at]]
        me.dirty = 0
        slot = me.out_wait if not me.out_busy else -1
        while slot >= 0:
            if not w.ranks[w.slots[slot].dest].in_busy:
                w.waiting[found] = slot
                found += 1
            slot = w.slots[slot].next_out
        slot = me.in_wait if not me.in_busy else -1
        while slot >= 0:
            if not w.ranks[w.slots[slot].source].out_busy:
                w.waiting[found] = slot
                found += 1
            slot = w.slots[slot].next_in
    w.totals[DIRTY] = 0
    _sort(w, found)
    last = -1
    for at in range(found):
        slot = w.waiting[at]
        message = w.slots[slot]
        if slot != last and not w.ranks[message.source].out_busy and not w.ranks[message.dest].in_busy:
            _go(w, flows, rules, slot, now)
        last = slot


@lean
def _sort(w: World, count: int) -> None:
    """The first ``count`` of those waiting by order of the schedule (Shell's sort: they nearly are)."""
    gap = 1
    while gap < count // 3:
        gap = 3 * gap + 1
    while gap:
        for end in range(gap, count):
            slot, at = w.waiting[end], end
            while at >= gap and w.slots[w.waiting[at - gap]].order > w.slots[slot].order:
                w.waiting[at] = w.waiting[at - gap]
                at -= gap
            w.waiting[at] = slot
        gap //= 3


@lean
def _go(w: World, flows: fluid.State, rules: Rules, slot: int, now: float) -> None:
    """A message takes its ports."""
    message = w.slots[slot]
    sender, receiver = w.ranks[message.source], w.ranks[message.dest]
    if sender.out_wait == slot:
        sender.out_wait = message.next_out
    else:
        at = sender.out_wait
        while w.slots[at].next_out != slot:
            at = w.slots[at].next_out
        w.slots[at].next_out = message.next_out
    if receiver.in_wait == slot:
        receiver.in_wait = message.next_in
    else:
        at = receiver.in_wait
        while w.slots[at].next_in != slot:
            at = w.slots[at].next_in
        w.slots[at].next_in = message.next_in
    if len(w.moments):
        w.moments[message.order, 2] = now
    if message.ideal <= 0:
        _sent(w, rules, slot, now)
        return
    sender.out_busy = receiver.in_busy = 1
    if rules.on_links:
        lo, hi = int(w.route_first[message.route]), int(w.route_first[message.route + 1])
        fluid.begin(flows, w.route_links, lo, hi, message.nbytes, message.nbytes / message.ideal, slot, now)
    else:
        put(w, now + message.ideal, _SENT, slot)


@lean
def _sent(w: World, rules: Rules, slot: int, now: float) -> None:
    """All bytes are out; the ports are free again, with a gap a little later."""
    message = w.slots[slot]
    if len(w.moments):
        w.moments[message.order, 3] = now
    put(w, now + message.delay, _ARRIVE, slot)
    if message.gap > 0:
        w.ranks[message.source].out_busy = w.ranks[message.dest].in_busy = 1
        put(w, now + message.gap, _PORTS, message.source * len(w.ranks) + message.dest)
    else:
        _free_ports(w, message.source, message.dest)


@lean
def _free_ports(w: World, source: int, dest: int) -> None:
    sender, receiver = w.ranks[source], w.ranks[dest]
    sender.out_busy = receiver.in_busy = 0
    if sender.out_wait >= 0:
        _look_at(w, source)
    if receiver.in_wait >= 0:
        _look_at(w, dest)


@lean
def _arrive(w: World, slot: int, now: float) -> None:
    message = w.slots[slot]
    message.state |= _ARRIVED
    if len(w.moments):
        w.moments[message.order, 4] = now
    if not message.eager:
        _completed(w, message.source, now)
    if message.state & _POSTED:
        _deliver(w, slot, now)


@lean
def _deliver(w: World, slot: int, now: float) -> None:
    message = w.slots[slot]
    if message.receive > 0:
        _queue_cpu(w, message.dest, 2 * slot + 1, now)
    else:
        _received(w, slot, now)


@lean
def _received(w: World, slot: int, now: float) -> None:
    message = w.slots[slot]
    if len(w.moments):
        w.moments[message.order, 5] = now
    w.ranks[message.dest].folding += message.fold
    w.totals[TAKEN] -= 1
    w.free[len(w.free) - 1 - w.totals[TAKEN]] = slot
    _completed(w, message.dest, now)


# --- the loop -----------------------------------------------------------------------------------------------------


@lean
def _happen(w: World, flows: fluid.State, rules: Rules, kind: int, subject: int, now: float) -> None:
    if kind == _ARRIVE:
        _arrive(w, subject, now)
    elif kind == _ENTER:
        _enter(w, rules, subject, now)
    elif kind == _SENT:
        _sent(w, rules, subject, now)
    elif kind == _CPU:
        _cpu_done(w, rules, subject, now)
    elif kind == _CORE:
        w.waiting[0] = w.ranks[subject].core
        fluid.begin(flows, w.waiting, 0, 1, w.ranks[subject].working, 1.0, -1 - subject, now)
    elif kind == _READY:
        _ready(w, subject, now)
    elif kind == _PORTS:
        _free_ports(w, subject // len(w.ranks), subject % len(w.ranks))
    else:
        fluid.change(flows, w.changes[subject].link, w.changes[subject].capacity)


@lean
def _due(w: World, flows: fluid.State, rules: Rules, now: float) -> float:
    """All that happens at ``now``, and what follows from it at once; the moment of the last of it."""
    due = now * (1 + fluid.SAME)
    while True:
        if w.totals[AGENDA] and w.agenda[0].time <= due:
            now = max(now, w.agenda[0].time)
            kind, subject = w.agenda[0].kind, w.agenda[0].subject
            drop(w)
            _happen(w, flows, rules, kind, subject, now)
            continue
        flow = fluid.finish_due(flows, now)
        if flow < 0:
            return now
        owner = fluid.stop(flows, flow, now)
        if owner >= 0:
            _sent(w, rules, owner, now)
        else:
            _cpu_done(w, rules, -1 - owner, now)


@lean
def advance(w: World, flows: fluid.State, rules: Rules) -> int:
    """Let time run until all ranks are done, or one needs rounds that are not loaded, or nothing can happen."""
    while True:
        if w.totals[HUNGRY_RANKS]:
            return HUNGRY
        if w.totals[DONE_RANKS] == len(w.ranks):
            return DONE
        now = min(w.agenda[0].time if w.totals[AGENDA] else np.inf, fluid.next_finish(flows))
        if now == np.inf:
            return STUCK
        now = _due(w, flows, rules, now)
        if w.totals[DIRTY]:
            _start(w, flows, rules, now)
        fluid.settle(flows, now)
