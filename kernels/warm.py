"""`python -m kernels.warm` compiles the usual forms and keeps them on disk: then no training step waits for them."""

from __future__ import annotations

import numpy as np

from kernels import norms, reduce
from kernels.cpu.arrays import HALVES

__all__ = ["compile_all"]

INPUTS = 2, 4, 8
"""How many vectors meet at once on one machine, usually."""


def compile_all() -> None:
    """What gradients go through: sums, averages, scale-and-add, norms of floating point; of halves, all operations."""
    for dtype in (np.dtype(np.float32), np.dtype(np.float64), *HALVES):
        arrays = [np.zeros(1, dtype) for _ in range(max(INPUTS))]
        for inputs in INPUTS:
            reduce.get("sum").fold(arrays[:inputs], arrays[0])
            reduce.average(arrays[:inputs], arrays[0])
        reduce.scale_add(arrays[0], arrays[1], 0.0, arrays[0])
        for norm in (norms.square_sum, norms.absmax, norms.nonfinite):
            norm(arrays[:2])
        for name in reduce.names() if dtype in HALVES else ["sum"]:
            if reduce.get(name).supports(dtype):
                reduce.get(name).on(dtype)


if __name__ == "__main__":
    compile_all()
