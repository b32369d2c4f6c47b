"""The reduction operations that MPI predefines, elementwise on arrays.

Native dtypes go straight to a NumPy ufunc that writes into ``out``: no temporary arrays, vector instructions, and the
dtype's own rules (integers wrap around). float16 rounds after every operation, and so does ``ml_dtypes.bfloat16``.

NaN: ``min`` and ``max`` (and ``minloc``, ``maxloc``) return NaN where either side is NaN, as ``numpy.minimum`` does;
MPI leaves that open. Whether NumPy warns of overflow or NaN is the caller's choice (``numpy.errstate``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Reduction", "get", "names"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Reduction:
    """``reduction(left, right, out)`` computes ``out[:] = left ∘ right`` elementwise.

    The arrays are 1-D, contiguous, of one dtype and one length; ``out`` may be ``left`` or ``right``. All predefined
    operations are associative (floating point: up to rounding) and commutative. Cost: one pass over memory.
    """

    name: str
    function: Callable[..., object]
    kinds: str
    commutative: bool = True

    def __call__(self, left: Array, right: Array, out: Array) -> None:
        """Compute ``out[:] = left ∘ right``."""
        self.function(left, right, out=out)  # by keyword: NumPy is retiring the third position

    def supports(self, dtype: np.dtype[Any]) -> bool:
        """Whether MPI defines the operation for such a dtype (float16 and bfloat16 count as floating point)."""
        return _kind(dtype) in self.kinds


def get(name: str) -> Reduction:
    """The reduction called ``name``; a KeyError lists the known names."""
    if name not in REDUCTIONS:
        raise KeyError(f"no reduction is called {name!r}; known: {', '.join(REDUCTIONS)}")
    return REDUCTIONS[name]


def names() -> list[str]:
    """All names, in MPI's order."""
    return list(REDUCTIONS)


def _kind(dtype: np.dtype[Any]) -> str:
    """NumPy's letter for the kind of a dtype; "f" for bfloat16 too, "p" for a pair of number and integer index."""
    if dtype.names is not None:
        kinds = [_kind(dtype[name]) for name in dtype.names]
        return "p" if len(kinds) == 2 and kinds[0] in "iuf" and kinds[1] in "iu" else "V"
    return "f" if dtype.name == "bfloat16" else dtype.kind


def _locate(left: Array, right: Array, *, out: Array, precedes: np.ufunc) -> None:
    """The pair whose value comes first; of equal values (and of NaNs, which come before all) the lower index."""
    # only NaN differs from itself
    value, index = left.dtype.names or ("", "")
    mine, other = left[value], right[value]
    right_wins = precedes(other, mine) | ((other != other) & (mine == mine))
    tied = (mine == other) | ((mine != mine) & (other != other))
    right_wins |= tied & (right[index] < left[index])
    np.copyto(out, np.where(right_wins, right, left))


REDUCTIONS: Mapping[str, Reduction] = MappingProxyType(
    {
        reduction.name: reduction
        for reduction in (
            Reduction("max", np.maximum, "iuf"),
            Reduction("min", np.minimum, "iuf"),
            Reduction("sum", np.add, "iufc"),
            Reduction("prod", np.multiply, "iufc"),
            Reduction("land", np.logical_and, "iub"),
            Reduction("band", np.bitwise_and, "iu"),
            Reduction("lor", np.logical_or, "iub"),
            Reduction("bor", np.bitwise_or, "iu"),
            Reduction("lxor", np.logical_xor, "iub"),
            Reduction("bxor", np.bitwise_xor, "iu"),
            Reduction("minloc", partial(_locate, precedes=np.less), "p"),
            Reduction("maxloc", partial(_locate, precedes=np.greater), "p"),
        )
    }
)
