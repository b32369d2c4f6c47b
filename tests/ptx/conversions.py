"""``cvt``: from each type to each, rounded and saturated as it says. Source: PTX ISA 9.0, section 9.7.9.22."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.ptx.floats import finished, flushed
from tests.ptx.operands import KINDS, Kind, Opcode, Step, sink, source
from tests.ptx.rounding import narrowed
from tests.ptx.syntax import Operand, Vector
from tests.ptx.threads import Array, Threads

__all__ = ["CONVERSIONS"]

Operands = tuple[Operand, ...]
WHOLE: dict[str, Callable[[Array], Array]] = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def convert(opcode: Opcode, operands: Operands) -> Step:
    """One value, or two that one register packs (the first operand goes into the upper half)."""
    into, origin = opcode.kind(2)
    function = _function(opcode, KINDS[into], KINDS[origin])
    if KINDS[into].packed == 2 and KINDS[origin].packed == 1:
        return _packed(operands, into, origin, function)
    write, read = sink(operands[0], into), source(operands[1], origin)
    return lambda threads: write(threads, function(read(threads)))


def _packed(operands: Operands, into: str, origin: str, function: Callable[[Array], Array]) -> Step:
    write = sink(operands[0], into)
    upper, lower = source(operands[1], origin), source(operands[2], origin)

    def step(threads: Threads) -> None:
        both = [function(read(threads)) for read in (lower, upper)]
        write(threads, np.stack(np.broadcast_arrays(*both), axis=1))

    return step


def _function(opcode: Opcode, into: Kind, origin: Kind) -> Callable[[Array], Array]:
    mode = opcode.take("rn", "rz", "rm", "rp", "rna", "rni", "rzi", "rmi", "rpi")
    if mode == "rna":
        opcode.unknown()
    to_float, from_float = into.dtype.kind not in "iu", origin.dtype.kind not in "iu"
    if not from_float and not to_float:
        saturates = bool(opcode.take("sat"))
        return lambda value: _integer(value, into.dtype, saturates=saturates)
    if from_float and not to_float:
        opcode.take("sat")  # it saturates in any case
        before = flushed if opcode.take("ftz") else np.asarray
        return lambda value: _whole(WHOLE[mode](before(value).astype(np.float64)), value, into.dtype)
    return finished(opcode, _to_float(mode, into.dtype, from_float=from_float))


def _to_float(mode: str, dtype: np.dtype, *, from_float: bool) -> Callable[[Array], Array]:
    if mode in WHOLE:
        return lambda value: WHOLE[mode](value.astype(np.float64)).astype(dtype)
    if not from_float:
        if dtype.itemsize < 4 or mode != "rn":
            return lambda value: _from_integer(value, dtype, mode)
        return lambda value: value.astype(dtype)  # the processor rounds to nearest even, once
    return lambda value: narrowed(value.astype(np.float64), dtype, mode or "rn")


def _from_integer(value: Array, dtype: np.dtype, mode: str) -> Array:
    """Whole numbers of up to 32 bits, which float64 holds; longer ones only where float64 holds them too."""
    wide = value.astype(np.float64)
    if value.itemsize == 8 and (wide.astype(value.dtype) != value).any():
        raise NotImplementedError(f"cvt.{mode} of 64-bit whole numbers beyond 2**53 to {dtype}")
    return narrowed(wide, dtype, mode)


def _integer(value: Array, dtype: np.dtype, *, saturates: bool) -> Array:
    if not saturates:
        return value.astype(dtype)
    limits, own = np.iinfo(dtype), np.iinfo(value.dtype)
    return value.clip(max(limits.min, own.min), min(limits.max, own.max)).astype(dtype)


def _whole(rounded: Array, value: Array, dtype: np.dtype) -> Array:
    """A rounded float as a whole number; what is too large becomes the largest there is."""
    limits = np.iinfo(dtype)
    above, below = rounded >= float(limits.max), rounded <= float(limits.min)
    inside = np.where(above | below | np.isnan(rounded), 0.0, rounded).astype(dtype)
    result = np.where(above, limits.max, np.where(below, limits.min, inside)).astype(dtype)
    # PTX: zero, but where 64 bits are involved the highest bit alone
    if max(dtype.itemsize, value.itemsize) == 8:
        of_nan = np.array([1 << 8 * dtype.itemsize - 1], f"u{dtype.itemsize}").view(dtype)
    else:
        of_nan = np.zeros(1, dtype)
    return np.where(np.isnan(value), of_nan, result)


def move(opcode: Opcode, operands: Operands) -> Step:
    """``mov``, which also packs several registers into one (the first lowest) and unpacks one into several."""
    (kind,) = opcode.kind()
    target, origin = operands
    if isinstance(target, Vector):
        return _unpack(target, origin, kind)
    if isinstance(origin, Vector):
        return _pack(target, origin, kind)
    write, read = sink(target, kind), source(origin, kind)
    return lambda threads: write(threads, read(threads))


def _unpack(target: Vector, origin: Operand, kind: str) -> Step:
    part = f"b{8 * KINDS[kind].dtype.itemsize // len(target.parts)}"
    dtype = KINDS[part].dtype
    writes, read = [sink(operand, part) for operand in target.parts], source(origin, kind)

    def step(threads: Threads) -> None:
        columns = np.ascontiguousarray(read(threads)).view(dtype).reshape(-1, len(writes))
        for write, column in zip(writes, columns.T, strict=True):
            write(threads, column)

    return step


def _pack(target: Operand, origin: Vector, kind: str) -> Step:
    part = f"b{8 * KINDS[kind].dtype.itemsize // len(origin.parts)}"
    dtype = KINDS[kind].dtype
    write, reads = sink(target, kind), [source(operand, part) for operand in origin.parts]

    def step(threads: Threads) -> None:
        columns = np.stack(np.broadcast_arrays(*[read(threads) for read in reads]), axis=1)
        write(threads, np.ascontiguousarray(columns).view(dtype)[:, 0])

    return step


CONVERSIONS: dict[str, Callable[[Opcode, Operands], Step]] = {"cvt": convert, "mov": move}
