"""What all optimisers have in common: parameters that are checked, state, and a step where the weights live."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from kernels.optimise.arrays import Array, Operands, operands, zeros_like

__all__ = ["Optimiser"]

BELOW_ONE = "momentum", "beta1", "beta2"
ABOVE_ZERO = ("epsilon",)


@dataclass(frozen=True, slots=True)
class Optimiser:
    """``step`` moves weights down their gradient, in place; ``state`` makes what a step keeps for the next.

    Weights are 1-D and contiguous, float32 or float64; so is the state. The gradient is of the weights' dtype, or
    float16 or bfloat16 for float32 weights: then the weights are the master copy of mixed precision, and ``copy`` is
    an array of that half precision which gets them rounded (Micikevicius et al., ICLR 2018, section 3.1).
    Arithmetic is in the weights' precision, the coefficients are worked out in float64, and nothing is fused or
    reassociated: the CPU and CUDA forms agree bit for bit. inf and NaN pass through; see ``LossScale``.
    """

    learning_rate: float

    name: ClassVar[str]
    formula: ClassVar[Callable[..., Any]]
    states: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low_enough = value < 1 if field.name in BELOW_ONE else math.isfinite(value)
            high_enough = value > 0 if field.name in ABOVE_ZERO else value >= 0
            if not (low_enough and high_enough):
                wanted = f"{'above' if field.name in ABOVE_ZERO else 'at least'} 0"
                wanted += " and below 1" if field.name in BELOW_ONE else ""
                raise ValueError(f"{self.name}: {field.name} must be {wanted}, got {value!r}")

    def state(self, weights: Array) -> tuple[Array, ...]:
        """Zeros like the weights, where the weights are: one array for each of ``states``."""
        return tuple(zeros_like(weights) for _ in self.states)

    def step(
        self, weights: Array, gradient: Array, state: tuple[Array, ...], number: int,
        *, scale: float = 1.0, copy: Array | None = None,
    ) -> None:  # fmt: skip
        """Do step ``number`` (1, 2, ...) with ``scale``·gradient, in place, on the stream of the weights.

        ``scale`` undoes a loss scale, averages over ranks or clips (``clip_factor``) without a pass of its own.
        Raises ValueError for a number below 1 and for arrays that do not fit each other or overlap.
        """
        if number < 1:
            raise ValueError(f"{self.name}: steps are counted from 1, got {number}")
        if len(state) != len(self.states):
            wanted = ", ".join(self.states) or "none"
            raise ValueError(f"{self.name}: {len(state)} arrays of state where it keeps {wanted}; see state()")
        self._step(operands(weights, gradient, state, copy), number, scale)

    def _step(self, on: Operands, number: int, scale: float) -> None:
        on.form.sweep(
            type(self).formula, on.weights, on.gradient, on.state, self.coefficients(number),
            scale=scale, trust=None, update=None, copy=on.copy,
        )  # fmt: skip

    def coefficients(self, _number: int, /) -> tuple[float, ...]:
        """What the formula takes at a step: the parameters in their order, if the optimiser says nothing else."""
        return tuple(getattr(self, field.name) for field in fields(self))
