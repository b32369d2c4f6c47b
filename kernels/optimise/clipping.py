"""Clipping by the norm of all gradients together, which on several ranks needs one number from each of them.

Every rank sums its own squares (``kernels.norms.square_sum``), the caller adds them up over the ranks, for kernels know
nothing of messages, and every rank applies the same factor: for nothing as the ``scale`` of a step, or to the arrays.
"""

from __future__ import annotations

import math

__all__ = ["clip_factor"]


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
