"""Arithmetic on whole numbers, which wraps. Source: PTX ISA 9.0, sections 9.7.1 and 9.7.2."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.ptx.faults import Fault
from tests.ptx.operands import KINDS, Opcode, Step, elementwise, sink, source
from tests.ptx.syntax import Operand
from tests.ptx.threads import Array, Threads

__all__ = ["INTEGERS", "is_integer"]

Operands = tuple[Operand, ...]


def is_integer(kind: str) -> bool:
    """Whether the type is one of whole numbers, packed or not."""
    return KINDS[kind].dtype.kind in "iu"


def high(left: Array, right: Array) -> Array:
    """The upper half of the product."""
    size = left.itemsize
    if size < 8:
        wide = np.dtype(f"{left.dtype.kind}{2 * size}")
        return (left.astype(wide) * right.astype(wide) >> wide.type(8 * size)).astype(left.dtype)
    a, b = left.view(np.uint64), right.view(np.uint64)
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    low = (a & mask) * (b & mask)
    middle = (a >> half) * (b & mask) + (low >> half)
    other = (a & mask) * (b >> half) + (middle & mask)
    product = (a >> half) * (b >> half) + (middle >> half) + (other >> half)
    if left.dtype.kind == "i":
        # two's complement: each negative factor has added the other one too often
        product = product - np.where(left < 0, b, np.uint64(0)) - np.where(right < 0, a, np.uint64(0))
    return product.view(left.dtype)


def divided(left: Array, right: Array) -> Array:
    """The quotient, rounded towards zero."""
    quotient = left // right
    rest = left - quotient * right
    return quotient + ((rest != 0) & ((left < 0) != (right < 0))).astype(left.dtype)


def add(opcode: Opcode, operands: Operands) -> Step:
    """``add`` and ``sub``, with ``.sat`` for s32 and ``.cc`` that leaves a carry; ``addc`` and ``subc`` take it."""
    (kind,) = opcode.kind()
    leaves, clamps = opcode.take("cc"), opcode.take("sat")
    if opcode.name in ("addc", "subc") or leaves:
        return _with_carry(opcode.name, operands, kind, leaves=bool(leaves))
    plain = np.add if opcode.name == "add" else np.subtract
    return elementwise(operands, kind, _clamped(plain) if clamps else plain)


def _clamped(plain: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    limits = np.iinfo(np.int32)
    return lambda a, b: plain(a.astype(np.int64), b.astype(np.int64)).clip(limits.min, limits.max).astype(np.int32)


def _with_carry(name: str, operands: Operands, kind: str, *, leaves: bool) -> Step:
    dtype = np.dtype(f"u{KINDS[kind].dtype.itemsize}")
    write, read_left, read_right = sink(operands[0], kind), source(operands[1], kind), source(operands[2], kind)

    def step(threads: Threads) -> None:
        left, right = read_left(threads).view(dtype), read_right(threads).view(dtype)
        flag = threads.carry[threads.active] & name.endswith("c")
        first = left + right if name.startswith("add") else left - right
        result = first + flag if name.startswith("add") else first - flag
        if leaves:
            out = (first < left) | (result < first) if name.startswith("add") else (left < right) | (first < flag)
            threads.carry[threads.active] = out
        write(threads, result)

    return step


def multiply(opcode: Opcode, operands: Operands) -> Step:
    """``mul`` and ``mad`` with ``.lo``, ``.hi`` or ``.wide``."""
    (kind,) = opcode.kind()
    part = opcode.need("lo", "hi", "wide")
    into = f"{kind[0]}{2 * int(kind[1:])}" if part == "wide" else kind
    dtype = KINDS[into].dtype
    write, sources = sink(operands[0], into), [source(operand, kind) for operand in operands[1:3]]
    addend = source(operands[3], into) if opcode.name == "mad" else None

    def step(threads: Threads) -> None:
        left, right = (read(threads) for read in sources)
        product = high(left, right) if part == "hi" else left.astype(dtype) * right.astype(dtype)
        write(threads, product + addend(threads) if addend else product)

    return step


def divide(opcode: Opcode, operands: Operands) -> Step:
    """``div`` and ``rem``; the GPU leaves a division by zero undefined, here it is a Fault."""
    (kind,) = opcode.kind()
    name = opcode.name

    def function(left: Array, right: Array) -> Array:
        if not right.all():
            raise Fault("divides a whole number by zero")
        quotient = divided(left, right)
        return quotient if name == "div" else left - quotient * right

    return elementwise(operands, kind, function)


def unary(opcode: Opcode, operands: Operands) -> Step:
    """``abs`` and ``neg``."""
    (kind,) = opcode.kind()
    return elementwise(operands, kind, np.abs if opcode.name == "abs" else np.negative)


def extremum(opcode: Opcode, operands: Operands) -> Step:
    """``min`` and ``max``."""
    (kind,) = opcode.kind()
    return elementwise(operands, kind, np.minimum if opcode.name == "min" else np.maximum)


def absolute_difference(opcode: Opcode, operands: Operands) -> Step:
    """``sad``: |a - b| + c."""
    (kind,) = opcode.kind()
    return elementwise(operands, kind, lambda a, b, c: np.maximum(a, b) - np.minimum(a, b) + c)


INTEGERS: dict[str, Callable[[Opcode, Operands], Step]] = {
    "add": add, "sub": add, "addc": add, "subc": add, "mul": multiply, "mad": multiply, "div": divide, "rem": divide,
    "abs": unary, "neg": unary, "min": extremum, "max": extremum, "sad": absolute_difference,
}  # fmt: skip
