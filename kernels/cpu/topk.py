"""The largest magnitudes: patterns of float32 are counted by their leading bits until one threshold is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.cpu.bits import MAGNITUDE, bits_of
from kernels.cpu.compiled import compiled
from kernels.cpu.masks import LANES, at_least

if TYPE_CHECKING:
    from kernels.compress.topk import TopK

__all__ = ["decode", "decode_add", "encode", "encode_feedback"]

Floats = NDArray[np.float32]
Wire = NDArray[np.uint8]

_ZERO = np.float32(0)
_BINS, _COPIES = 2048, 4
"""Bins of the first count; in copies that take turns, for neighbours are alike and one counter would be waited for."""

inlined = cast("Any", njit)


def encode(values: Floats, wire: Wire, encoding: TopK, counter: int) -> None:
    """Places and values of the largest magnitudes."""
    if len(values):
        kept = encoding.kept(len(values))
        counts = np.zeros((_COPIES, _BINS), np.int64)
        _count(values, counts)
        _select(values, kept, counts, *_parts(wire))


def decode(wire: Wire, values: Floats, encoding: TopK) -> None:
    """Zeros, but for what was kept."""
    values.fill(0)
    _checked(_put(*_parts(wire), values))


def decode_add(wire: Wire, values: Floats, encoding: TopK) -> None:
    """Add what was kept; nothing else is touched."""
    _checked(_add(*_parts(wire), values))


def encode_feedback(values: Floats, wire: Wire, residual: Floats, encoding: TopK, counter: int) -> None:
    """Encode with error feedback; see ``Encoding``. What is kept leaves the residual altogether."""
    if len(values):
        kept = encoding.kept(len(values))
        counts = np.zeros((_COPIES, _BINS), np.int64)
        _sum(values, residual, counts)
        _select(residual, kept, counts, *_parts(wire))
        _move(_parts(wire)[0], residual, values)


def _parts(wire: Wire) -> tuple[NDArray[np.int32], Floats]:
    """Places and values."""
    half = len(wire) // 2
    return wire[:half].view(np.int32), wire[half:].view(np.float32)


def _checked(whole: bool) -> None:
    if not whole:
        raise ValueError("the wire names elements that are not there: it was not encoded from so many, or is damaged")


@compiled
def _count(values: Any, counts: Any) -> None:
    """How many magnitudes begin with each eleven bits."""
    for i in range(len(values)):
        counts[i % _COPIES, (bits_of(values[i]) & MAGNITUDE) >> np.uint32(20)] += 1


@compiled
def _sum(values: Any, residual: Any, counts: Any) -> None:
    """``residual += values``, and the same count of that; ``values`` = 0."""
    for i in range(len(values)):
        residual[i] += values[i]
        values[i] = _ZERO
        counts[i % _COPIES, (bits_of(residual[i]) & MAGNITUDE) >> np.uint32(20)] += 1


@compiled
def _select(values: Any, kept: int, counts: Any, places: Any, chosen: Any) -> None:
    """Find the least magnitude that is kept, and how often; write places and values."""
    total = counts[0]
    for i in range(len(total)):
        for copy in range(1, _COPIES):
            total[i] += counts[copy, i]
    threshold, left = _descend(total, _BINS, kept)
    for shift in (10, 0):
        _refine(values, np.uint32(threshold << (shift + 10)), np.uint32(shift), total)
        digit, left = _descend(total, 1024, left)
        threshold = threshold << 10 | digit
    _gather(values, np.uint32(threshold), left, places, chosen)


@inlined
def _descend(counts: Any, bins: int, wanted: int) -> tuple[int, int]:
    """The bin in which the ``wanted``-th lies, counted from the top, and which of that bin it is."""
    left = wanted
    for number in range(bins - 1, -1, -1):
        if left <= counts[number]:
            return number, left
        left -= counts[number]
    return 0, left


@inlined
def _refine(values: Any, prefix: Any, shift: Any, counts: Any) -> None:
    """Count the ten bits from ``shift`` on, of magnitudes that begin like ``prefix``."""
    counts[:1024] = 0
    whole, above = len(values) // LANES * LANES, shift + np.uint32(10)
    for start in range(0, whole, LANES):
        if at_least(values, start, prefix):
            for i in range(start, start + LANES):
                _tally(values[i], prefix, shift, above, counts)
    for i in range(whole, len(values)):
        _tally(values[i], prefix, shift, above, counts)


@inlined
def _tally(value: Any, prefix: Any, shift: Any, above: Any, counts: Any) -> None:
    bits = np.uint32(bits_of(value) & MAGNITUDE)
    if bits >> above == prefix >> above:
        counts[bits >> shift & np.uint32(1023)] += 1


@inlined
def _gather(values: Any, threshold: Any, ties: int, places: Any, chosen: Any) -> None:
    """Write what is above the threshold, and of what is equal to it the first ``ties``."""
    at, whole = 0, len(values) // LANES * LANES
    for start in range(0, len(values), LANES):
        if start >= whole or at_least(values, start, threshold):
            for i in range(start, min(start + LANES, len(values))):
                bits = np.uint32(bits_of(values[i]) & MAGNITUDE)
                if bits > threshold or (bits == threshold and ties > 0):
                    ties -= bits == threshold
                    places[at], chosen[at] = i, values[i]
                    at += 1


@compiled
def _put(places: Any, chosen: Any, values: Any) -> bool:
    for i in range(len(places)):
        if not 0 <= places[i] < len(values):
            return False
        values[places[i]] = chosen[i]
    return True


@compiled
def _add(places: Any, chosen: Any, values: Any) -> bool:
    for i in range(len(places)):
        if not 0 <= places[i] < len(values):
            return False
        values[places[i]] += chosen[i]
    return True


@compiled
def _move(places: Any, residual: Any, values: Any) -> None:
    for i in range(len(places)):
        values[places[i]] = residual[places[i]]
        residual[places[i]] = _ZERO
