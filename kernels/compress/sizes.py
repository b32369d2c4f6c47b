"""How many bytes ``count`` elements are once they are encoded: pure arithmetic, for whoever sends them or prices them.

Every function takes a number of elements, 0 or more, and gives whole bytes; nothing is nothing. ``BLOCK``, ``KEPT`` and
``RANK`` are the parameters that encodings have where none are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType

__all__ = [
    "BLOCK", "KEPT", "RANK", "SIZES", "bfloat16", "factors", "float16", "int8", "kept", "powersgd", "randomk", "sign",
    "topk",
]  # fmt: skip

BLOCK = 256
"""Elements that share a scale."""

KEPT = Fraction(1, 100)
"""The share of elements that a sparse encoding keeps."""

RANK = 4
"""Columns of each of the two factors of a low-rank encoding."""

_FLOAT = _INDEX = 4  # bytes of a float32, and of an int32
_SEED = 8  # bytes of the number from which both ends draw the same positions


def float16(count: int) -> int:
    """Two bytes each."""
    return 2 * count


def bfloat16(count: int) -> int:
    """Two bytes each."""
    return 2 * count


def int8(count: int, block: int = BLOCK) -> int:
    """A byte each, and a float32 scale for each ``block`` of them."""
    return count + _FLOAT * -(-count // block)


def sign(count: int) -> int:
    """A bit each, in whole bytes, and one float32 scale."""
    return -(-count // 8) + _FLOAT if count else 0


def kept(count: int, share: Fraction = KEPT) -> int:
    """How many elements a sparse encoding keeps: ``share`` of them, rounded up."""
    return math.ceil(count * share)


def topk(count: int, share: Fraction = KEPT) -> int:
    """An int32 index and a float32 value for each element that is kept."""
    return (_INDEX + _FLOAT) * kept(count, share)


def randomk(count: int, share: Fraction = KEPT) -> int:
    """A float32 value for each element that is kept, and the seed of their positions."""
    return _FLOAT * kept(count, share) + _SEED if count else 0


def factors(count: int, rank: int = RANK) -> tuple[int, int, int]:
    """Rows, columns and rank of the matrix that ``count`` elements fill: as square as can be, its last row perhaps not.

    The rank is ``rank``, or as much as rows and columns allow.
    """
    rows = math.isqrt(count - 1) + 1 if count else 0
    columns = -(-count // rows) if rows else 0
    return rows, columns, min(rank, rows, columns)


def powersgd(count: int, rank: int = RANK) -> int:
    """Two float32 factors, of rows × rank and columns × rank.

    Source: Vogels, Karimireddy and Jaggi, "PowerSGD" (NeurIPS 2019), section 3.
    """
    rows, columns, deep = factors(count, rank)
    return _FLOAT * deep * (rows + columns)


SIZES: Mapping[str, Callable[[int], int]] = MappingProxyType(
    {
        "bfloat16": bfloat16,
        "float16": float16,
        "int8": int8,
        "powersgd": powersgd,
        "randomk": randomk,
        "sign": sign,
        "topk": topk,
    }
)
"""Each encoding with its usual parameters, by name."""
