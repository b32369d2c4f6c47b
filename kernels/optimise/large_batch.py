"""The optimisers for large batches: each layer's step is scaled to the norm of its weights, so step layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.formulas import optimise as formulas
from kernels.optimise.arrays import Operands
from kernels.optimise.methods import bias_corrected
from kernels.optimise.optimiser import Optimiser

__all__ = ["LAMB", "LARS"]


@dataclass(frozen=True, slots=True)
class LARS(Optimiser):
    """v ← μv − αη‖w‖ / (‖g‖ + λ‖w‖) · (g + λw), w ← w + v; where a norm is 0 the ratio is 1.

    Two passes, 28 bytes a weight: the norms read weights and gradient. Source: You, Gitman and Ginsburg, "Large batch
    training of convolutional networks" (2017), algorithm 1.
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    trust: float = 0.001

    name = "lars"
    formula = formulas.momentum
    states = ("velocity",)

    def coefficients(self, _number: int, /) -> tuple[float, ...]:
        """α, μ, λ."""
        return self.learning_rate, self.momentum, self.weight_decay

    def _step(self, on: Operands, number: int, scale: float) -> None:
        ratio = on.form.trust(on.weights, on.gradient, (self.trust, abs(scale), self.weight_decay))
        on.form.sweep(
            formulas.momentum, on.weights, on.gradient, on.state, self.coefficients(number),
            scale=scale, trust=ratio, update=None, copy=on.copy,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LAMB(Optimiser):
    """m and v as Adam's of g, u = m̂ / (√v̂ + ε) + λw, w ← w − α ‖w‖ / ‖u‖ · u; where a norm is 0 the ratio is 1.

    Three passes, 48 bytes a weight: u is written to the third array of state, both norms are read, the weights moved.
    Source: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes" (ICLR 2020),
    algorithm 2 with φ(x) = x.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6
    weight_decay: float = 0.01

    name = "lamb"
    formula = formulas.lamb
    states = ("mean", "mean_square", "update")

    def coefficients(self, number: int, /) -> tuple[float, ...]:
        """1 / (1 − β₁ᵗ), β₁, 1 − β₁, β₂, 1 − β₂, 1 / √(1 − β₂ᵗ), ε, λ."""
        mean, root = bias_corrected(self.beta1, self.beta2, number)
        kept1, kept2 = self.beta1, self.beta2
        return mean, kept1, 1 - kept1, kept2, 1 - kept2, root, self.epsilon, self.weight_decay

    def _step(self, on: Operands, number: int, scale: float) -> None:
        *means, update = on.state
        on.form.sweep(
            formulas.lamb, on.weights, on.gradient, tuple(means), self.coefficients(number),
            scale=scale, trust=None, update=update, copy=None,
        )  # fmt: skip
        ratio = on.form.trust(on.weights, update, (1.0, 1.0, 0.0))
        on.form.sweep(
            formulas.sgd, on.weights, update, (), (self.learning_rate, 0.0),
            scale=1.0, trust=ratio, update=None, copy=on.copy,
        )  # fmt: skip
