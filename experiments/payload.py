"""What the benchmark reduces: integer-valued vectors whose result is known exactly, in every dtype and operation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.errors import UsageFault
from kernels import reduce

__all__ = ["DTYPES", "OPS", "Mistake", "contribution", "dtype", "expected", "mistake", "require"]

Vector = NDArray[Any]

PERIOD = 251
"""Element i holds the value of element i mod 251. A prime, so that a misplaced chunk of any usual size shows."""

DTYPES = (
    "float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "complex64", "complex128",
)  # fmt: skip

OPS = ("sum", "prod", "min", "max", "land", "lor", "lxor", "band", "bor", "bxor")

# Up to here every integer has its own value, so sums are exact in any order.
_EXACT_BITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53, "complex64": 24, "complex128": 53}

_FOLDS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum, "land": np.logical_and,
    "lor": np.logical_or, "lxor": np.logical_xor, "band": np.bitwise_and, "bor": np.bitwise_or,
    "bxor": np.bitwise_xor,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mistake:
    """How a result is wrong: how many elements, the first of them, what stands there and what should."""

    wrong: int
    index: int
    got: str
    wanted: str

    def __str__(self) -> str:
        """As a clause of a sentence."""
        return f"{self.wrong} elements are wrong, the first at index {self.index}: {self.got} instead of {self.wanted}"


def dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype called ``name``; bfloat16 comes from ml_dtypes. Raises UsageFault listing the known names."""
    if name not in DTYPES:
        raise UsageFault(f"dtype {name!r} is not known; use one of {', '.join(DTYPES)}")
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def require(op: str, dtype_name: str) -> None:
    """Raise UsageFault unless the operation exists and is defined on the dtype."""
    if op in ("minloc", "maxloc"):
        raise UsageFault(f"{op} reduces pairs (value, index), which the benchmark has no dtype for; measure min or max")
    if op not in OPS:
        raise UsageFault(f"operation {op!r} is not known; use one of {', '.join(OPS)}")
    if not reduce.get(op).supports(dtype(dtype_name)):
        raise UsageFault(f"operation {op} is not defined on {dtype_name}")


def contribution(rank: int, ranks: int, count: int, dtype_name: str, op: str) -> Vector:
    """What ``rank`` of ``ranks`` brings: ``count`` elements, all whole numbers, chosen so that the result is exact."""
    return _tiled(_period(rank, ranks, dtype_name, op), count)


def expected(ranks: int, count: int, dtype_name: str, op: str) -> Vector:
    """The one right result: exact, so the order in which an algorithm folds does not matter."""
    return _tiled(_folded_period(ranks, dtype_name, op), count)


def mistake(result: Vector, wanted: Vector, off: float = 0.0) -> Mistake | None:
    """What is wrong with ``result``, or None; wrong is what is more than ``off`` off."""
    places = np.flatnonzero(result != wanted if not off else ~(np.abs(result - wanted) <= off))
    if places.size == 0:
        return None
    first = int(places[0])
    return Mistake(int(places.size), first, str(result[first]), str(wanted[first]))


def _period(rank: int, ranks: int, dtype_name: str, op: str) -> Vector:
    index = np.arange(PERIOD, dtype=np.int64)
    # At such an element this rank alone decides, so that leaving any one rank out shows in every operation.
    alone = index % (ranks + 1) == rank
    if op == "prod":
        values = np.where(alone, 2 + index % 2, 1)
    elif op in ("land", "lor", "lxor"):
        values = alone ^ (op == "land")
    elif op in ("band", "bor"):
        values = np.where(alone, 1 + index % 100, 127 if op == "band" else 0)
    else:
        values = (index * 7 + rank * 3) % (_greatest(dtype_name, ranks, op) + 1)
    return values.astype(dtype(dtype_name))


def _greatest(dtype_name: str, ranks: int, op: str) -> int:
    bits = _EXACT_BITS.get(dtype_name) or np.iinfo(dtype(dtype_name)).bits - 1
    room = (1 << bits) - 1
    return max(1, min(100, room // ranks if op == "sum" else room))


@functools.lru_cache(maxsize=32)
def _folded_period(ranks: int, dtype_name: str, op: str) -> Vector:
    parts = [_period(rank, ranks, dtype_name, op) for rank in range(ranks)]
    folded = functools.reduce(_FOLDS[op], parts).astype(dtype(dtype_name))
    folded.flags.writeable = False  # the cache holds it
    return folded


def _tiled(period: Vector, count: int) -> Vector:
    return np.resize(period, count) if count else np.empty(0, period.dtype)
