"""Clipping by the norm of all gradients together, which on several ranks needs one number from each of them.

Every rank sums its own squares (``kernels.norms.square_sum``), the caller adds them up over the ranks, for kernels know
nothing of messages, and every rank applies the same factor: for nothing as the ``scale`` of a step, or to the arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kernels import norms, reduce
from kernels.optimise.arrays import Array

__all__ = ["clip_by_global_norm", "clip_factor"]


def clip_factor(total_square: float, limit: float) -> float:
    """What to multiply gradients by whose squares sum to ``total_square``: limit / norm, or 1 where they are shorter.

    Raises FloatingPointError for inf and NaN: such a step is to be skipped on every rank (``LossScale``).
    Source: Pascanu, Mikolov and Bengio (ICML 2013), algorithm 1.
    """
    if not limit > 0:
        raise ValueError(f"the limit of a norm must be above 0, got {limit!r}")
    if not math.isfinite(total_square):
        raise FloatingPointError(f"the gradients' squares sum to {total_square}: skip this step on every rank")
    norm = math.sqrt(total_square)
    return limit / norm if norm > limit else 1.0


def clip_by_global_norm(arrays: Sequence[Array], limit: float, total_square: float | None = None) -> float:
    """Scale the arrays in place so that their norm together is at most ``limit``; the norm that they had.

    ``total_square`` is the sum of squares over all ranks where there are several; without it, that of these arrays.
    Arrays as for ``norms.square_sum``, contiguous, all in one place. Cost: a read for the norm if it is not given, and
    only where the norm is too long a read and a write more. ``clip_factor`` as the ``scale`` of a step saves those.
    """
    total = norms.number(norms.square_sum(arrays)) if total_square is None else total_square
    factor = clip_factor(total, limit)
    if factor < 1:
        for array in arrays:
            flat = array.reshape(-1) if hasattr(array, "reshape") else array
            reduce.scale(flat, factor, flat)
    return math.sqrt(total)
