"""Checksums of bytes in memory: CRC-32C by the processor's instruction or by tables, XXH64 by four lanes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, config, extending
from numba.core import types as numba_types
from numpy.typing import NDArray

from kernels.cpu.compiled import compiled
from kernels.formulas import checksum as formulas
from kernels.formulas.checksum import (
    ONE,
    SEEDS,
    absorbed,
    byte_added,
    divided,
    half_added,
    product,
    short,
    stirred,
    together,
    word_added,
)  # fmt: skip

__all__ = ["by_instruction", "by_tables", "crc32c", "folded", "has_instruction", "power", "tables", "xxh64",
           "xxh64_pieces"]  # fmt: skip

types = cast("Any", numba_types)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", extending.intrinsic)
inlined = cast("Callable[[Any], Any]", extending.register_jitable)

Bytes = NDArray[np.uint8]
U = np.uint64

LONG, BRIEF = 8192, 256
"""Bytes of each of the three streams that a core works on at once, while as many are left."""

for _formula in formulas.FORMULAS:
    inlined(_formula)


def crc32c(data: Bytes, state: int) -> int:
    """The CRC's state after more bytes. One pass; three words of 8 bytes in flight, where the processor can."""
    if has_instruction():
        return int(by_instruction(data, U(state), U(power(LONG)), U(power(BRIEF))))
    return int(by_tables(data, U(state), tables()))


@cache
def has_instruction() -> bool:
    """Whether Numba compiles for a processor with SSE 4.2; not if it was told to compile for another than this one."""
    told = cast("Any", config).CPU_NAME is not None or cast("Any", config).CPU_FEATURES is not None
    return not told and bool(cast("Any", binding).get_host_cpu_features().get("sse4.2", False))


@cache
def power(nbytes: int) -> int:
    """x^(8·nbytes): what a state is multiplied by when so many bytes follow. Takes log2(nbytes) products."""
    return int(_power(8 * nbytes))


@compiled
def _power(exponent: int) -> U:
    found, square = ONE, ONE >> U(1)
    while exponent:
        if exponent & 1:
            found = product(found, square)
        square = product(square, square)
        exponent >>= 1
    return found


@intrinsic
def _word(typing: Any, data: Any, at: Any) -> Any:
    """The 8 bytes from ``data[at]`` on as uint64, aligned or not."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, given[0])
        place = builder.gep(array.data, [given[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.int64), generate


@intrinsic
def _stepped(typing: Any, state: Any, word: Any) -> Any:
    """The state after the 8 bytes of a word, lowest first, by the instruction CRC32 of SSE 4.2."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        long = ir.IntType(64)
        kind = ir.FunctionType(long, [long, long])
        return builder.call(_declared(builder.module, kind, "llvm.x86.sse42.crc32.64.64"), given)

    return types.uint64(types.uint64, types.uint64), generate


def _declared(module: Any, kind: Any, name: str) -> Any:
    return cast("Any", cgutils).get_or_insert_function(module, kind, name)


@inlined
def _bytes_added(data: Any, at: int, state: U) -> U:
    """The state after the bytes from ``at`` on, one by one."""
    for i in range(at, data.size):
        state = U(divided(np.uint32(state), np.uint32(data[i]), 8))
    return state


@compiled
def by_instruction(data: Any, state: U, long: U, brief: U) -> U:
    """CRC of three streams side by side, for the instruction takes three cycles and one starts every cycle.

    ``long`` and ``brief`` are the powers for ``LONG`` and ``BRIEF`` bytes.
    """
    at = 0
    for length, ahead in ((LONG, long), (BRIEF, brief)):
        further = product(ahead, ahead)
        while at + 3 * length <= data.size:
            second, third = U(0), U(0)
            for i in range(at, at + length, 8):
                state = _stepped(state, _word(data, i))
                second = _stepped(second, _word(data, i + length))
                third = _stepped(third, _word(data, i + 2 * length))
            state = product(further, state) ^ product(ahead, second) ^ third
            at += 3 * length
    while at + 8 <= data.size:
        state = _stepped(state, _word(data, at))
        at += 8
    return _bytes_added(data, at, state)


@cache
def tables() -> NDArray[np.uint32]:
    """Table k: what a byte contributes that is followed by k more of the same word."""
    found = np.arange(256, dtype=np.uint32) * np.ones((8, 1), np.uint32)
    for k in range(8):
        for _ in range(8 * k + 8):
            found[k] = found[k] >> 1 ^ formulas.POLYNOMIAL32 * (found[k] & 1)
    return found


@compiled
def by_tables(data: Any, state: U, table: Any) -> U:
    """CRC by tables, 8 bytes at a time (Kounavis and Berry, ISCC 2005): for any processor."""
    at = 0
    while at + 8 <= data.size:
        word = _word(data, at) ^ state
        state = U(0)
        for k in range(8):
            state ^= U(table[7 - k, word & U(255)])
            word >>= U(8)
        at += 8
    return _bytes_added(data, at, state)


@compiled
def folded(states: Any, ahead: U) -> U:
    """The state of buffers of equal length one after the other; ``ahead`` is the power for that length."""
    total = U(0)
    for i in range(states.size):
        total = product(ahead, total) ^ U(states[i])
    return total


@compiled
def xxh64(data: Any) -> U:
    """XXH64 with seed 0. One pass; bound by multiplications, 8 for 32 bytes."""
    at, total = 0, short()
    if data.size >= 32:
        a, b, c, d = SEEDS
        while at + 32 <= data.size:
            a, b = absorbed(a, _word(data, at)), absorbed(b, _word(data, at + 8))
            c, d = absorbed(c, _word(data, at + 16)), absorbed(d, _word(data, at + 24))
            at += 32
        total = together(a, b, c, d)
    total += U(data.size)
    while at + 8 <= data.size:
        total = word_added(total, _word(data, at))
        at += 8
    if at + 4 <= data.size:
        half = U(data[at]) | U(data[at + 1]) << U(8) | U(data[at + 2]) << U(16) | U(data[at + 3]) << U(24)
        total = half_added(total, half)
        at += 4
    for i in range(at, data.size):
        total = byte_added(total, U(data[i]))
    return stirred(total)


@compiled
def xxh64_pieces(data: Any, piece: int, digests: Any) -> None:
    """XXH64 of each ``piece`` bytes; the last may be shorter."""
    for i in range(digests.size):
        digests[i] = xxh64(data[i * piece : (i + 1) * piece])
