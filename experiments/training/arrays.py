"""Where an array lives: NumPy for the host's memory, CuPy for a card's."""

from __future__ import annotations

import sys
from typing import Any

from experiments.training.flat import Array

__all__ = ["namespace"]


def namespace(array: Array) -> Any:
    """The module, NumPy or CuPy, that makes and works on arrays of this kind."""
    return sys.modules[type(array).__module__.partition(".")[0]]
