"""Elements at random places, which both ends find from the counter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.compress.philox import HALF, LOW
from kernels.cpu.compiled import compiled
from kernels.cpu.philox import eight

if TYPE_CHECKING:
    from kernels.compress.randomk import RandomK

__all__ = ["decode", "decode_add", "encode", "encode_feedback", "places", "reduce"]

Floats = NDArray[np.float32]
Wire = NDArray[np.uint8]

_ZERO = np.float32(0)
_TURN = 32
"""Places that are drawn at once."""

inlined = cast("Any", njit)


def encode(values: Floats, wire: Wire, encoding: RandomK, counter: int) -> None:
    """The values at the counter's places, and the counter."""
    if len(values):
        chosen, end = _parts(wire)
        end[:] = np.array([counter], np.uint64).view(np.uint8)
        _take(values, _drawn(wire, values, encoding), chosen, encoding.unbiased)


def decode(wire: Wire, values: Floats, encoding: RandomK) -> None:
    """Zeros, but for what was chosen."""
    if len(values):
        values.fill(0)
        _put(_parts(wire)[0], _drawn(wire, values, encoding), values)


def decode_add(wire: Wire, values: Floats, encoding: RandomK) -> None:
    """Add what was chosen; nothing else is touched."""
    if len(values):
        _add(_parts(wire)[0], _drawn(wire, values, encoding), values)


def encode_feedback(values: Floats, wire: Wire, residual: Floats, encoding: RandomK, counter: int) -> None:
    """Encode with error feedback; see ``Encoding``."""
    if len(values):
        _sum(values, residual)
        encode(residual, wire, encoding, counter)
        _settle(_parts(wire)[0], _drawn(wire, values, encoding), values, residual)


def reduce(left: Wire, right: Wire, out: Wire, count: int, encoding: RandomK, counter: int) -> None:
    """Add values at the same places; ValueError where the places differ."""
    if not count:
        return
    (mine, first), (other, second), (sums, end) = _parts(left), _parts(right), _parts(out)
    if bytes(first) != bytes(second):
        raise ValueError("randomk: the two messages were encoded with different counters, so their places differ")
    end[:] = first
    _combine(mine, other, sums)


def places(counter: int, count: int, encoding: RandomK) -> NDArray[np.int64]:
    """Where the chosen elements are, ascending."""
    chosen = np.empty(encoding.kept(count), np.int64)
    _draw(chosen, count, np.empty(_TURN // 2, np.uint64), np.uint64(counter), np.uint64(encoding.seed))
    return chosen


def _parts(wire: Wire) -> tuple[Floats, Wire]:
    """Values, and the bytes of the counter."""
    return wire[:-8].view(np.float32), wire[-8:]


def _drawn(wire: Wire, values: Floats, encoding: RandomK) -> NDArray[np.int64]:
    return places(int.from_bytes(bytes(wire[-8:]), "little"), len(values), encoding)


@compiled
def _draw(chosen: Any, count: int, words: Any, counter: Any, key: Any) -> None:
    for start in range(0, len(chosen), _TURN):
        eight(words, 0, np.uint64(start // 4), counter, key)
        for i in range(start, min(start + _TURN, len(chosen))):
            low, high = _run(i, count, len(chosen))
            both = words[(i - start) // 2]
            word = both >> HALF if i % 2 else both & LOW
            chosen[i] = low + np.int64(word * np.uint64(high - low) >> HALF)


@inlined
def _run(i: int, count: int, kept: int) -> tuple[int, int]:
    """The elements that the i-th is chosen from."""
    return i * count // kept, (i + 1) * count // kept


@compiled
def _take(values: Any, chosen: Any, wire: Any, unbiased: bool) -> None:
    for i in range(len(chosen)):
        low, high = _run(i, len(values), len(chosen))
        wire[i] = values[chosen[i]] * np.float32(high - low if unbiased else 1)


@compiled
def _put(wire: Any, chosen: Any, values: Any) -> None:
    for i in range(len(chosen)):
        values[chosen[i]] = wire[i]


@compiled
def _add(wire: Any, chosen: Any, values: Any) -> None:
    for i in range(len(chosen)):
        values[chosen[i]] += wire[i]


@compiled
def _sum(values: Any, residual: Any) -> None:
    """``residual += values``, and zeros for values."""
    for i in range(len(values)):
        residual[i] += values[i]
        values[i] = _ZERO


@compiled
def _settle(wire: Any, chosen: Any, values: Any, residual: Any) -> None:
    for i in range(len(chosen)):
        values[chosen[i]] = wire[i]
        rest = residual[chosen[i]] - wire[i]
        residual[chosen[i]] = rest if rest - rest == _ZERO else _ZERO


@compiled
def _combine(left: Any, right: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = left[i] + right[i]
