"""Where the benchmark's vectors lie, in the host or on a CUDA device: made, filled, looked at, and called upon."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from experiments.errors import Failure

if TYPE_CHECKING:
    from kernels.cuda.device import Device

__all__ = ["HOST", "Host", "OnDevice", "Vectors", "of"]

Vector = NDArray[Any]
Call = Callable[[], object]


class Vectors(Protocol):
    """Vectors of one place."""

    def describe(self) -> dict[str, str]:
        """Where they lie and what moves them, for the records: ``device`` and ``executor``."""
        ...

    def place(self, values: Vector) -> Any:
        """A vector there with these values."""
        ...

    def fill(self, vector: Any, values: Vector | int) -> None:
        """Overwrite the vector."""
        ...

    def look(self, vector: Any) -> Vector:
        """What the vector holds, in the host."""
        ...

    def timed(self, call: Call) -> Call:
        """The call as it is timed: complete when it returns."""
        ...

    def native(self, comm: MPI.Intracomm, source: Any, result: Any, op: MPI.Op) -> Call:
        """The MPI library's own allreduce on such vectors."""
        ...


class Host:
    """NumPy arrays."""

    def describe(self) -> dict[str, str]:
        """The interpreted executor moves them."""
        return {"device": "cpu", "executor": "interpreted"}

    def place(self, values: Vector) -> Vector:
        """The array itself."""
        return values

    def fill(self, vector: Vector, values: Vector | int) -> None:
        """Overwrite the array."""
        vector[:] = values

    def look(self, vector: Vector) -> Vector:
        """The array itself."""
        return vector

    def timed(self, call: Call) -> Call:
        """The call itself."""
        return call

    def native(self, comm: MPI.Intracomm, source: Any, result: Any, op: MPI.Op) -> Call:
        """Plain MPI_Allreduce."""
        return partial(comm.Allreduce, source, result, op)


HOST = Host()


class OnDevice:
    """DeviceArrays on one stream of the device. ``direct``: whether the MPI library takes their addresses.

    If not, its own allreduce is what a program would do by hand: copy out, MPI_Allreduce, copy in, all at once.
    """

    def __init__(self, device: Device, *, direct: bool) -> None:
        self._device, self._direct, self._stream = device, direct, device.stream()

    def describe(self) -> dict[str, str]:
        """The direct or the staged executor moves them; ``device_name`` is the card's."""
        executor = "direct" if self._direct else "staged"
        return {"device": "cuda", "device_name": self._device.name, "executor": executor}

    def place(self, values: Vector) -> Any:
        """A copy on the device."""
        placed = self._device.allocate(values.nbytes, self._stream).view(values.dtype)
        self._into(placed, values)
        return placed

    def fill(self, vector: Any, values: Any) -> None:
        """Overwrite by another device vector, or by a number."""
        if isinstance(values, int):
            self._into(vector, cast("Vector", np.full(vector.size, values, vector.dtype)))
        elif vector.size:
            self._device.copy(vector, values, self._stream)

    def look(self, vector: Any) -> Vector:
        """A copy in the host."""
        host = np.empty(vector.size, vector.dtype)
        self._device.copy_out(host.view(np.uint8), vector.view(np.uint8), self._stream)
        self._device.synchronize(self._stream)
        return host

    def timed(self, call: Call) -> Call:
        """The call and the wait for what it has queued."""

        def complete() -> None:
            call()
            self._device.synchronize(self._stream)

        return complete

    def native(self, comm: MPI.Intracomm, source: Any, result: Any, op: MPI.Op) -> Call:
        """MPI_Allreduce on device memory, or by way of the host."""
        if self._direct:
            return partial(self._straight, comm, source, result, op)
        host = self._device.pinned(result.nbytes).view(result.dtype)
        return partial(self._by_hand, comm, result if source is MPI.IN_PLACE else source, result, host, op)

    def _straight(self, comm: MPI.Intracomm, source: Any, result: Any, op: MPI.Op) -> None:
        self._device.synchronize(self._stream)
        comm.Allreduce(source, result, op)

    def _by_hand(self, comm: MPI.Intracomm, source: Any, result: Any, host: Vector, op: MPI.Op) -> None:
        self._device.copy_out(host.view(np.uint8), source.view(np.uint8), self._stream)
        self._device.synchronize(self._stream)
        comm.Allreduce(MPI.IN_PLACE, host, op)
        self._into(result, host)

    def _into(self, vector: Any, values: Vector) -> None:
        self._device.copy_in(vector.view(np.uint8), values.view(np.uint8), self._stream)
        self._device.synchronize(self._stream)


def of(device: str, comm: MPI.Intracomm) -> Vectors:
    """The vectors of a kind of device, on a rank; collective. Failure where a rank has none."""
    if device == "cpu":
        return HOST
    from collectives import cuda_aware
    from kernels.cuda.device import current

    found = current()
    missing = np.array([found is None], np.int8)
    comm.Allreduce(MPI.IN_PLACE, missing, MPI.MAX)
    if found is None or missing[0]:
        raise Failure("not every rank has a CUDA device")
    direct = np.array([cuda_aware.examine().aware], np.int8)
    comm.Allreduce(MPI.IN_PLACE, direct, MPI.MIN)
    return OnDevice(found, direct=bool(direct[0]))
