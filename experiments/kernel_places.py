"""Where kernels are measured: arrays there, what copies them there, and how to wait until queued work is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from experiments.errors import UsageFault
from kernels import reduce
from kernels.device_array import LEGACY

__all__ = ["Place", "named"]

Array = Any


class Place(Protocol):
    """The host, or a device."""

    name: str

    def array(self, values: NDArray[Any]) -> Array:
        """An array with these values."""
        ...

    def copies(self, source: Array, target: Array) -> dict[str, Callable[[], object]]:
        """Ways to copy, by name: the fastest of them is what bandwidths are held against."""
        ...

    def wait(self) -> None:
        """Until all that was called is done."""
        ...


class _Host:
    name = "cpu"

    def array(self, values: NDArray[Any]) -> Array:
        return values.copy()

    def copies(self, source: Array, target: Array) -> dict[str, Callable[[], object]]:
        # NumPy's is the C library's memcpy; ours goes past the caches when it is large, like STREAM's.
        words = source.view(np.uint8), target.view(np.uint8)
        ours = reduce.get("bor").fold
        return {"memcpy": lambda: np.copyto(target, source), "stores past caches": lambda: ours((words[0],), words[1])}

    def wait(self) -> None:
        """Calls return when they are done."""


class _Device:
    name = "cuda"

    def __init__(self) -> None:
        from kernels.cuda.device import current

        found = current()
        if found is None:
            raise UsageFault("--device cuda: there is no CUDA device here (no driver, or none behind it); use cpu")
        self._device = found

    def array(self, values: NDArray[Any]) -> Array:
        array = self._device.allocate(values.nbytes).view(values.dtype)
        self._device.copy_in(array, values, LEGACY)
        self._device.synchronize(LEGACY)
        return array

    def copies(self, source: Array, target: Array) -> dict[str, Callable[[], object]]:
        return {"device copy": lambda: self._device.copy(target, source, LEGACY)}

    def wait(self) -> None:
        self._device.synchronize(LEGACY)


def named(name: str) -> Place:
    """``cpu`` or ``cuda``; UsageFault for others, and where there is no device."""
    places: dict[str, Callable[[], Place]] = {"cpu": _Host, "cuda": _Device}
    if name not in places:
        raise UsageFault(f"device {name!r} is not known; use cpu or cuda")
    return places[name]()
