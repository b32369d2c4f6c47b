"""int8 by block: first the block's largest magnitude, then its codes, while it is in the first cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.compress.int8 import TINY
from kernels.cpu.bits import INFINITY, MAGNITUDE, bits_of, float_of, get32, put32
from kernels.cpu.compiled import compiled
from kernels.cpu.philox import eight

if TYPE_CHECKING:
    from kernels.compress.int8 import Int8

__all__ = ["decode", "decode_add", "encode", "encode_feedback", "reduce"]

Floats = NDArray[np.float32]
Wire = NDArray[np.uint8]

_ZERO, _ONE, _TOP, _NAN = np.float32(0), np.float32(1), np.float32(127), np.float32(np.nan)
_UNIT = np.float32(65536)
"""Of a step, as stochastic rounding counts: as many as its random numbers have values."""
_PART = _ONE / _UNIT
_LEAST = np.float32(TINY)

inlined = cast("Any", njit)


def encode(values: Floats, wire: Wire, encoding: Int8, counter: int) -> None:
    """Codes and scales of ``values``."""
    _encode(values, *_parts(wire, len(values)), encoding.block, *_chance(encoding, counter))


def decode(wire: Wire, values: Floats, encoding: Int8) -> None:
    """``values = code * scale``."""
    _decode(*_parts(wire, len(values)), values, encoding.block)


def decode_add(wire: Wire, values: Floats, encoding: Int8) -> None:
    """``values += code * scale``."""
    _decode_add(*_parts(wire, len(values)), values, encoding.block)


def encode_feedback(values: Floats, wire: Wire, residual: Floats, encoding: Int8, counter: int) -> None:
    """Encode with error feedback; see ``Encoding``."""
    _encode_feedback(values, *_parts(wire, len(values)), residual, encoding.block, *_chance(encoding, counter))


def reduce(left: Wire, right: Wire, out: Wire, count: int, encoding: Int8, counter: int) -> None:
    """Decode, add, encode; the sums of one block stay in ``room``."""
    room = np.empty(encoding.block, np.float32)
    mine, other, sums = _parts(left, count), _parts(right, count), _parts(out, count)
    _reduce(*mine, *other, *sums, room, encoding.block, *_chance(encoding, counter))


def _parts(wire: Wire, count: int) -> tuple[NDArray[np.int8], Wire]:
    """The codes, and the bytes of the scales, which may begin at any address."""
    return wire[:count].view(np.int8), wire[count:]


def _chance(encoding: Int8, counter: int) -> tuple[NDArray[np.uint64], NDArray[np.uint16], np.uint64, np.uint64]:
    """Room for a block's random bits (none: round to nearest), as words and as halves, and counter and key."""
    words = np.empty(encoding.block // 4 if encoding.rounding == "stochastic" else 0, np.uint64)
    return words, words.view(np.uint16), np.uint64(counter), np.uint64(encoding.seed)


@compiled
def _encode(
    values: Any, codes: Any, scales: Any, block: int, words: Any, chances: Any, counter: Any, key: Any
) -> None:  # fmt: skip
    for number in range((len(values) + block - 1) // block):
        part = slice(number * block, min((number + 1) * block, len(values)))
        inverse, _ = _scale(values[part], scales, number)
        _chances(words, number * block, counter, key)
        _code(values[part], codes[part], inverse, chances)


@compiled
def _encode_feedback(
    values: Any, codes: Any, scales: Any, residual: Any, block: int, words: Any, chances: Any, counter: Any, key: Any
) -> None:  # fmt: skip
    for number in range((len(values) + block - 1) // block):
        part = slice(number * block, min((number + 1) * block, len(values)))
        wanted, decoded = residual[part], values[part]
        for i in range(len(wanted)):
            wanted[i] += decoded[i]
        inverse, scale = _scale(wanted, scales, number)
        _chances(words, number * block, counter, key)
        _code(wanted, codes[part], inverse, chances)
        _settle(wanted, codes[part], scale, decoded)


@compiled
def _reduce(
    left: Any, left_scales: Any, right: Any, right_scales: Any, out: Any, scales: Any, room: Any, block: int,
    words: Any, chances: Any, counter: Any, key: Any,
) -> None:  # fmt: skip
    for number in range((len(out) + block - 1) // block):
        part = slice(number * block, min((number + 1) * block, len(out)))
        mine, other = float_of(get32(left_scales, number * 4)), float_of(get32(right_scales, number * 4))
        sums = room[: part.stop - part.start]
        _add(left[part], mine, right[part], other, sums)
        inverse, _ = _scale(sums, scales, number)
        _chances(words, number * block, counter, key)
        _code(sums, out[part], inverse, chances)


@compiled
def _decode(codes: Any, scales: Any, values: Any, block: int) -> None:
    for number in range((len(values) + block - 1) // block):
        part = slice(number * block, min((number + 1) * block, len(values)))
        scale, given, made = float_of(get32(scales, number * 4)), codes[part], values[part]
        for i in range(len(made)):
            made[i] = np.float32(given[i]) * scale


@compiled
def _decode_add(codes: Any, scales: Any, values: Any, block: int) -> None:
    for number in range((len(values) + block - 1) // block):
        part = slice(number * block, min((number + 1) * block, len(values)))
        scale, given, made = float_of(get32(scales, number * 4)), codes[part], values[part]
        for i in range(len(made)):
            made[i] += np.float32(given[i]) * scale


@inlined
def _add(left: Any, mine: Any, right: Any, other: Any, sums: Any) -> None:
    """The sum of two decoded blocks."""
    for i in range(len(sums)):
        sums[i] = np.float32(left[i]) * mine + np.float32(right[i]) * other


@inlined
def _settle(wanted: Any, codes: Any, scale: Any, decoded: Any) -> None:
    """What error feedback leaves behind: what is decoded, and the rest of what was wanted."""
    for i in range(len(wanted)):
        decoded[i] = np.float32(codes[i]) * scale
        rest = wanted[i] - decoded[i]
        wanted[i] = rest if rest - rest == _ZERO else _ZERO


@inlined
def _scale(values: Any, scales: Any, number: int) -> tuple[Any, Any]:
    """Find and write a block's scale; the reciprocal (0 where all codes are to be 0) and the scale."""
    top = np.uint32(0)
    for i in range(len(values)):
        top = max(top, np.uint32(bits_of(values[i]) & MAGNITUDE))
    inverse, scale = _ZERO, _ZERO
    if top >= INFINITY:
        scale = _NAN
    elif float_of(top) >= _LEAST:
        scale = float_of(top) / _TOP
        inverse = _ONE / scale
    put32(scales, number * 4, bits_of(scale))
    return inverse, scale


@inlined
def _chances(words: Any, start: int, counter: Any, key: Any) -> None:
    """Random bits for a block: element i takes half i % 8 of what Philox gives for i // 8."""
    for i in range(0, len(words), 16):
        eight(words, i, np.uint64(start // 8 + i // 2), counter, key)


@inlined
def _code(values: Any, codes: Any, inverse: Any, chances: Any) -> None:
    """The codes of a block; to the nearest where there are no chances."""
    if inverse == _ZERO:
        codes[:] = 0
    elif len(chances) == 0:
        for i in range(len(codes)):
            codes[i] = np.int8(np.rint(values[i] * inverse))
    else:
        fine = inverse * _UNIT
        for i in range(len(codes)):
            steps = np.rint(values[i] * fine)  # at most 127 units of 65,536: a test goes through all magnitudes
            codes[i] = np.int8(np.floor((steps + np.float32(chances[i])) * _PART))
