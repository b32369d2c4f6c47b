"""Closed forms of the parameter server beside those of the ring: when does which one win?

``w`` workers, ``k`` servers, a vector of n bytes in s slices; α, β, γ as everywhere, full-duplex ports, one switch.

- Servers of their own: 2α + (max(1, w/k) + w/(ks))·nβ + nγ/(ks) for γ ≤ β; with one slice and w ≥ k, w/k·nβ each way.
- Servers beside the workers: 2α + 2(w-1)/k·nβ + nγ/k, and for k = w the ring's bandwidth term, 2(w-1)/w·nβ.
- The ring over the workers: 2(w-1)α + 2(w-1)/w·nβ + (w-1)/w·nγ.

So servers win where latency counts, two of them beside 2(w-1); and with k ≥ w servers of their own they win in
bandwidth too as soon as 1 + w/(ks) < 2(w-1)/w, because a worker receives while it still sends. Else the ring wins.
Where messages share ports and do not take turns, as TCP's connections do, whole messages end together and nothing of a
push overlaps a pull: 2α + 2 max(1, w/k)·nβ, which is also what the schedules move. Then servers of their own never need
fewer seconds for bytes than a ring, and the claim "n·w/k·β against 2(w-1)/w·nβ" holds each way: see ``shared_seconds``.

The first two are exact in the simulator where k divides w, or w = 1. Elsewhere they are what no order of messages can
beat, and first come, first served leaves a port idle now and then.
Sources: Li et al. (2014); Patarasuk and Yuan (2009) for the ring; Jiang et al. (BytePS, 2020) for k ≥ w and slices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from collectives import catalogue

__all__ = [
    "asynchronous_bound",
    "colocated_seconds",
    "crossover_bytes",
    "crossover_servers",
    "crossover_straggler",
    "ring_seconds",
    "separate_seconds",
    "shared_seconds",
]

_SAME = 1e-12
"""Seconds that differ by less than this share are the same but for rounding."""


def separate_seconds(
    workers: int, servers: int, nbytes: float, alpha: float, beta: float, gamma: float = 0.0, slices: int = 1
) -> float:
    """Seconds of a push and pull by all workers at once, with servers of their own.

    2α + (max(1, w/k) + w/(ks))·nβ + nγ/(ks) as long as servers add at least as fast as they receive, γ ≤ β; slower
    ones are what all wait for, and it is 2α + (wγ + β/s + wβ/s)·n/k, for w ≥ k.
    """
    _check(workers, servers, nbytes, alpha, beta, gamma, slices)
    part, turns = nbytes / (servers * slices), max(workers, servers)
    added = max(slices * turns * beta + gamma, beta + workers * slices * gamma)
    return 2 * alpha + part * (added + workers * beta)


def colocated_seconds(
    workers: int, servers: int, nbytes: float, alpha: float, beta: float, gamma: float = 0.0
) -> float:
    """Seconds of a push and pull by all workers at once, servers being the first ``servers`` workers, in one slice.

    2α + 2(w-1)/k·nβ + nγ/k as long as servers add at least as fast as they receive, γ ≤ β.
    """
    _check(workers, servers, nbytes, alpha, beta, gamma, 1)
    part, others = nbytes / servers, workers - 1
    if not others:
        return part * gamma
    return 2 * alpha + part * (max(others * beta + gamma, beta + others * gamma) + others * beta)


def shared_seconds(
    workers: int, servers: int, nbytes: float, alpha: float, beta: float, gamma: float = 0.0, *, colocated: bool = False
) -> float:
    """Seconds of a push and pull by all workers at once where messages share ports, one message to each server.

    2α + 2 max(1, w/k)·nβ + (w/k)·nγ: all pushes end at once, so their additions follow the last byte; with servers
    beside workers 2α + 2(w-1)/k·nβ + (w-1)/k·nγ, the worker's own push being there before.
    """
    _check(workers, servers, nbytes, alpha, beta, gamma, 1)
    if not colocated:
        return 2 * alpha + 2 * max(1.0, workers / servers) * nbytes * beta + workers / servers * nbytes * gamma
    others = workers - 1
    if not others:
        return nbytes / servers * gamma
    return 2 * alpha + others / servers * nbytes * (2 * beta + gamma)


def ring_seconds(workers: int, nbytes: float, alpha: float, beta: float, gamma: float = 0.0) -> float:
    """Seconds of a ring over the workers: 2(w-1)α + 2(w-1)/w·nβ + (w-1)/w·nγ."""
    _check(workers, 1, nbytes, alpha, beta, gamma, 1)
    return catalogue.get("ring").cost(workers).seconds(nbytes, alpha, beta, gamma)


def crossover_servers(
    workers: int, nbytes: float, alpha: float, beta: float, gamma: float = 0.0, *, slices: int = 1,
    colocated: bool = False,
) -> int | None:  # fmt: skip
    """The least number of servers, up to twice the workers, with which they are no slower than a ring over the workers.

    None where no number is enough. For long vectors in many slices and γ = 0 it is k* = w²/(2(w-1)) rounded up, a
    little more than half the workers; colocated it is k* = w, whose bytes are the ring's.
    """
    ring = ring_seconds(workers, nbytes, alpha, beta, gamma) * (1 + _SAME)
    for servers in range(1, (workers if colocated else 2 * workers) + 1):
        if colocated and colocated_seconds(workers, servers, nbytes, alpha, beta, gamma) <= ring:
            return servers
        if not colocated and separate_seconds(workers, servers, nbytes, alpha, beta, gamma, slices) <= ring:
            return servers
    return None


def crossover_bytes(
    workers: int, servers: int, alpha: float, beta: float, gamma: float = 0.0, *, slices: int = 1,
    colocated: bool = False,
) -> float:  # fmt: skip
    """Bytes below which a parameter server is faster than a ring over the same workers.

    Infinity: it is never slower. 0: it is never faster. The latencies that it saves pay for more bytes that it moves:
    with servers of their own and γ = 0, n* = 2(w-2)α / (max(1, w/k) + w/(ks) - 2(w-1)/w)β.
    """

    def server(nbytes: float) -> float:
        if colocated:
            return colocated_seconds(workers, servers, nbytes, alpha, beta, gamma)
        return separate_seconds(workers, servers, nbytes, alpha, beta, gamma, slices)

    cost = catalogue.get("ring").cost(workers)
    # All are straight lines in n: two points give each.
    latency = float(cost.messages) * alpha - server(0.0)
    steeper = server(1.0) - server(0.0) - float(cost.volume) * beta - float(cost.reductions) * gamma
    if steeper <= 1e-12 * beta:  # the same but for rounding, or less
        return math.inf
    return max(0.0, latency / steeper)


def asynchronous_bound(
    compute: Sequence[float], servers: int, nbytes: float, alpha: float, beta: float, gamma: float = 0.0,
    slices: int = 1,
) -> float:  # fmt: skip
    """Steps per second of all workers together that no parameter server with servers of its own can exceed.

    The least of: workers that never wait for each other, Σ 1/(Cᵢ + 2α + (1 + 1/(ks))nβ + nγ/(ks)), Cᵢ being the
    seconds that worker i computes in a step; the servers' ports, k/(nβ); and their processors, k/(nγ).
    """
    _check(len(compute), servers, nbytes, alpha, beta, gamma, slices)
    part = nbytes / (servers * slices)
    alone = 2 * alpha + nbytes * beta + part * (beta + gamma)
    free = sum(_inverse(seconds + alone) for seconds in compute)
    return min(free, servers * _inverse(nbytes * beta), servers * _inverse(nbytes * gamma))


def crossover_straggler(workers: int, compute: float, synchronous: float, asynchronous: float) -> float:
    """How many times slower one worker must be before workers that do not wait do more steps than those in lockstep.

    ``compute``: seconds that the others compute in a step. ``synchronous`` and ``asynchronous``: seconds that a step's
    communication takes in each. In lockstep all take fC + S, so w/(fC + S) steps per second; without waiting
    (w-1)/(C + A) + 1/(fC + A). 1 if they never need a straggler; infinity for a single worker that is slower.
    """
    if workers < 1 or not compute > 0 or synchronous < 0 or asynchronous < 0:
        raise ValueError(
            "there must be at least one worker, compute above 0 s and communication of at least 0 s, got "
            f"{workers}, {compute}, {synchronous} and {asynchronous}"
        )
    others = (workers - 1) / (compute + asynchronous)
    if workers / (compute + synchronous) <= others + 1 / (compute + asynchronous):
        return 1.0
    if not others:
        return math.inf
    # w/(x + S) = others + 1/(x + A) for the straggler's seconds x, as a x² + b x + c = 0 with a = others.
    b = others * (synchronous + asynchronous) + 1 - workers
    c = others * asynchronous * synchronous + synchronous - workers * asynchronous
    return (-b + math.sqrt(b * b - 4 * others * c)) / (2 * others) / compute


def _inverse(seconds: float) -> float:
    return 1 / seconds if seconds else math.inf


def _check(workers: int, servers: int, nbytes: float, alpha: float, beta: float, gamma: float, slices: int) -> None:
    if min(workers, servers, slices) < 1:
        raise ValueError(
            f"there must be at least one worker, one server and one slice, got {workers}, {servers} and {slices}"
        )
    for name, value in (("nbytes", nbytes), ("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and at least 0, got {value}")
