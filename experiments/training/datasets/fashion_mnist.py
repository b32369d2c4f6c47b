"""Fashion-MNIST from Debian's package: pictures of clothes from Zalando (Xiao, Rasul and Vollgraf 2017)."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.errors import UsageFault
from experiments.training.dataset import Dataset
from experiments.training.datasets.raw import Bytes, Raw, pictures

__all__ = ["FashionMnist"]


@dataclass(frozen=True, slots=True)
class FashionMnist:
    """The first of 60,000 pictures of 28 by 28 dots in 256 shades, and the first of 10,000 to test by."""

    samples: int = 60_000
    tests: int = 10_000
    folder: Path = Path("/usr/share/datasets/fashion-mnist")

    def read(self) -> Raw:
        """Four files in IDX form, packed by gzip."""
        if not self.folder.is_dir():
            raise UsageFault(
                f"the data set fashion-mnist is not in {self.folder}: sudo apt install dataset-fashion-mnist"
            )
        arrays = (*self._part("train", self.samples), *self._part("t10k", self.tests))
        return Raw(arrays, "Fashion-MNIST (Xiao, Rasul and Vollgraf 2017), Debian's package dataset-fashion-mnist")

    def dataset(self, raw: Raw) -> Dataset:
        """Shades 0 to 255."""
        return pictures("fashion-mnist", raw, 255)

    def _part(self, part: str, wanted: int) -> tuple[Bytes, Bytes]:
        dots = _idx(self.folder / f"{part}-images-idx3-ubyte.gz", 3, wanted)
        labels = _idx(self.folder / f"{part}-labels-idx1-ubyte.gz", 1, wanted)
        if labels.max() > 9:
            raise UsageFault(f"{self.folder}: a label of {part} is {labels.max()}, more than 9: {_ANEW}")
        return dots, labels


_ANEW = "install it anew by sudo apt reinstall dataset-fashion-mnist"


def _idx(path: Path, dimensions: int, wanted: int) -> Bytes:
    """The first ``wanted`` items of an IDX file of bytes: magic 0, 0, 8, dimensions; their lengths; the bytes."""
    try:
        with gzip.open(path) as file:
            magic, *shape = struct.unpack(f">{1 + dimensions}I", file.read(4 + 4 * dimensions))
            if magic != 0x800 + dimensions:
                raise ValueError(f"its magic number is {magic:#x}, not {0x800 + dimensions:#x}")
            if wanted > shape[0]:
                raise ValueError(f"it has {shape[0]} items, and {wanted} are wanted")
            shape[0] = wanted
            return np.frombuffer(file.read(int(np.prod(shape))), np.uint8).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error) as fault:
        raise UsageFault(f"{path}: {fault}: take fewer, or {_ANEW}") from fault
