"""What belongs to one MPI communicator, however many handles there are of it: our private twin of it, prices, ways.

It hangs on the communicator as an MPI attribute, so it is made once and goes when the communicator is freed.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
from mpi4py import MPI
from mpi4py.MPI import Intracomm

from collectives import cuda_aware
from collectives.executors.direct import Direct
from collectives.executors.faults import CollectiveTimeout
from collectives.executors.interpreted import Interpreted
from collectives.executors.on_device import OnDevice
from collectives.executors.staged import Staged
from collectives.profile import Profile, ProfileError
from collectives.selection import Prices

__all__ = ["Context", "Way", "existing", "of"]

_RECORD = struct.Struct("<d d d ? q")  # alpha, beta, gamma, measured, bytes of the error message that follows


@dataclass(slots=True)
class Context:
    """The executor over the private communicator, and the prices that all ranks use for selection.

    ``way`` is how messages leave device memory, None before the first collective on device memory.
    """

    executor: Interpreted
    prices: Prices
    way: Way | None = None
    _on_device: OnDevice[Any] | None = None

    def on_device(self) -> OnDevice[Any]:
        """The executor for device memory. The first time this is collective: all ranks take the same way."""
        if self._on_device is None:
            self.way = _agreed_way(self.executor)
            self._on_device = Direct(self.executor) if self.way.direct else Staged(self.executor)
        return self._on_device

    def free(self) -> None:
        """Give the executors' requests and memory back, and the private communicator."""
        if self._on_device is not None:
            self._on_device.free()
        self.executor.free()
        self.executor.comm.Free()


@dataclass(frozen=True, slots=True)
class Way:
    """Straight from device memory, or staged through host memory; ``reason`` tells why, in words."""

    direct: bool
    reason: str

    def __str__(self) -> str:
        """A line for people."""
        way = "straight to MPI" if self.direct else "staged through pinned host memory"
        return f"buffers on a device go {way} ({self.reason})"


def existing(comm: MPI.Comm) -> Context | None:
    """The context of this communicator if it has one; not collective."""
    return cast("Context | None", comm.Get_attr(_keyval()))


def of(comm: Intracomm, timeout: float | None) -> Context:
    """The context of this communicator. The first time this is collective: it makes the private communicator.

    It is called by the first collective that we run, which all ranks enter anyway; so wrapping a communicator stays
    local. Raises ProfileError on all ranks if rank 0 has a profile that it cannot read, and CollectiveTimeout if the
    others don't come within ``timeout`` seconds (the communicator is then spent).
    """
    context = existing(comm)
    if context is None:
        _meet(comm, timeout)
        # Dup would call the user's attribute callbacks and copy the topology; Create does neither.
        group = comm.Get_group()
        private = Intracomm.Create(comm, group)
        group.Free()
        assert isinstance(private, Intracomm)
        try:
            context = Context(Interpreted(private), _agreed_prices(private))
        except ProfileError:
            private.Free()
            raise
        comm.Set_attr(_keyval(), context)
    return context


@cache
def _keyval() -> int:
    return MPI.Comm.Create_keyval(delete_fn=_release)


def _release(comm: MPI.Comm, keyval: int, context: Context) -> None:
    """Called by MPI when the communicator is freed, on all its ranks, so freeing the private one can't hang."""
    context.free()


def _agreed_way(executor: Interpreted) -> Way:
    """Direct only if every rank's MPI takes device memory; a rank that could, but for another, says so."""
    own = cuda_aware.examine()
    _meet(executor.comm, executor.timeout)
    aware = np.array([own.aware], np.int8)
    Intracomm.Allreduce(executor.comm, MPI.IN_PLACE, aware, MPI.MIN)
    if own.aware and not aware[0]:
        return Way(False, "on another rank MPI does not take device memory, and all must go one way")
    return Way(own.aware, own.reason)


def _meet(comm: Intracomm, timeout: float | None) -> None:
    """Wait for all ranks in a way that can be given up: making a communicator, or agreeing, can't."""
    request = Intracomm.Ibarrier(comm)
    deadline = None if timeout is None else time.monotonic() + timeout
    while deadline is not None and not request.Test():
        if time.monotonic() > deadline:
            who = "not every other rank has come"
            raise CollectiveTimeout(comm.rank, 0, 1, "the first call on this communicator", timeout or 0, (who,))
        time.sleep(1e-4)
    request.Wait()


def _agreed_prices(comm: Intracomm) -> Prices:
    """Rank 0's prices at every rank, as fixed binary: a profile on another node may differ, and choices must not."""
    error, record = b"", _RECORD.pack(0, 0, 0, False, 0)
    if comm.rank == 0:
        try:
            profile = Profile.find(comm.size)
            record = _RECORD.pack(profile.alpha, profile.beta, profile.gamma, profile.measured, 0)
        except ProfileError as problem:
            error = str(problem).encode()
            record = _RECORD.pack(0, 0, 0, False, len(error))
    shared = np.frombuffer(bytearray(record), np.uint8)
    comm.Bcast(shared)
    alpha, beta, gamma, measured, length = _RECORD.unpack(shared.tobytes())
    if length:
        text = np.frombuffer(bytearray(error or bytes(length)), np.uint8)
        comm.Bcast(text)
        raise ProfileError(f"rank 0: {text.tobytes().decode()}")
    return Prices(alpha, beta, gamma, measured)
