"""What each optimiser does to one weight ``w`` with gradient ``g``: (w, g, state ..., coefficients) -> (w, state ...).

All numbers are of one floating-point type, and so are the constants, for Numba computes ``1 - float32`` in float64:
that is why ``1 - β`` arrives as a coefficient. Products go through ``times``, which the CUDA form keeps from being
fused with a sum. Square root and division are correctly rounded on both, so the two forms agree bit for bit.
"""

from __future__ import annotations

from math import sqrt

__all__ = ["FORMULAS", "adagrad", "adam", "adamw", "lamb", "momentum", "nesterov", "sgd", "times", "trust"]


def times(left: float, right: float) -> float:
    """The product, rounded."""
    return left * right


def sgd(w: float, g: float, c: tuple[float, float]) -> float:
    """The weight after a step down the gradient."""
    rate, decay = c
    return w - times(rate, g + times(decay, w))


def momentum(w: float, g: float, v: float, c: tuple[float, float, float]) -> tuple[float, float]:
    """Weight and velocity."""
    rate, kept, decay = c
    v = times(kept, v) - times(rate, g + times(decay, w))
    return w + v, v


def nesterov(w: float, g: float, v: float, c: tuple[float, float, float]) -> tuple[float, float]:
    """Weight, kept where the next gradient is wanted (θ + μv), and velocity."""
    rate, kept, decay = c
    down = times(rate, g + times(decay, w))
    v = times(kept, v) - down
    return w + (times(kept, v) - down), v


def adagrad(w: float, g: float, s: float, c: tuple[float, float, float]) -> tuple[float, float]:
    """Weight and sum of squares."""
    rate, epsilon, decay = c
    g += times(decay, w)
    s += times(g, g)
    return w - times(rate, g) / (sqrt(s) + epsilon), s


def adam(
    w: float, g: float, m: float, v: float, c: tuple[float, float, float, float, float, float, float, float]
) -> tuple[float, float, float]:
    """Weight, mean and mean square; the first coefficient is α / (1 - β₁ᵗ), ``root`` is 1 / √(1 - β₂ᵗ)."""
    rate, kept1, new1, kept2, new2, root, epsilon, decay = c
    g += times(decay, w)
    m = times(kept1, m) + times(new1, g)
    v = times(kept2, v) + times(new2, times(g, g))
    return w - times(rate, m) / (times(sqrt(v), root) + epsilon), m, v


def adamw(
    w: float, g: float, m: float, v: float, c: tuple[float, float, float, float, float, float, float, float]
) -> tuple[float, float, float]:
    """As ``adam``, but the decay shrinks the weight and leaves the gradient alone."""
    rate, kept1, new1, kept2, new2, root, epsilon, shrink = c
    m = times(kept1, m) + times(new1, g)
    v = times(kept2, v) + times(new2, times(g, g))
    return (w - times(shrink, w)) - times(rate, m) / (times(sqrt(v), root) + epsilon), m, v


def lamb(
    w: float, g: float, m: float, v: float, c: tuple[float, float, float, float, float, float, float, float]
) -> tuple[float, float, float]:
    """The update before it is scaled to the weights' norm (not the weight), mean and mean square."""
    mean, kept1, new1, kept2, new2, root, epsilon, decay = c
    m = times(kept1, m) + times(new1, g)
    v = times(kept2, v) + times(new2, times(g, g))
    return times(mean, m) / (times(sqrt(v), root) + epsilon) + times(decay, w), m, v


def trust(own: float, other: float, c: tuple[float, float, float]) -> float:
    """``own`` norm against the ``other``'s, 1 where either is zero, NaN where either is."""
    gain, share, kept = c
    if own == 0 or other == 0:
        return 1.0
    return times(gain, own) / (times(share, other) + times(kept, own))


FORMULAS = sgd, momentum, nesterov, adagrad, adam, adamw, lamb
