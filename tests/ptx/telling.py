"""Values on which arithmetic that is nearly right goes wrong."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["WHOLE", "columns", "edges", "telling"]

WHOLE = {"s16": np.int16, "u16": np.uint16, "s32": np.int32, "u32": np.uint32, "s64": np.int64,
         "u64": np.uint64}  # fmt: skip
"""PTX's types of whole numbers, and NumPy's."""


def edges(kind: str) -> list[int]:
    """Whole numbers about zero, about both ends, and some between."""
    limits = np.iinfo(WHOLE[kind])
    near = {limits.min, limits.min + 1, -2, -1, 0, 1, 2, 3, 31, 33, limits.max // 3, limits.max - 1, limits.max}
    return sorted(value for value in near if limits.min <= value <= limits.max)


def columns(values: list[Any], count: int, dtype: Any) -> list[NDArray[Any]]:
    """All combinations of ``count`` of the values, as arrays."""
    return [np.array(column, dtype) for column in zip(*itertools.product(values, repeat=count), strict=True)]


def telling(dtype: Any, seed: int, count: int) -> NDArray[Any]:
    """Finite numbers of all sizes: subnormal ones, neighbours of powers of two, the largest."""
    source = np.random.default_rng(seed)
    bits = source.integers(0, 1 << 8 * np.dtype(dtype).itemsize, 4 * count, dtype=np.uint64)
    values = bits.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
    close = (source.integers(-8, 9, count) * 2.0 ** source.integers(-4, 5, count)).astype(dtype)
    with np.errstate(invalid="ignore"):  # bfloat16 warns of a NaN
        finite = values[np.isfinite(values)][: count - count // 2]
    return np.concatenate([finite, np.nextafter(close, dtype(1))[: count // 2]])
