"""The interpreter's floating point against exact fractions, rounded once; and what NaN and the zeros do."""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.ptx.harness import identical
from tests.ptx.snippets import evaluate
from tests.ptx.telling import WHOLE, columns, edges, telling

FORMATS = {np.float16: (11, -14, 15), np.float32: (24, -126, 127), np.float64: (53, -1022, 1023),
           ml_dtypes.bfloat16: (8, -126, 127)}  # fmt: skip
"""Digits, and the exponents of the smallest and the largest normal numbers."""


def rounded(value: Fraction, dtype: Any, mode: str = "rn") -> Any:
    """An exact value in a floating-point format, rounded as the mode says. The sign of zero is not looked at."""
    digits, lowest, highest = FORMATS[dtype]
    if not value:
        return dtype(0)
    exponent = math.floor(math.log2(abs(value))) if 2**-900 < abs(value) < 2**900 else None
    if exponent is None:
        exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    exponent += (abs(value) >= Fraction(2) ** (exponent + 1)) - (abs(value) < Fraction(2) ** exponent)
    unit = Fraction(2) ** (max(exponent, lowest) - digits + 1)
    steps = value / unit
    whole = {"rn": round, "rz": math.trunc, "rm": math.floor, "rp": math.ceil}[mode](steps)
    largest = (Fraction(2) - Fraction(2) ** (1 - digits)) * Fraction(2) ** highest
    if abs(whole * unit) > largest:
        inwards = mode == "rz" or (mode == "rm" and value > 0) or (mode == "rp" and value < 0)
        return dtype(math.copysign(float(largest) if inwards else math.inf, 1 if value > 0 else -1))
    return dtype(float(whole * unit))


@pytest.mark.parametrize(("suffix", "dtype"), [("f16", np.float16), ("bf16", ml_dtypes.bfloat16), ("f32", np.float32),
                                               ("f64", np.float64)])  # fmt: skip
def test_a_fused_multiply_add_is_rounded_once(suffix: str, dtype: Any) -> None:
    a, b, c = (telling(dtype, seed, 400) for seed in range(3))
    # Half of the sums nearly cancel: there a second rounding shows.
    with np.errstate(all="ignore"):
        c[::2] = -(a[::2] * b[::2])
    c = np.where(np.isfinite(c), c, dtype(1)).astype(dtype)
    got = evaluate(f"fma.rn.{suffix} %d, %a, %b, %c;", dtype, a, b, c)
    exact = [Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)) for x, y, z in zip(a, b, c, strict=True)]
    expected = np.array([rounded(value, dtype) for value in exact], dtype)
    identical(got + dtype(0), expected + dtype(0))


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize(("into", "dtype", "origin", "source"), [
    ("f16", np.float16, "f32", np.float32), ("f32", np.float32, "f64", np.float64),
    ("f16", np.float16, "f64", np.float64),
])  # fmt: skip
def test_a_float_is_narrowed_as_the_mode_says(into: str, dtype: Any, origin: str, source: Any, mode: str) -> None:
    values = np.concatenate([telling(source, 5, 300), telling(dtype, 6, 200).astype(source) * source(1 + 2**-11)])
    values = values[np.isfinite(values)]
    got = evaluate(f"cvt.{mode}.{into}.{origin} %d, %a;", dtype, values)
    expected = np.array([rounded(Fraction(float(value)), dtype, mode) for value in values], dtype)
    identical(got + dtype(0), expected + dtype(0))


def test_pairs_of_halves_are_packed_upper_first() -> None:
    upper, lower = telling(np.float32, 7, 300), telling(np.float32, 8, 300)
    for suffix, dtype in (("f16x2", np.float16), ("bf16x2", ml_dtypes.bfloat16)):
        got = evaluate(f"cvt.rn.{suffix}.f32 %d, %a, %b;", np.uint32, upper, lower).view(dtype).reshape(-1, 2)
        for column, values in ((0, lower), (1, upper)):
            expected = np.array([rounded(Fraction(float(value)), dtype) for value in values], dtype)
            identical(np.ascontiguousarray(got[:, column]) + dtype(0), expected + dtype(0))
        sums = evaluate(
            f"add.rn.{suffix} %d, %a, %b;", np.uint32, got.reshape(-1).view(np.uint32), got.view(np.uint32)[:, 0]
        )
        with np.errstate(all="ignore"):
            identical(sums.view(dtype), (got + got).reshape(-1))


def test_a_float_becomes_whole_as_the_mode_says_and_saturates() -> None:
    values = [0.5, 1.5, 2.5, -0.5, -1.5, 1e30, -1e30, math.inf, -math.inf, math.nan, 2.0**31, 2.0**32 - 256]
    a = np.array(values, np.float32)
    for mode, function in (("rni", round), ("rzi", math.trunc), ("rmi", math.floor), ("rpi", math.ceil)):
        for kind in ("s32", "u32", "s64", "u64"):
            limits = np.iinfo(WHOLE[kind])
            of_nan = 0 if kind in ("s32", "u32") else limits.min or 1 << 63
            expected = [of_nan if math.isnan(value) else
                        limits.max if value == math.inf else limits.min if value == -math.inf else
                        min(max(function(value), limits.min), limits.max) for value in a.tolist()]  # fmt: skip
            assert evaluate(f"cvt.{mode}.{kind}.f32 %d, %a;", WHOLE[kind], a).tolist() == expected


def test_whole_numbers_become_floats_rounded_once() -> None:
    for kind in ("s32", "u32", "s64", "u64"):
        near = [
            2**24 + 1,
            2**24 + 3,
            2**31 - 1,
            *([2**53 + 1, 2**62 + 2**38 + 1] if "64" in kind else []),
            *edges(kind),
        ]
        a = np.array(near, WHOLE[kind])
        got = evaluate(f"cvt.rn.f32.{kind} %d, %a;", np.float32, a)
        identical(got, np.array([rounded(Fraction(value), np.float32) for value in near], np.float32))
    assert evaluate("cvt.s8.s32 %d, %a;", np.int32, np.array([300, -129, 127], np.int32)).tolist() == [44, 127, 127]
    assert evaluate("cvt.sat.u8.s32 %d, %a;", np.uint32, np.array([300, -129, 127], np.int32)).tolist() == [255, 0, 127]


def test_minima_and_comparisons_know_nan_and_the_zeros() -> None:
    nan = math.nan
    a, b = columns([nan, -math.inf, -1.0, -0.0, 0.0, 1.0], 2, np.float32)
    smaller = evaluate("min.f32 %d, %a, %b;", np.float32, a, b)
    larger = evaluate("max.NaN.f32 %d, %a, %b;", np.float32, a, b)
    for x, y, low, top in zip(a.tolist(), b.tolist(), smaller.tolist(), larger.tolist(), strict=True):
        key = lambda value: (value, math.copysign(1, value))  # noqa: E731
        numbers = sorted((value for value in (x, y) if not math.isnan(value)), key=key)
        assert repr(low) == repr(numbers[0] if numbers else nan)
        assert repr(top) == repr(numbers[1] if len(numbers) == 2 else nan)
    ordered = {"eq": operator.eq, "lt": operator.lt, "ge": operator.ge, "ne": lambda x, y: x < y or x > y}
    unordered = {"neu": operator.ne, "ltu": lambda x, y: not x >= y, "equ": lambda x, y: not (x < y or x > y)}
    for word, test in {**ordered, **unordered}.items():
        got = evaluate(f"setp.{word}.f32 %p1, %a, %b; selp.b32 %d, 1, 0, %p1;", np.uint32, a, b)
        assert got.tolist() == [int(test(x, y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)], word


def test_a_nan_is_written_as_a_card_writes_it() -> None:
    a = np.array([np.inf], np.float32)
    assert evaluate("sub.f32 %d, %a, %a;", np.uint32, a)[0] == 0x7FFFFFFF
    assert evaluate("cvt.rn.f16.f32 %d, %a;", np.uint16, np.array([-np.nan], np.float32))[0] == 0x7FFF
