"""Compress, combine exactly, decompress: for compressions whose messages mean the same at every rank.

Random-k draws the same places at all ranks, the factors of PowerSGD are linear in the gradient, and signs can be
counted. So what is compressed goes through an exact collective once, and nothing is encoded twice on its way. Each is
written as a generator that yields what all ranks are to do together, and goes on when that is done; who does it (real
ranks, or all in one process) it does not know.

*Feedback.* A rank keeps its vector less what it contributed to the result; so here, too, the results and what is still
owed add up to the exact sum.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from collectives.executors.encoded import Floats, Octets
from kernels.compress.powersgd import Powersgd, Shape
from kernels.compress.randomk import RandomK
from kernels.compress.sign import Sign

__all__ = ["Exchange", "Gather", "Majority", "Shared", "Sum", "exchanges", "steps"]


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """``values`` must become the sum over all ranks."""

    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Gather:
    """``every`` must become the ``mine`` of all ranks one after another."""

    mine: Octets
    every: Octets


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exact collective over ``count`` elements (for allgather of each rank) of ``itemsize`` bytes."""

    collective: str
    count: int
    itemsize: int


@dataclass(frozen=True, slots=True)
class Majority:
    """Signs by majority: each element becomes the sign that most ranks have, times the sum of their mean magnitudes.

    A vote and no sum: where ranks disagree it is off by up to the whole. Wire: a message of ``Sign`` from every rank to
    every rank. Up to 255 ranks. Source: Bernstein et al., "signSGD: Compressed optimisation for non-convex problems"
    (ICML 2018), section 4; the mean of the scales, for a step of the right length, is ours.
    """

    name: str = "sign_majority"

    def nbytes(self, count: int) -> int:
        """Bytes from one rank to another."""
        return Sign().nbytes(count)


Shared = RandomK | Powersgd | Majority


class Remembering(Protocol):
    """What these methods ask of a ``Compression``."""

    @property
    def method(self) -> object:
        """Which method it is."""
        ...

    start: Floats | None

    def owed(self, values: Floats) -> Any:
        """The residual, None without feedback."""
        ...

    def draw(self, counters: int) -> int:
        """The first of so many counters in a row that no call has used yet."""
        ...


def exchanges(method: Shared, count: int) -> tuple[Exchange, ...]:
    """What ``count`` elements take: the exact collectives, in order."""
    if isinstance(method, RandomK):
        return (Exchange("allreduce", method.kept(count), 4),)
    if isinstance(method, Majority):
        return (Exchange("allgather", method.nbytes(count), 1),)
    shape = method.shape(count)
    return tuple(Exchange("allreduce", shape.rank * length, 4) for length in (shape.rows, shape.columns))


def steps(values: Floats, size: int, compression: Remembering) -> Generator[Sum | Gather, None, None]:
    """Turn ``values`` into the sum over ``size`` ranks, or what the method, a Shared one, makes of it."""
    residual, counter, method = compression.owed(values), compression.draw(1), compression.method
    if values.size == 0:
        return _nothing()
    if isinstance(method, RandomK):
        return _random(method, values, residual, counter)
    if isinstance(method, Powersgd):
        return _low_rank(method, values, residual, counter, compression)
    return _majority(values, size, residual)


def _nothing() -> Generator[Sum | Gather, None, None]:
    yield from ()


def _random(
    method: RandomK, values: Floats, residual: Floats | None, counter: int
) -> Generator[Sum | Gather, None, None]:
    wire = np.empty(method.nbytes(values.size), np.uint8)
    if residual is None:
        method.encode(values, wire, counter=counter)
    else:
        method.encode_feedback(values, wire, residual, counter=counter)
    yield Sum(wire[: 4 * method.kept(values.size)].view(np.float32))
    method.decode(wire, values)


def _majority(values: Floats, size: int, residual: Floats | None) -> Generator[Sum | Gather, None, None]:
    sign, count = Sign(), values.size
    if residual is not None:
        values += residual
        residual[:] = values
    mine = np.empty(sign.nbytes(count), np.uint8)
    sign.encode(values, mine)
    every, winner = np.empty(size * mine.size, np.uint8), np.empty_like(mine)
    yield Gather(mine, every)
    sign.majority(every, winner, count=count)
    sign.decode(winner, values)
    if residual is not None:
        residual -= values
        _forget_what_is_not_finite(residual)
    values *= np.float32(size)


def _low_rank(
    method: Powersgd, values: Floats, residual: Floats | None, counter: int, memory: Remembering
) -> Generator[Sum | Gather, None, None]:
    shape = method.shape(values.size)
    p, q = np.empty(shape.rank * shape.rows, np.float32), _start(method, shape, memory.start, counter)
    if residual is not None:
        values += residual
    method.project(values, q, p)
    yield Sum(p)
    method.orthonormalise(p, count=shape.count)
    method.project_back(values, p, q)
    if residual is not None:
        method.expand(p, q, residual)
        np.subtract(values, residual, out=residual)
        _forget_what_is_not_finite(residual)
    yield Sum(q)
    method.expand(p, q, values)
    memory.start = q


def _start(method: Powersgd, shape: Shape, last: Floats | None, counter: int) -> Floats:
    """Q of the last call, with random columns for those that have died (a zero stays one) or were never finite."""
    fresh = np.empty(shape.rank * shape.columns, np.float32)
    method.start(fresh, count=shape.count, counter=counter)
    if last is None or last.size != fresh.size:
        return fresh
    old, new = last.reshape(shape.rank, -1), fresh.reshape(shape.rank, -1)
    alive = np.isfinite(old).all(axis=1) & old.any(axis=1)
    new[alive] = old[alive]
    return fresh


def _forget_what_is_not_finite(residual: Floats) -> None:
    """As encodings do: one bad step does not spoil the next."""
    np.copyto(residual, 0, where=~np.isfinite(residual))
