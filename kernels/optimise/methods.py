"""The optimisers that treat every weight alike. One pass; bytes per weight are for float32 throughout."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.formulas import optimise as formulas
from kernels.optimise.optimiser import Optimiser

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Momentum", "Nesterov", "bias_corrected"]


@dataclass(frozen=True, slots=True)
class SGD(Optimiser):
    """w ← w − α(g + λw). 12 bytes a weight. Source: Robbins and Monro, Ann. Math. Statist. 22 (1951)."""

    weight_decay: float = 0.0

    name = "sgd"
    formula = formulas.sgd


@dataclass(frozen=True, slots=True)
class Momentum(Optimiser):
    """v ← μv − α(g + λw), w ← w + v. 20 bytes a weight.

    Source: Sutskever, Martens, Dahl and Hinton (ICML 2013), equations 1 and 2 (there ε is α).
    """

    momentum: float = 0.9
    weight_decay: float = 0.0

    name = "momentum"
    formula = formulas.momentum
    states = ("velocity",)


@dataclass(frozen=True, slots=True)
class Nesterov(Optimiser):
    """v ← μv − α(g + λw), w ← w + μv − α(g + λw), with the new v. 20 bytes a weight.

    Source: Sutskever et al. (ICML 2013), equations 3 and 4, told of w = θ + μv, the place where the gradient is
    taken: so a training loop evaluates the gradient at the weights that it has.
    """

    momentum: float = 0.9
    weight_decay: float = 0.0

    name = "nesterov"
    formula = formulas.nesterov
    states = ("velocity",)


@dataclass(frozen=True, slots=True)
class Adagrad(Optimiser):
    """s ← s + (g + λw)², w ← w − α(g + λw) / (√s + ε). 20 bytes a weight.

    Source: Duchi, Hazan and Singer, JMLR 12 (2011), figure 1 with the diagonal matrix (there ε is δ, η is α).
    """

    epsilon: float = 1e-10
    weight_decay: float = 0.0

    name = "adagrad"
    formula = formulas.adagrad
    states = ("squares",)


@dataclass(frozen=True, slots=True)
class Adam(Optimiser):
    """m ← β₁m + (1 − β₁)(g + λw), v ← β₂v + (1 − β₂)(g + λw)², w ← w − α m̂ / (√v̂ + ε). 28 bytes a weight.

    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) at step t. Source: Kingma and Ba (ICLR 2015), algorithm 1; λ is theirs
    who use it with L2 regularisation.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    name = "adam"
    formula = formulas.adam
    states = ("mean", "mean_square")

    def coefficients(self, number: int, /) -> tuple[float, ...]:
        """α / (1 − β₁ᵗ), β₁, 1 − β₁, β₂, 1 − β₂, 1 / √(1 − β₂ᵗ), ε, λ."""
        mean, root = bias_corrected(self.beta1, self.beta2, number)
        kept1, kept2 = self.beta1, self.beta2
        return self.learning_rate * mean, kept1, 1 - kept1, kept2, 1 - kept2, root, self.epsilon, self.weight_decay


@dataclass(frozen=True, slots=True)
class AdamW(Optimiser):
    """Adam whose decay is apart from the gradient: w ← w − αλw − α m̂ / (√v̂ + ε). 28 bytes a weight.

    Source: Loshchilov and Hutter (ICLR 2019), algorithm 2, with ηλ written as αλ, as the common libraries have it.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01

    name = "adamw"
    formula = formulas.adamw
    states = ("mean", "mean_square")

    def coefficients(self, number: int, /) -> tuple[float, ...]:
        """α / (1 − β₁ᵗ), β₁, 1 − β₁, β₂, 1 − β₂, 1 / √(1 − β₂ᵗ), ε, αλ."""
        mean, root = bias_corrected(self.beta1, self.beta2, number)
        rate, kept1, kept2 = self.learning_rate, self.beta1, self.beta2
        return rate * mean, kept1, 1 - kept1, kept2, 1 - kept2, root, self.epsilon, rate * self.weight_decay


def bias_corrected(beta1: float, beta2: float, number: int) -> tuple[float, float]:
    """1 / (1 − β₁ᵗ), which multiplies m, and 1 / √(1 − β₂ᵗ), which multiplies √v."""
    return 1 / (1 - beta1**number), (1 - beta2**number) ** -0.5
