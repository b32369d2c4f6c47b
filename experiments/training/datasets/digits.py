"""Handwritten digits that come with scikit-learn: the test part of the UCI set of Alpaydin and Kaynak (1998)."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from experiments.errors import UsageFault
from experiments.training.dataset import Dataset
from experiments.training.datasets.raw import Raw, pictures

__all__ = ["Digits"]


@dataclass(frozen=True, slots=True)
class Digits:
    """1,797 pictures of 8 by 8 dots in 17 shades: 1,437 to learn from and 360 to test, by a fixed draw."""

    def read(self) -> Raw:
        """The file is read without scikit-learn, whose import takes two seconds of every process."""
        with gzip.open(_path(), "rt") as file:
            table = np.loadtxt(file, np.uint8, delimiter=",")
        table = table[np.random.default_rng(0).permutation(len(table))]
        dots, labels = table[:, :64].reshape(-1, 8, 8), np.ascontiguousarray(table[:, 64])
        arrays = dots[:_TRAIN], labels[:_TRAIN], dots[_TRAIN:], labels[_TRAIN:]
        return Raw(tuple(map(np.ascontiguousarray, arrays)), "scikit-learn's digits (UCI, Alpaydin and Kaynak 1998)")

    def dataset(self, raw: Raw) -> Dataset:
        """Shades 0 to 16."""
        return pictures("digits", raw, 16)


_TRAIN = 1437


def _path() -> Path:
    package = find_spec("sklearn")
    if package is not None and package.origin is not None:
        path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if path.exists():
            return path
    raise UsageFault("the data set digits comes with scikit-learn, which is not installed: pip install scikit-learn")
