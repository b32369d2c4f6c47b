"""What belongs to one MPI communicator, however many handles there are of it: our private twin of it, and prices.

It hangs on the communicator as an MPI attribute, so it is made once and goes when the communicator is freed.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from functools import cache
from typing import cast

import numpy as np
from mpi4py import MPI
from mpi4py.MPI import Intracomm

from collectives.executors.faults import CollectiveTimeout
from collectives.executors.interpreted import Interpreted
from collectives.profile import Profile, ProfileError
from collectives.selection import Prices

__all__ = ["Context", "existing", "of"]

_RECORD = struct.Struct("<d d d ? q")  # alpha, beta, gamma, measured, bytes of the error message that follows


@dataclass(slots=True)
class Context:
    """The executor over the private communicator, and the prices that all ranks use for selection."""

    executor: Interpreted
    prices: Prices


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
    context.executor.free()
    context.executor.comm.Free()


def _meet(comm: Intracomm, timeout: float | None) -> None:
    """Wait for all ranks in a way that can be given up: making a communicator can't."""
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
