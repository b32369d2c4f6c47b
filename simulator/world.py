"""The state of a run as flat arrays: messages, ranks and coming events, for compiled code.

A message lives in a slot, which is taken when its round is loaded and given back when it has been received, so memory
follows what is under way. Every table is one array of records.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AGENDA", "COMING", "DIRTY", "DONE_RANKS", "HUNGRY_RANKS", "LOADED", "STAYS", "TAKEN", "Rules", "World", "empty",
    "with_routes", "with_slots",
]  # fmt: skip

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Records = Any  # an array of records; its fields are known to the compiler, not to a type checker

TAKEN, LOADED, DONE_RANKS, HUNGRY_RANKS, DIRTY, AGENDA, COMING, STAYS = range(8)
"""Places in ``World.totals``: slots taken, whether all is loaded, ranks that are done or need rounds, ranks to look at,
events to come, events ever, stays written down."""


def _record(ints: str, floats: str) -> np.dtype[np.void]:
    return np.dtype([(name, np.int64) for name in ints.split()] + [(name, np.float64) for name in floats.split()])


SLOT = _record(
    "source dest round phase order eager route state next_out next_in",
    "nbytes send receive delay ideal gap fold injected",
)
"""A message: its costs are those of ``pricing.Priced``; ``next_out`` and ``next_in`` chain those that want a port."""

NODE = _record("next_op next_cpu", "")
"""One end of a message, 2 * slot for sending and one more for receiving: chains of operations and processor work."""

RANK = _record(
    "head tail round phase pending hungry cpu cpu_head cpu_tail core out_busy in_busy out_wait in_wait dirty compute "
    "compute_end",
    "working folding entered received left",
)
"""A rank: its chain of operations, what it waits for, its processor (``cpu``: busy with, ``core``: the link that its
work takes, or -1) and its two ports. ``compute`` to ``compute_end``: its phases of work still to come."""

EVENT = _record("coming kind subject", "time")
PHASE = _record("", "completion release")
COMPUTE = _record("round", "seconds")
CHANGE = _record("link", "capacity")
STAY = _record("rank round", "entered received left")


class Rules(NamedTuple):
    """Of the whole run. ``handshake``: messages that are not eager ask first.

    ``on_links``: bytes take the links of their route, and share them.
    """

    handshake: bool
    on_links: bool


class World(NamedTuple):
    """All tables of a run. ``phases`` has shape (phases, size); ``agenda`` is a heap by (time, order of coming).

    ``moments``, of shape (messages or 0, 6), and ``stays`` are written if wanted. ``free`` is a stack of slots,
    ``dirty`` a list of ranks whose ports may have something to do, ``waiting`` room to sort in.
    """

    slots: Records
    nodes: Records
    ranks: Records
    agenda: Records
    phases: Records
    compute: Records
    changes: Records
    stays: Records
    moments: Floats
    route_first: Ints
    route_links: Ints
    free: Ints
    dirty: Ints
    waiting: Ints
    totals: Ints


def empty(phases: Records, compute: Records, changes: Records, cores: Ints) -> World:
    """A world without messages; ``cores``: of each rank, the link that its processor's work takes, or -1."""
    size = phases.shape[1]
    ranks = np.zeros(size, dtype=RANK)
    for name in ("head", "tail", "cpu_head", "cpu_tail", "out_wait", "in_wait", "round"):
        ranks[name] = -1
    ranks["core"], ranks["cpu"], ranks["hungry"] = cores, -3, 1
    totals = np.zeros(8, dtype=np.int64)
    totals[HUNGRY_RANKS] = size
    return World(
        slots=np.zeros(0, dtype=SLOT), nodes=np.zeros(0, dtype=NODE), ranks=ranks,
        agenda=np.zeros(2 * size + len(changes), dtype=EVENT), phases=phases, compute=compute, changes=changes,
        stays=np.zeros(0, dtype=STAY), moments=np.zeros((0, 6)), route_first=np.zeros(1, dtype=np.int64),
        route_links=np.zeros(0, dtype=np.int64), free=np.zeros(0, dtype=np.int64),
        dirty=np.zeros(size, dtype=np.int64), waiting=np.zeros(1, dtype=np.int64), totals=totals,
    )  # fmt: skip


def with_slots(old: World, messages: int, *, log: bool) -> World:
    """Room for ``messages`` more messages and their events; with ``log`` also room to write them down."""
    size, taken = len(old.slots), int(old.totals[TAKEN])
    if log:
        count = len(old.moments) + messages
        old = old._replace(moments=_longer(old.moments, count), stays=_longer(old.stays, 2 * count))
    if taken + messages <= size:
        return old
    slots = max(taken + messages, 2 * size)
    return old._replace(
        slots=_longer(old.slots, slots),
        nodes=_longer(old.nodes, 2 * slots),
        # a message has at most two events to come: its ports and its arrival
        agenda=_longer(old.agenda, 2 * (slots + len(old.ranks)) + len(old.changes)),
        free=np.concatenate([np.arange(size, slots)[::-1], old.free]),
        waiting=np.zeros(2 * slots, dtype=np.int64),
    )


def with_routes(old: World, first: Ints, links: Ints) -> World:
    """The routes that messages refer to; those that were there keep their numbers."""
    return old._replace(route_first=first, route_links=links)


def _longer(part: NDArray[Any], length: int) -> NDArray[Any]:
    new = np.zeros((length, *part.shape[1:]), dtype=part.dtype)
    new[: len(part)] = part
    return new
