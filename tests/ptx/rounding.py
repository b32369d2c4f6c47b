"""Rounding done right: fused multiply-add, and conversion between formats in each direction.

A result with more digits than the target is first *rounded to odd* in float64 (the last bit says that digits were
lost), for then a second rounding gives what a single one would. Source: Boldo and Melquiond 2008, "Emulation of FMA and
correctly rounded sums: proved algorithms using rounding to odd", IEEE Transactions on Computers 57(4).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np

from tests.ptx.threads import Array

__all__ = ["canonical", "fused", "narrowed", "sum_to_odd"]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
SAFE = 2.0**400
"""float64 numbers between 1/SAFE and SAFE can be split and multiplied twice without loss of a digit."""


def canonical(values: Array) -> Array:
    """The values with NaN as a GPU writes it: 0x7fffffff in float32, 0x7fff in the halves; float64 keeps its own."""
    if values.dtype.kind in "iub" or values.itemsize == 8:
        return values
    wrong = values != values  # only NaN differs from itself
    if wrong.any():
        bits = np.array(values).view(f"u{values.itemsize}")
        bits[wrong] = (1 << 8 * values.itemsize - 1) - 1
        return bits.view(values.dtype)
    return values


def fused(a: Array, b: Array, c: Array) -> Array:
    """a·b + c, rounded once to nearest even."""
    if a.itemsize == 8:
        return _fused_double(a, b, c)
    # Two factors of at most 24 bits have an exact product in float64.
    a64, b64, c64 = (values.astype(np.float64) for values in (a, b, c))
    return narrowed(sum_to_odd(a64 * b64, c64), a.dtype)


def narrowed(values: Array, dtype: np.dtype[Any], mode: str = "rn") -> Array:
    """float64 values in a smaller format: ``rn`` nearest even, ``rz`` towards zero, ``rm`` down, ``rp`` up."""
    if dtype == BFLOAT16 and mode == "rn":
        return _to_odd_single(values).astype(dtype)
    near = values.astype(dtype)
    if mode == "rn":
        return near
    back = near.astype(np.float64)
    if mode == "rz":
        beyond, towards = np.abs(back) > np.abs(values), 0.0
    else:
        beyond, towards = (back > values, -np.inf) if mode == "rm" else (back < values, np.inf)
    return np.where(beyond, np.nextafter(near, np.array([towards]).astype(dtype)), near)


def _to_odd_single(values: Array) -> Array:
    """float64 values in float32, rounded to odd."""
    near = narrowed(values, np.dtype(np.float32), "rz")
    inexact = (near.astype(np.float64) != values) & np.isfinite(values)
    return (near.view(np.uint32) | inexact).view(np.float32)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum, and what the rounding took away, exactly (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def sum_to_odd(a: Array, b: Array) -> Array:
    """a + b in float64, rounded to odd."""
    total, error = _two_sum(a, b)
    lost = np.isfinite(total) & (error != 0)
    bits = np.asarray(total).view(np.uint64)
    even = lost & (bits & np.uint64(1) == 0)
    if not even.any():
        return total
    # Towards the error: away from zero if it has the sum's sign.
    step = np.where((error > 0) == (total > 0), np.int64(1), np.int64(-1))
    return np.where(even, (bits.view(np.int64) + step).view(np.float64), total)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded product, and what the rounding took away (Dekker and Veltkamp)."""
    product = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return product, a2 * b2 - (((product - a1 * b1) - a2 * b1) - a1 * b2)


def _halves(a: Array) -> tuple[Array, Array]:
    scaled = a * 134217729.0  # 2**27 + 1
    upper = scaled - (scaled - a)
    return upper, a - upper


def _fused_double(a: Array, b: Array, c: Array) -> Array:
    a, b, c = np.broadcast_arrays(a, b, c)
    upper, lower = _two_product(a, b)
    near, rest = _two_sum(c, lower)
    total, error = _two_sum(upper, near)
    result = total + sum_to_odd(rest, error)
    sizes = [np.abs(values) for values in (a, b, c)]
    safe = np.logical_and.reduce([(size < SAFE) & ((size > 1 / SAFE) | (size == 0)) for size in sizes])
    plain = ~np.logical_and.reduce([np.isfinite(size) for size in sizes]) | (a == 0) | (b == 0)
    result = np.where(plain, a * b + c, result)
    for index in np.flatnonzero(~(safe | plain)):
        result[index] = _exactly(a[index], b[index], c[index])
    return result


def _exactly(a: float, b: float, c: float) -> float:
    """The same for one number by fractions: right for any finite values, and slow."""
    value = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    try:
        # The sign of an exact zero is that of the plain sum.
        return float(value) if value else float(a) * float(b) + float(c)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
