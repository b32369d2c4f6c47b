"""float16 and bfloat16 in compiled code, against NumPy and ml_dtypes: every pattern, and many float32."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numba import njit, types
from numba.core.extending import intrinsic

from kernels.cpu import float16_words, halves


@njit  # not cached: a cached one would not notice a change in halves.py
def widen_float16(bits: Any, out: Any) -> None:
    for i in range(bits.size):
        out[i] = halves.float16_to_float32(bits[i])


@njit  # not cached: a cached one would not notice a change in halves.py
def widen_bfloat16(bits: Any, out: Any) -> None:
    for i in range(bits.size):
        out[i] = halves.bfloat16_to_float32(bits[i])


@njit  # not cached: a cached one would not notice a change in halves.py
def narrow_float16(values: Any, out: Any) -> None:
    for i in range(values.size):
        out[i] = halves.float32_to_float16(values[i])


@njit  # not cached: a cached one would not notice a change in halves.py
def narrow_bfloat16(values: Any, out: Any) -> None:
    for i in range(values.size):
        out[i] = halves.float32_to_bfloat16(values[i])


@intrinsic
def _widened(typing: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return float16_words.widened(builder, arguments[0])

    return types.float32(types.uint16), generate


@intrinsic
def _narrowed(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return float16_words.narrowed(builder, arguments[0])

    return types.uint16(types.float32), generate


@njit
def widen_by_words(bits: Any, out: Any) -> None:
    for i in range(bits.size):
        out[i] = _widened(bits[i])


@njit
def narrow_by_words(values: Any, out: Any) -> None:
    for i in range(values.size):
        out[i] = _narrowed(values[i])


TYPES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16), "words": np.dtype(np.float16)}
WIDEN = {"float16": widen_float16, "bfloat16": widen_bfloat16, "words": widen_by_words}
NARROW = {"float16": narrow_float16, "bfloat16": narrow_bfloat16, "words": narrow_by_words}


def same(found: Any, expected: Any) -> None:
    """Bit for bit, but for what a NaN carries."""
    with np.errstate(invalid="ignore"):  # some of the NaNs are signalling
        nan, expected_nan = (np.isnan(array.astype(np.float64)) for array in (found, expected))
    np.testing.assert_array_equal(nan, expected_nan)
    bits = f"u{expected.itemsize}"
    np.testing.assert_array_equal(found.view(bits)[~nan], expected.view(bits)[~nan])


def critical(dtype: np.dtype[Any]) -> Any:
    """Every value of the type, every tie between two (with the one that overflows), and both neighbours of each."""
    exact = np.arange(1 << 15, dtype=np.uint16).view(dtype).astype(np.float64)
    exact = exact[np.isfinite(exact)]
    beyond = 2 * exact[-1] - exact[-2]
    points = np.concatenate([exact, (exact + np.append(exact[1:], beyond)) / 2]).astype(np.float32)
    near = [points, np.nextafter(points, np.float32(np.inf)), np.nextafter(points, np.float32(-np.inf))]
    return np.concatenate([*near, *(-array for array in near), np.float32([np.inf, -np.inf, np.nan])])


@pytest.mark.parametrize("kind", TYPES)
def test_every_pattern_widens_exactly(kind: str) -> None:
    bits, out = np.arange(1 << 16, dtype=np.uint16), np.empty(1 << 16, np.float32)
    WIDEN[kind](bits, out)
    with np.errstate(invalid="ignore"):
        same(out, bits.view(TYPES[kind]).astype(np.float32))


@pytest.mark.parametrize("kind", TYPES)
def test_float32_narrow_to_the_nearest_with_ties_to_even(kind: str) -> None:
    anything = np.random.default_rng(1).integers(0, 1 << 32, 1 << 20, dtype=np.uint32).view(np.float32)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        values = np.concatenate([anything, critical(TYPES[kind])])
        out = np.empty(values.size, np.uint16)
        NARROW[kind](values, out)
        same(out.view(TYPES[kind]), values.astype(TYPES[kind]))


@pytest.mark.parametrize("function", [*WIDEN.values(), *NARROW.values()], ids=lambda function: function.__name__)
def test_a_loop_of_conversions_is_vectorised(function: Callable[..., Any]) -> None:
    widens = function in WIDEN.values()
    array, out = (np.zeros(64, np.uint16 if narrow else np.float32) for narrow in (widens, not widens))
    function(array, out)
    code = "".join(function.inspect_asm().values())  # type: ignore[attr-defined]
    # bfloat16 is shifted into place; float16 has instructions of its own
    assert re.search(r"(vps[rl]l[dw]|vcvtph2ps|vcvtps2ph)\s.*[yz]mm|f?cvt[ln]2?\s+v|[su]?sh[rl]l?n?2?\s+v", code)
