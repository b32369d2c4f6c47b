"""Signs and their scale: bits and magnitudes of a tile are taken together, so memory is read once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.compress.sign import LANES, TILE
from kernels.cpu.bits import bits_of, float_of
from kernels.cpu.compiled import compiled
from kernels.cpu.masks import LANES as WIDTH
from kernels.cpu.masks import add_signed, put_signed, signs

if TYPE_CHECKING:
    from kernels.compress.sign import Sign

__all__ = ["decode", "decode_add", "encode", "encode_feedback", "majority"]

Floats = NDArray[np.float32]
Wire = NDArray[np.uint8]

_ZERO = np.float32(0)
_STEP = 512
"""Bytes of each message that are voted on together: the counters of all their bits stay in the first cache."""

inlined = cast("Any", njit)


def encode(values: Floats, wire: Wire, encoding: Sign, counter: int) -> None:
    """Signs, and the mean magnitude behind them."""
    if len(values):
        bits, scale = _parts(wire)
        _keep(scale, _encode(values, bits, *_room()) / len(values))


def decode(wire: Wire, values: Floats, encoding: Sign) -> None:
    """``values = ±scale``."""
    if len(values):
        bits, scale = _parts(wire)
        _decode(bits, _kept(scale), values)


def decode_add(wire: Wire, values: Floats, encoding: Sign) -> None:
    """``values += ±scale``."""
    if len(values):
        bits, scale = _parts(wire)
        _decode_add(bits, _kept(scale), values)


def encode_feedback(values: Floats, wire: Wire, residual: Floats, encoding: Sign, counter: int) -> None:
    """Encode with error feedback; see ``Encoding``."""
    if len(values):
        bits, scale = _parts(wire)
        _keep(scale, _encode_sum(residual, values, bits, *_room()) / len(values))
        _settle(bits, _kept(scale), values, residual)


def majority(wires: Wire, out: Wire, voters: int, count: int) -> None:
    """The vote on every bit, and the mean of the scales."""
    if not count:
        return
    rows = wires.reshape(voters, -1)
    bits, scale = _parts(out)
    counters = np.empty((voters.bit_length() + 1, _STEP), np.uint8)
    _vote(rows, bits, counters, np.empty(_STEP, np.uint8))
    total = 0.0
    for row in rows:
        total += float(_kept(_parts(row)[1]))
    _keep(scale, total / voters)


def _parts(wire: Wire) -> tuple[Wire, Wire]:
    """Bits and scale."""
    return wire[:-4], wire[-4:]


def _keep(scale: Wire, value: float) -> None:
    with np.errstate(over="ignore"):
        scale[:] = np.array([value], np.float32).view(np.uint8)


def _kept(scale: Wire) -> np.float32:
    return np.frombuffer(scale.tobytes(), np.float32)[0]


def _room() -> tuple[Floats, NDArray[np.float64]]:
    """The lanes of a tile, and of all tiles."""
    return np.empty(LANES, np.float32), np.zeros(LANES, np.float64)


@compiled
def _encode(values: Any, bits: Any, lanes: Any, totals: Any) -> Any:
    """Write the signs; the sum of the magnitudes."""
    for tile in range((len(values) + TILE - 1) // TILE):
        part = slice(tile * TILE, min((tile + 1) * TILE, len(values)))
        totals[tile % LANES] += np.float64(_magnitude(values[part], lanes))
        _signs(values[part], bits[tile * (TILE // 8) :])
    return _folded(totals)


@compiled
def _encode_sum(residual: Any, values: Any, bits: Any, lanes: Any, totals: Any) -> Any:
    """The same for ``residual += values``."""
    for tile in range((len(values) + TILE - 1) // TILE):
        part = slice(tile * TILE, min((tile + 1) * TILE, len(values)))
        wanted, more = residual[part], values[part]
        for i in range(len(wanted)):
            wanted[i] += more[i]
        totals[tile % LANES] += np.float64(_magnitude(wanted, lanes))
        _signs(wanted, bits[tile * (TILE // 8) :])
    return _folded(totals)


@inlined
def _magnitude(values: Any, lanes: Any) -> Any:
    """The sum of a tile's magnitudes, in the order that is laid down."""
    lanes[:] = _ZERO
    for start in range(0, len(values), LANES):
        row = values[start : min(start + LANES, len(values))]
        for i in range(len(row)):
            lanes[i] += abs(row[i])
    return _folded(lanes)


@inlined
def _folded(lanes: Any) -> Any:
    half = LANES // 2
    while half:
        low, high = lanes[:half], lanes[half : 2 * half]
        for i in range(len(low)):
            low[i] += high[i]
        half //= 2
    return lanes[0]


@inlined
def _signs(values: Any, bits: Any) -> None:
    whole = len(values) // WIDTH
    for i in range(whole):
        mask = signs(values, i * WIDTH)
        bits[2 * i], bits[2 * i + 1] = np.uint8(mask & 255), np.uint8(mask >> 8)
    for byte in range(2 * whole, (len(values) + 7) // 8):
        mask = np.uint32(0)
        for i in range(byte * 8, min(byte * 8 + 8, len(values))):
            mask |= np.uint32((bits_of(values[i]) >> np.uint32(31)) << np.uint32(i % 8))
        bits[byte] = np.uint8(mask)


@inlined
def _sign(bits: Any, i: int, scale: Any) -> Any:
    """One decoded element, for the tail."""
    negative = np.uint32(bits[i // 8] >> (i % 8) & 1) << np.uint32(31)
    return float_of(np.uint32(bits_of(scale) ^ negative))


@inlined
def _pair(bits: Any, i: int) -> Any:
    return np.uint16(np.uint16(bits[2 * i]) | np.uint16(bits[2 * i + 1]) << 8)


@compiled
def _decode(bits: Any, scale: Any, values: Any) -> None:
    whole = len(values) // WIDTH
    for i in range(whole):
        put_signed(values, i * WIDTH, _pair(bits, i), scale)
    for i in range(whole * WIDTH, len(values)):
        values[i] = _sign(bits, i, scale)


@compiled
def _decode_add(bits: Any, scale: Any, values: Any) -> None:
    whole = len(values) // WIDTH
    for i in range(whole):
        add_signed(values, i * WIDTH, _pair(bits, i), scale)
    for i in range(whole * WIDTH, len(values)):
        values[i] += _sign(bits, i, scale)


@compiled
def _settle(bits: Any, scale: Any, values: Any, residual: Any) -> None:
    """What is decoded, and what was wanted less that; the scale is finite only if all that was wanted is."""
    whole = len(values) // WIDTH
    for i in range(whole):
        mask = _pair(bits, i)
        put_signed(values, i * WIDTH, mask, scale)
        add_signed(residual, i * WIDTH, mask, -scale)
    for i in range(whole * WIDTH, len(values)):
        values[i] = _sign(bits, i, scale)
        residual[i] -= values[i]
    if scale - scale != _ZERO:
        residual[:] = _ZERO


@compiled
def _vote(rows: Any, out: Any, counters: Any, carry: Any) -> None:
    """Counters start so that they overflow into their last bit with the vote that makes a majority."""
    last = len(counters) - 1
    start = (1 << last) - (len(rows) // 2 + 1)
    for first in range(0, len(out), _STEP):
        stop = min(first + _STEP, len(out))
        for digit in range(len(counters)):
            counters[digit, :] = np.uint8(255 if start >> digit & 1 else 0)
        for row in range(len(rows)):
            _copy(rows[row, first:stop], carry)
            for digit in range(len(counters)):
                _advance(counters[digit], carry)
        _copy(counters[last, : stop - first], out[first:stop])


@inlined
def _copy(source: Any, target: Any) -> None:
    for i in range(len(source)):
        target[i] = source[i]


@inlined
def _advance(digit: Any, carry: Any) -> None:
    """Add a bit to each counter's digit; what is carried to the next."""
    for i in range(len(carry)):
        both = digit[i] & carry[i]
        digit[i] ^= carry[i]
        carry[i] = both
