"""A text that every Python brings along: the sources of its own standard library."""

from __future__ import annotations

import platform
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.errors import UsageFault
from experiments.training.dataset import Dataset
from experiments.training.datasets.raw import Bytes, Raw

__all__ = ["PythonSources"]


@dataclass(frozen=True, slots=True)
class PythonSources:
    """The first ``length`` bytes of the modules in order of their names, in windows of ``context``.

    Modules whose names begin with _ are left out.
    A sample is a window, its targets are the bytes one further on. Every tenth window is for testing, for the last
    tenth of the text may be about something else. Other versions of Python give other text: the ranks of a run are
    sent that of rank 0.
    """

    length: int = 1_000_000
    context: int = 64

    def read(self) -> Raw:
        """As many files as it takes."""
        text, folder = bytearray(), Path(sysconfig.get_path("stdlib"))
        for path in sorted(folder.glob("[!_]*.py")):  # modules with _ are internals, and settings of one build
            text += path.read_bytes()
            if len(text) >= self.length:
                break
        if len(text) < self.length:
            raise UsageFault(f"{folder} has {len(text)} bytes of sources, and {self.length} are wanted")
        codes = np.frombuffer(text[: self.length], np.uint8)
        return Raw((codes,), f"the standard library's sources of Python {platform.python_version()}")

    def dataset(self, raw: Raw) -> Dataset:
        """256 classes: bytes."""
        (codes,) = raw.arrays
        count = (len(codes) - 1) // self.context
        if count < _TENTH:
            raise UsageFault(f"{self.length} bytes of text are fewer than {_TENTH} windows of {self.context} and one")
        inputs = self._windows(codes, count)
        targets = self._windows(codes[1:], count).astype(np.int64)
        tests = np.arange(count) % _TENTH == _TENTH - 1
        return Dataset(
            "python-sources", inputs[~tests], targets[~tests], inputs[tests], targets[tests],
            classes=256, source=raw.origin,
        )  # fmt: skip

    def _windows(self, codes: Bytes, count: int) -> Bytes:
        return codes[: count * self.context].reshape(count, self.context)


_TENTH = 10
