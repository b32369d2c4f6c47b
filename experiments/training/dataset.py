"""What a data set is: samples to learn from and samples to judge by, in the host's memory, alike on all ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Dataset"]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """``inputs`` of shape (samples, ...) and int64 ``targets`` of shape (samples,), or (samples, length) for text.

    Pictures are float32 between 0 and 1, of shape (samples, height, width, channels); text is uint8 codes.
    ``classes``: how many different targets there are.
    """

    name: str
    inputs: NDArray[Any]
    targets: NDArray[np.int64]
    test_inputs: NDArray[Any]
    test_targets: NDArray[np.int64]
    classes: int
    source: str
