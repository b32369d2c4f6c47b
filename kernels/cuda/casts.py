"""float16 and bfloat16 messages on a CUDA device, two conversions an instruction. Not yet run on hardware.

A thread takes eight elements at a time, 32 bytes of float32 by two loads and 16 of halves by one; twice as many where
only halves are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kernels.cuda import halves
from kernels.cuda.kernel import Kernel
from kernels.cuda.patterns import on_device
from kernels.cuda.sweep import launch, sweeping
from kernels.cuda.vector import WIDTH, lanes
from kernels.device_array import DeviceArray

if TYPE_CHECKING:
    from kernels.compress.casts import Cast

__all__ = ["decode", "decode_add", "encode", "encode_feedback", "every", "reduce"]

_FLOATS, _HALVES, _PAIRS = lanes("float32"), lanes("uint16"), lanes("uint32")
_load, _store, _one, _put = _FLOATS.load, _FLOATS.store, _FLOATS.one, _FLOATS.put
_half, _put_half = _HALVES.one, _HALVES.put
_load_pairs, _store_pairs = _PAIRS.load, _PAIRS.store

_EACH = 8
_ZERO = np.float32(0)


def encode(values: DeviceArray, wire: DeviceArray, encoding: Cast, counter: int) -> None:
    """``wire = values``, rounded."""
    launch(_encoder(encoding.kind), [(values, 4), (wire, 2)], values.size, _EACH)


def decode(wire: DeviceArray, values: DeviceArray, encoding: Cast) -> None:
    """``values = wire``."""
    launch(_decoder(encoding.kind, False), [(values, 4), (wire, 2)], values.size, 2 * _EACH)


def decode_add(wire: DeviceArray, values: DeviceArray, encoding: Cast) -> None:
    """``values += wire``."""
    launch(_decoder(encoding.kind, True), [(values, 4), (wire, 2)], values.size, 2 * _EACH)


def encode_feedback(
    values: DeviceArray, wire: DeviceArray, residual: DeviceArray, encoding: Cast, counter: int
) -> None:  # fmt: skip
    """Encode with error feedback; see ``Encoding``."""
    launch(_feedback(encoding.kind), [(values, 4), (wire, 2), (residual, 4)], values.size, _EACH)


def reduce(
    left: DeviceArray, right: DeviceArray, out: DeviceArray, count: int, encoding: Cast, counter: int
) -> None:  # fmt: skip
    """``out = left + right``, rounded once."""
    launch(_reducer(encoding.kind), [(out, 2), (left, 2), (right, 2)], count, _EACH)


def every() -> Iterator[Kernel]:
    """All of one kind, and of the other what converts."""
    yield from (_encoder("float16"), _decoder("float16", False), _feedback("float16"), _reducer("float16"))
    yield from (_encoder("bfloat16"), _decoder("bfloat16", True))


@cache
def _encoder(kind: str) -> Kernel:
    narrow, narrow2 = getattr(halves, f"float32_to_{kind}"), getattr(halves, f"float32_to_{kind}x2")

    @on_device
    def single(places: Any, count: int, i: int) -> None:
        _put_half(places[1] + 2 * i, narrow(_one(places[0] + 4 * i)))

    @on_device
    def group(places: Any, count: int, i: int) -> None:
        a, b = _load(places[0] + 4 * i), _load(places[0] + 4 * i + WIDTH)
        pairs = narrow2(a[0], a[1]), narrow2(a[2], a[3]), narrow2(b[0], b[1]), narrow2(b[2], b[3])
        _store_pairs(places[1] + 2 * i, pairs)

    return sweeping(f"encode_{kind}", single, group, _EACH)


@cache
def _decoder(kind: str, add: bool) -> Kernel:
    widen, widen2 = getattr(halves, f"{kind}_to_float32"), getattr(halves, f"{kind}x2_to_float32")

    @on_device
    def single(places: Any, count: int, i: int) -> None:
        value, place = widen(_half(places[1] + 2 * i)), places[0] + 4 * i
        _put(place, _one(place) + value if add else value)

    @on_device
    def half(place: int, first: Any, second: Any) -> None:
        (a, b), (c, d) = widen2(first), widen2(second)
        if add:
            old = _load(place)
            _store(place, (old[0] + a, old[1] + b, old[2] + c, old[3] + d))
        else:
            _store(place, (a, b, c, d))

    @on_device
    def group(places: Any, count: int, i: int) -> None:
        pairs, more = _load_pairs(places[1] + 2 * i), _load_pairs(places[1] + 2 * i + WIDTH)
        half(places[0] + 4 * i, pairs[0], pairs[1])
        half(places[0] + 4 * i + WIDTH, pairs[2], pairs[3])
        half(places[0] + 4 * i + 2 * WIDTH, more[0], more[1])
        half(places[0] + 4 * i + 3 * WIDTH, more[2], more[3])

    return sweeping(f"decode_{kind}{'_add' if add else ''}", single, group, 2 * _EACH)


@cache
def _feedback(kind: str) -> Kernel:
    widen, narrow = getattr(halves, f"{kind}_to_float32"), getattr(halves, f"float32_to_{kind}")
    widen2, narrow2 = getattr(halves, f"{kind}x2_to_float32"), getattr(halves, f"float32_to_{kind}x2")

    @on_device
    def rest(wanted: Any, decoded: Any) -> Any:
        less = wanted - decoded
        return less if less - less == _ZERO else _ZERO

    @on_device
    def single(places: Any, count: int, i: int) -> None:
        wanted = _one(places[0] + 4 * i) + _one(places[2] + 4 * i)
        bits = narrow(wanted)
        decoded = widen(bits)
        _put_half(places[1] + 2 * i, bits)
        _put(places[0] + 4 * i, decoded)
        _put(places[2] + 4 * i, rest(wanted, decoded))

    @on_device
    def half(value: Any, old: Any, place: int, residual: int) -> Any:
        x, y, z, w = value[0] + old[0], value[1] + old[1], value[2] + old[2], value[3] + old[3]
        first, second = narrow2(x, y), narrow2(z, w)
        (a, b), (c, d) = widen2(first), widen2(second)
        _store(place, (a, b, c, d))
        _store(residual, (rest(x, a), rest(y, b), rest(z, c), rest(w, d)))
        return first, second

    @on_device
    def group(places: Any, count: int, i: int) -> None:
        place, residual = places[0] + 4 * i, places[2] + 4 * i
        a, b, old, older = _load(place), _load(place + WIDTH), _load(residual), _load(residual + WIDTH)
        first, second = half(a, old, place, residual)
        third, fourth = half(b, older, place + WIDTH, residual + WIDTH)
        _store_pairs(places[1] + 2 * i, (first, second, third, fourth))

    return sweeping(f"feedback_{kind}", single, group, _EACH)


@cache
def _reducer(kind: str) -> Kernel:
    widen, narrow = getattr(halves, f"{kind}_to_float32"), getattr(halves, f"float32_to_{kind}")
    widen2, narrow2 = getattr(halves, f"{kind}x2_to_float32"), getattr(halves, f"float32_to_{kind}x2")

    @on_device
    def single(places: Any, count: int, i: int) -> None:
        _put_half(places[0] + 2 * i, narrow(widen(_half(places[1] + 2 * i)) + widen(_half(places[2] + 2 * i))))

    @on_device
    def pair(left: Any, right: Any) -> Any:
        (a, b), (c, d) = widen2(left), widen2(right)
        return narrow2(a + c, b + d)

    @on_device
    def group(places: Any, count: int, i: int) -> None:
        a, b = _load_pairs(places[1] + 2 * i), _load_pairs(places[2] + 2 * i)
        _store_pairs(places[0] + 2 * i, (pair(a[0], b[0]), pair(a[1], b[1]), pair(a[2], b[2]), pair(a[3], b[3])))

    return sweeping(f"reduce_{kind}", single, group, _EACH)
