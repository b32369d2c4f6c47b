"""A pytest plugin that puts the card in the place of the PTX interpreter: the same tests, on hardware.

    python -m pytest -p tests.gpu.card tests/kernels/test_cuda_reduce.py

Not yet run on hardware.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.cuda import presence
from kernels.cuda.hardware import Hardware
from kernels.cuda.kernel import Kernel
from kernels.device_array import LEGACY, DeviceArray
from tests.ptx import device


class Card(Hardware):
    """The first card, with what tests of the interpreter use beside the protocol; it is late by nature."""

    def __init__(self, capability: object = None, *, delayed: bool = True, watched: bool = False) -> None:
        if not presence.count():
            raise RuntimeError("there is no CUDA device here: make test-gpu is for machines with one")
        super().__init__(0)
        self.asked = capability, delayed, watched
        self.trace: list[tuple[str, int]] = []

    def launch(self, kernel: Kernel, blocks: int, arguments: Any, stream: int = LEGACY) -> None:
        self.trace.append((f"launch {kernel.name}", stream))
        super().launch(kernel, blocks, arguments, stream)

    def synchronize(self, stream: int) -> None:
        self.trace.append(("synchronize", stream))
        super().synchronize(stream)

    def array(self, values: np.ndarray, *, offset: int = 0, stream: int = LEGACY) -> DeviceArray:
        part = self.allocate(values.nbytes + offset, stream)[offset:]
        if values.nbytes:
            self.copy_in(part, np.ascontiguousarray(values).reshape(-1).view(np.uint8), stream)
            super().synchronize(stream)
        return part.view(values.dtype)

    def values(self, array: DeviceArray) -> np.ndarray:
        host = np.empty(array.nbytes, np.uint8)
        if array.nbytes:
            self.copy_out(host, array.view(np.uint8), array.stream)
            super().synchronize(array.stream)
        return host.view(array.dtype)


def pytest_configure() -> None:
    device.Emulated = Card  # type: ignore[misc]
