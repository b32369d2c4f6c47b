"""Messages between ranks of which some may die at any moment: MPI's user-level failure mitigation (ULFM).

Open MPI 5 has it (``ciranda run --survive``): its runtime notices that a process is gone and tells all others, usually
within milliseconds. That is what chain replication asks for, a death that is a fact and no guess. Sources: Bland et
al., "Post-failure recovery of MPI communication capability" (IJHPCA 2013); Open MPI's documentation, "User-Level Fault
Mitigation". No communicator is shrunk: ranks keep their numbers, and nobody has to meet for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from collectives.parameter_server.messages import Message, packed, parsed

__all__ = ["Arrival", "Deaths", "Parting", "Post"]

_GONE = frozenset({MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING})


class Deaths:
    """Which ranks of ``comm`` have died. ``comm`` must return errors (``MPI.ERRORS_RETURN``)."""

    def __init__(self, comm: MPI.Comm) -> None:
        self._comm = comm
        self.ranks: frozenset[int] = frozenset()

    def new(self) -> tuple[int, ...]:
        """Those that died since the last call, in ascending order; receiving from any rank works again. No message."""
        group = self._comm.Get_failed()
        if group.size == len(self.ranks):
            group.Free()
            return ()
        everyone = self._comm.Get_group()
        found = frozenset(group.Translate_ranks(None, everyone))
        self._comm.Ack_failed(group.size)
        group.Free()
        everyone.Free()
        new = sorted(found - self.ranks)
        self.ranks = found
        return tuple(new)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message and the rank that sent it."""

    source: int
    message: Message


class Parting:
    """An agreement that no more is to be said, which the dead do not hold up."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm, self._flag = comm, np.ones(1, np.int32)
        self._request = comm.Iagree(self._flag)

    def done(self) -> bool:
        """Whether all who live have come to it."""
        try:
            return self._request.Test()
        except MPI.Exception as fault:
            _only_deaths(fault)
        # All of the living got this error, and begin anew without the dead that they know of now.
        group = self._comm.Get_failed()
        self._comm.Ack_failed(group.size)
        group.Free()
        self._request = self._comm.Iagree(self._flag)
        return False


class Post:
    """Sends and receives messages of run ``run`` on a private copy of ``comm``; what the dead were to get is dropped.

    Collective. Nothing here waits: call ``arrivals`` again and again, for MPI makes progress there.
    """

    def __init__(self, comm: MPI.Intracomm, run: int) -> None:
        self.comm = comm.Dup()
        self.comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.deaths = Deaths(self.comm)
        self.run = run
        self._leaving: list[tuple[MPI.Request, NDArray[np.uint8]]] = []

    def send(self, rank: int, message: Message) -> None:
        """Send without waiting. Its bytes are copied."""
        if rank in self.deaths.ranks:
            return
        buffer = packed(message, self.run)
        try:
            self._leaving.append((self.comm.Isend(buffer, rank), buffer))
        except MPI.Exception as fault:
            _only_deaths(fault)

    def arrivals(self) -> Iterator[Arrival]:
        """All that has arrived. Refused for a message that cannot be trusted."""
        self._leaving = [each for each in self._leaving if not _done(each[0])]
        while (arrival := self._next()) is not None:
            yield arrival

    def parting(self) -> Parting:
        """Begin to part: done when all living ranks have begun. Go on with ``arrivals`` until then."""
        return Parting(self.comm)

    @property
    def idle(self) -> bool:
        """Whether all that was sent has left."""
        return not self._leaving

    def _next(self) -> Arrival | None:
        status = MPI.Status()
        try:
            found = self.comm.Improbe(status=status)
            if found is None:
                return None
            buffer = np.empty(status.Get_count(MPI.BYTE), np.uint8)
            found.Recv(buffer)
        except MPI.Exception as fault:
            _only_deaths(fault)  # of the sender while its message was on the way, or one that ``deaths`` tells next
            return None
        return Arrival(status.source, parsed(buffer, self.run, f"rank {status.source}"))


def _done(request: MPI.Request) -> bool:
    try:
        return request.Test()
    except MPI.Exception as fault:
        _only_deaths(fault)
        return True


def _only_deaths(fault: MPI.Exception) -> None:
    if fault.Get_error_class() not in _GONE:
        raise fault
