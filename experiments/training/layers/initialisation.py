"""Where weights begin, so that neither activations nor gradients grow or fade from layer to layer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["glorot", "he"]


def glorot(chance: np.random.Generator, inputs: int, outputs: int) -> NDArray[np.float32]:
    """Even between ±√(6/(inputs + outputs)): Glorot and Bengio 2010, equation 16. float32 (inputs, outputs)."""
    bound = math.sqrt(6 / (inputs + outputs))
    return chance.uniform(-bound, bound, (inputs, outputs)).astype(np.float32)


def he(chance: np.random.Generator, inputs: int, outputs: int) -> NDArray[np.float32]:
    """Normal with variance 2/inputs: He et al. 2015, equation 10. float32 (inputs, outputs)."""
    return chance.standard_normal((inputs, outputs), np.float32) * np.float32(math.sqrt(2 / inputs))
