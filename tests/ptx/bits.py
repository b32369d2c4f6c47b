"""Logic, shifts and moves of bits. Source: PTX ISA 9.0, sections 9.7.1 (bfe, popc, ...) and 9.7.8 (and, shl, ...)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tests.ptx.operands import KINDS, Opcode, Step, elementwise, sink, source
from tests.ptx.syntax import Immediate, Operand
from tests.ptx.threads import Array, Threads

__all__ = ["BITS"]

Operands = tuple[Operand, ...]


def logic(opcode: Opcode, operands: Operands) -> Step:
    """``and``, ``or``, ``xor``, ``not``, of bits or predicates, and ``cnot``."""
    (kind,) = opcode.kind()
    functions = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
                 "cnot": lambda a: (a == 0).astype(a.dtype)}  # fmt: skip
    return elementwise(operands, kind, functions[opcode.name])


def shift(opcode: Opcode, operands: Operands) -> Step:
    """``shl`` and ``shr``: a shift by the width or more leaves zeros, or copies of the sign."""
    (kind,) = opcode.kind()
    width = 8 * KINDS[kind].dtype.itemsize
    write, value, amount = sink(operands[0], kind), source(operands[1], kind), source(operands[2], "u32")
    left = opcode.name == "shl"

    def step(threads: Threads) -> None:
        bits, by = value(threads), amount(threads)
        if bits.dtype.kind == "i":
            by = np.minimum(by, width - 1)
        beyond = by >= width
        by = np.where(beyond, 0, by).astype(bits.dtype)
        moved = bits << by if left else bits >> by
        write(threads, np.where(beyond, bits.dtype.type(0), moved))

    return step


def funnel(opcode: Opcode, operands: Operands) -> Step:
    """``shf``: 32 bits of a pair of registers, shifted together."""
    opcode.kind()
    left, wraps = opcode.need("l", "r") == "l", opcode.need("wrap", "clamp") == "wrap"

    def function(low: Array, upper: Array, by: Array) -> Array:
        by = (by & 31 if wraps else np.minimum(by, 32)).astype(np.uint64)
        both = upper.astype(np.uint64) << np.uint64(32) | low
        moved = (both << by) >> np.uint64(32) if left else both >> by
        return moved.astype(np.uint32)

    return elementwise(operands, "b32", function)


def extract(opcode: Opcode, operands: Operands) -> Step:
    """``bfe``: ``length`` bits from ``position`` on, extended by their sign where the type has one."""
    (kind,) = opcode.kind()
    dtype = KINDS[kind].dtype
    width = 8 * dtype.itemsize
    write, value = sink(operands[0], kind), source(operands[1], f"u{width}")
    numbers = [source(operand, "u32") for operand in operands[2:]]

    def step(threads: Threads) -> None:
        bits = value(threads)
        position, length = (read(threads).astype(np.int64) & 0xFF for read in numbers)
        end = np.minimum(position + length, width)
        taken = _below(bits, end) >> np.minimum(position, width - 1).astype(bits.dtype)
        taken = np.where((length == 0) | (position >= width), bits.dtype.type(0), taken)
        if dtype.kind == "i":
            sign = (bits >> np.clip(end - 1, 0, width - 1).astype(bits.dtype)) & bits.dtype.type(1)
            above = ~_below(~np.zeros_like(taken), np.minimum(np.maximum(end - position, 0), width))
            taken = np.where((length > 0) & (sign == 1), taken | above, taken)
        write(threads, taken.view(dtype))

    return step


def _below(bits: Array, count: Array) -> Array:
    """The lowest ``count`` bits, 0 to the width."""
    width = 8 * bits.itemsize
    mask = (bits.dtype.type(1) << np.minimum(count, width - 1).astype(bits.dtype)) - bits.dtype.type(1)
    return np.where(count >= width, bits, bits & mask)


def insert(opcode: Opcode, operands: Operands) -> Step:
    """``bfi``: the lowest ``length`` bits of the first, put into the second from ``position`` on."""
    (kind,) = opcode.kind()
    width = 8 * KINDS[kind].dtype.itemsize
    write, sources = sink(operands[0], kind), [source(operand, kind) for operand in operands[1:3]]
    numbers = [source(operand, "u32") for operand in operands[3:]]

    def step(threads: Threads) -> None:
        new, old = (read(threads) for read in sources)
        position, length = (read(threads).astype(np.int64) & 0xFF for read in numbers)
        mask = _below(~np.zeros_like(old), np.minimum(length, width))
        by = np.minimum(position, width - 1).astype(old.dtype)
        result = (old & ~(mask << by)) | ((new & mask) << by)
        write(threads, np.where(position >= width, old, result))

    return step


def leading_zeros(bits: Array) -> Array:
    """How many bits above the highest one that is set; the width for zero."""
    for distance in (1, 2, 4, 8, 16, 32):
        if distance < 8 * bits.itemsize:
            bits = bits | bits >> bits.dtype.type(distance)
    return (8 * bits.itemsize - np.bitwise_count(bits)).astype(np.uint32)


def count(opcode: Opcode, operands: Operands) -> Step:
    """``popc`` and ``clz``."""
    (kind,) = opcode.kind()
    function = leading_zeros if opcode.name == "clz" else lambda bits: np.bitwise_count(bits).astype(np.uint32)
    return elementwise(operands, kind, function, into="u32")


def highest(opcode: Opcode, operands: Operands) -> Step:
    """``bfind``: where the highest bit is that differs from the sign; all ones where there is none."""
    (kind,) = opcode.kind()
    width = 8 * KINDS[kind].dtype.itemsize
    as_shift = bool(opcode.take("shiftamt"))

    def function(value: Array) -> Array:
        bits = np.where(value < 0, ~value, value).astype(f"u{width // 8}")
        zeros = leading_zeros(bits)
        found = zeros if as_shift else np.uint32(width - 1) - zeros
        return np.where(bits == 0, np.uint32(0xFFFFFFFF), found)

    return elementwise(operands, kind, function, into="u32")


def reverse(opcode: Opcode, operands: Operands) -> Step:
    """``brev``: the bits in the other order."""
    (kind,) = opcode.kind()

    def function(bits: Array) -> Array:
        octets = np.ascontiguousarray(bits).view(np.uint8).reshape(bits.size, -1)[:, ::-1]
        turned = np.packbits(np.unpackbits(octets, axis=1, bitorder="little"), axis=1)
        return np.ascontiguousarray(turned).view(bits.dtype)[:, 0]

    return elementwise(operands, kind, function)


def permute(opcode: Opcode, operands: Operands) -> Step:
    """``prmt`` without a mode: four of the eight bytes of two registers, or copies of their signs."""
    opcode.kind()

    def function(low: Array, upper: Array, selector: Array) -> Array:
        both = (upper.astype(np.uint64) << np.uint64(32)) | low
        result = np.zeros(both.shape, np.uint32)
        for position in range(4):
            choice = (selector >> np.uint32(4 * position)).astype(np.uint64)
            octet = (both >> (np.uint64(8) * (choice & np.uint64(7)))) & np.uint64(0xFF)
            signs = np.where(octet & np.uint64(0x80), np.uint64(0xFF), np.uint64(0))
            octet = np.where(choice & np.uint64(8), signs, octet)
            result = result | octet.astype(np.uint32) << np.uint32(8 * position)
        return result

    return elementwise(operands, "b32", function)


def table(opcode: Opcode, operands: Operands) -> Step:
    """``lop3``: any function of three bits, given as its table of eight."""
    opcode.kind()
    if not isinstance(operands[4], Immediate):
        opcode.unknown()
    return elementwise(operands[:4], "b32", partial(_looked_up, entries=operands[4].value))


def _looked_up(a: Array, b: Array, c: Array, *, entries: int) -> Array:
    result = np.zeros(np.broadcast(a, b, c).shape, np.uint32)
    for row in range(8):
        if entries >> row & 1:
            result |= (a if row & 4 else ~a) & (b if row & 2 else ~b) & (c if row & 1 else ~c)
    return result


BITS: dict[str, Callable[[Opcode, Operands], Step]] = {
    **dict.fromkeys(("and", "or", "xor", "not", "cnot"), logic),
    "shl": shift, "shr": shift, "shf": funnel, "bfe": extract, "bfi": insert, "popc": count, "clz": count,
    "bfind": highest, "brev": reverse, "prmt": permute, "lop3": table,
}  # fmt: skip
