"""A data set as small as it is stored: what one rank reads, all the others are sent, and each makes its data set of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from experiments.training.dataset import Dataset

__all__ = ["Bytes", "Raw", "Source", "pictures"]

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """Contiguous arrays, and where they come from in words."""

    arrays: tuple[Bytes, ...]
    origin: str


class Source(Protocol):
    """Where a data set comes from, and how many samples of it are wanted."""

    def read(self) -> Raw:
        """From the disk of this host; UsageFault, naming the command that installs it, where it is not there."""
        ...

    def dataset(self, raw: Raw) -> Dataset:
        """The samples; the same bits on every host."""
        ...


def pictures(name: str, raw: Raw, brightest: int) -> Dataset:
    """From the arrays pictures (samples, height, width), labels, test pictures and test labels; ten classes."""
    train, labels, test, test_labels = raw.arrays
    return Dataset(
        name=name,
        inputs=_brightness(train, brightest),
        targets=labels.astype(np.int64),
        test_inputs=_brightness(test, brightest),
        test_targets=test_labels.astype(np.int64),
        classes=10,
        source=raw.origin,
    )


def _brightness(codes: Bytes, brightest: int) -> NDArray[np.float32]:
    """Between 0 and 1, with one channel."""
    return np.multiply(codes[..., None], np.float32(1 / brightest), dtype=np.float32)
