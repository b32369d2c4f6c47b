"""The interpreter's whole numbers and bits against Python's, on the values where mistakes hide."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.ptx.faults import Fault, Unknown
from tests.ptx.snippets import evaluate
from tests.ptx.telling import WHOLE, columns, edges

Integer = Callable[..., int]
WIDER = [("s16", np.int32), ("u16", np.uint32), ("s32", np.int64), ("u32", np.uint64)]


def wrapped(value: int, kind: str) -> int:
    limits = np.iinfo(WHOLE[kind])
    return (value - limits.min) % (limits.max - limits.min + 1) + limits.min


def high(kind: str) -> Integer:
    return lambda a, b: a * b >> int(kind[1:])


def quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


COMPUTED: dict[str, Callable[[str], Integer]] = {
    "add": lambda kind: operator.add, "sub": lambda kind: operator.sub, "mul.lo": lambda kind: operator.mul,
    "mul.hi": high, "min": lambda kind: min, "max": lambda kind: max,
}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_numbers_are_computed_as_python_does_and_wrap(kind: str) -> None:
    a, b = columns(edges(kind), 2, WHOLE[kind])
    for name, reference in COMPUTED.items():
        got = evaluate(f"{name}.{kind} %d, %a, %b;", WHOLE[kind], a, b)
        expected = [wrapped(reference(kind)(x, y), kind) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
        assert got.tolist() == expected, name


@pytest.mark.parametrize("kind", ["s32", "u32", "s64", "u64"])
def test_division_rounds_towards_zero_and_by_zero_is_a_fault(kind: str) -> None:
    a, b = columns([value for value in edges(kind) if value], 2, WHOLE[kind])
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    got = evaluate(f"div.{kind} %d, %a, %b;", a.dtype, a, b)
    assert got.tolist() == [wrapped(quotient(x, y), kind) for x, y in pairs]
    rest = evaluate(f"rem.{kind} %d, %a, %b;", a.dtype, a, b)
    assert rest.tolist() == [x - quotient(x, y) * y for x, y in pairs]
    with pytest.raises(Fault, match="divides a whole number by zero"):
        evaluate(f"div.{kind} %d, %a, %b;", a.dtype, a, np.zeros_like(a))


@pytest.mark.parametrize(
    ("kind", "wide"), [("s16", np.int32), ("u16", np.uint32), ("s32", np.int64), ("u32", np.uint64)]
)
def test_a_wide_product_is_whole(kind: str, wide: type[Any]) -> None:
    a, b = columns(edges(kind), 2, WHOLE[kind])
    got = evaluate(f"mul.wide.{kind} %d, %a, %b;", wide, a, b)
    assert got.tolist() == [x * y for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    again = evaluate(f"mad.wide.{kind} %d, %a, %b, -7;", wide, a, b)
    assert again.tolist() == [
        int(np.array(x * y - 7).astype(wide)) for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]


def test_a_carry_goes_from_word_to_word() -> None:
    a, b = columns(edges("u64"), 2, np.uint64)
    for name, reference in (("add", operator.add), ("sub", operator.sub)):
        code = f"""mov.b64 {{%r1, %r2}}, %a; mov.b64 {{%r3, %r4}}, %b;
                   {name}.cc.u32 %r5, %r1, %r3; {name}c.u32 %r6, %r2, %r4; mov.b64 %d, {{%r5, %r6}};"""
        got = evaluate(code, np.uint64, a, b)
        expected = [wrapped(reference(x, y), "u64") for x, y in zip(a.tolist(), b.tolist(), strict=True)]
        assert got.tolist() == expected


@pytest.mark.parametrize("bits", [32, 64])
def test_shifts_beyond_the_width_leave_nothing_but_the_sign(bits: int) -> None:
    values, amounts = [1, 2**bits - 1, 2 ** (bits - 1), 0x12345678], [0, 1, bits - 1, bits, bits + 1, 2**32 - 1]
    cells = list(itertools.product(values, amounts))
    a = np.array([value for value, _ in cells], f"u{bits // 8}")
    b = np.array([amount for _, amount in cells], np.uint32)
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    signed = [x - (x >> bits - 1 << bits) for x, _ in pairs]
    cap = 2 * bits  # Python would shift by four thousand million
    left = evaluate(f"shl.b{bits} %d, %a, %b;", a.dtype, a, b)
    assert left.tolist() == [(x << min(y, cap)) % 2**bits for x, y in pairs]
    assert evaluate(f"shr.u{bits} %d, %a, %b;", a.dtype, a, b).tolist() == [x >> min(y, cap) for x, y in pairs]
    got = evaluate(f"shr.s{bits} %d, %a, %b;", f"i{bits // 8}", a, b)
    assert got.tolist() == [x >> min(y, cap) for x, (_, y) in zip(signed, pairs, strict=True)]


@pytest.mark.parametrize("bits", [32, 64])
def test_fields_of_bits(bits: int) -> None:
    numbers = [0, 1, 5, 31, 32, bits - 1, bits, 255]
    cells = list(itertools.product([2**bits - 1, 0xDEADBEEF, 0x0F0F0F0F << bits - 32], numbers, numbers))
    a = np.array([value for value, _, _ in cells], f"u{bits // 8}")
    b, c = (np.array([cell[place] for cell in cells], np.uint32) for place in (1, 2))
    plain = [(x & (1 << min(y + z, bits)) - 1) >> min(y, bits) for x, y, z in cells]
    assert evaluate(f"bfe.u{bits} %d, %a, %b, %c;", a.dtype, a, b, c).tolist() == plain
    signed = evaluate(f"bfe.s{bits} %d, %a, %b, %c;", a.dtype, a, b, c)
    assert signed.tolist() == [_signed_field(x, y, z, bits) for x, y, z in cells]
    inserted = evaluate(f"bfi.b{bits} %d, %a, 0, %b, %c;", a.dtype, a, b, c)
    assert inserted.tolist() == [(x & (1 << z) - 1) << y & (1 << bits) - 1 if y < bits else 0 for x, y, z in cells]


def _signed_field(value: int, start: int, length: int, bits: int) -> int:
    """PTX's own definition, bit by bit: what lies beyond the field is a copy of its highest bit within the word."""
    sign = value >> min(start + length - 1, bits - 1) & 1 if length else 0
    taken = [value >> start + i & 1 if i < length and start + i < bits else sign for i in range(bits)]
    return sum(bit << i for i, bit in enumerate(taken))


@pytest.mark.parametrize("bits", [32, 64])
def test_counts_and_orders_of_bits(bits: int) -> None:
    values = [0, 1, 2, 3, 0x80, 0xDEADBEEF, 2 ** (bits - 1), 2**bits - 1]
    a = np.array(values, f"u{bits // 8}")
    assert evaluate(f"popc.b{bits} %d, %a;", np.uint32, a).tolist() == [value.bit_count() for value in values]
    assert evaluate(f"clz.b{bits} %d, %a;", np.uint32, a).tolist() == [bits - value.bit_length() for value in values]
    assert evaluate(f"brev.b{bits} %d, %a;", a.dtype, a).tolist() == [
        int(f"{value:0{bits}b}"[::-1], 2) for value in values
    ]
    found = evaluate(f"bfind.u{bits} %d, %a;", np.int32, a)
    assert found.tolist() == [value.bit_length() - 1 for value in values]


def test_bytes_are_permuted_and_tables_looked_up() -> None:
    a, b = np.array([0x83020100], np.uint32), np.array([0x07060504], np.uint32)
    for selector, expected in ((0x3210, 0x83020100), (0x7531, 0x07058301), (0x0123, 0x00010283), (0xB4B0, 0xFF04FF00)):
        assert evaluate(f"prmt.b32 %d, %a, %b, {selector};", np.uint32, a, b)[0] == expected
    c = np.array([0xCCCCCCCC], np.uint32)
    x, y, z = 0xF0F0F0F0, 0xAAAAAAAA, 0xCCCCCCCC
    got = evaluate(f"lop3.b32 %d, {x}, {y}, %a, {0x96};", np.uint32, c)
    assert got[0] == x ^ y ^ z
    word = np.array([0xDEADBEEF], np.uint32)
    for mode, by, expected in (("l.wrap", 8, 0x345678DE), ("r.wrap", 8, 0x78DEADBE), ("r.clamp", 40, 0x12345678)):
        assert evaluate(f"shf.{mode}.b32 %d, %a, 0x12345678, {by};", np.uint32, word)[0] == expected


def test_what_is_not_known_is_named() -> None:
    a = np.zeros(1, np.float32)
    for code in (
        "frobnicate.f32 %d, %a;",
        "add.frob.f32 %d, %a, %a;",
        "mul.s32 %d, %a, %a;",
        "bar.red.popc.u32 %d, 0, 1;",
    ):
        with pytest.raises(Unknown, match=code.split()[0]):
            evaluate(code, np.float32, a)
