"""Messages between ranks of which some may die at any moment: MPI's user-level failure mitigation (ULFM).

Open MPI 5 has it (``ciranda run --survive``): its runtime notices that a process is gone and tells all others, usually
within milliseconds. That is what chain replication asks for, a death that is a fact and no guess. Sources: Bland et
al., "Post-failure recovery of MPI communication capability" (IJHPCA 2013); Open MPI's documentation, "User-Level Fault
Mitigation". No communicator is shrunk: ranks keep their numbers, and nobody has to meet for that.
"""

from __future__ import annotations

import os
from collections import deque

import numpy as np
from mpi4py import MPI

from collectives.parameter_server.endpoint import WINDOW, Arrived, Endpoint
from collectives.parameter_server.messages import Bytes

__all__ = ["Deaths", "Parting", "SurvivingEndpoint", "enabled"]

_SWITCH = "OMPI_MCA_mpi_ft_enable"
_GONE = frozenset({MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING})


def enabled() -> bool:
    """Whether this job goes on when a rank dies: ``mpirun --with-ft ulfm`` says so to Open MPI's ranks."""
    return os.environ.get(_SWITCH, "0") not in ("0", "false")


class Deaths:
    """Which ranks of ``comm`` have died."""

    def __init__(self, comm: MPI.Comm) -> None:
        self._comm = comm
        self.ranks: frozenset[int] = frozenset()

    def new(self) -> tuple[int, ...]:
        """Those that died since the last call, in ascending order; receiving from any rank works again. No message."""
        group = self._comm.Get_failed()
        try:
            if group.size == len(self.ranks):
                return ()
            self._comm.Ack_failed(group.size)
            everyone = self._comm.Get_group()
            found = frozenset(group.Translate_ranks(None, everyone))
            everyone.Free()
        finally:
            group.Free()
        new = sorted(found - self.ranks)
        self.ranks = found
        return tuple(new)


class Parting:
    """An agreement of the ranks of ``comm`` that no more will be said, which the dead do not hold up."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm, self._flag = comm, np.ones(1, np.int32)
        self._request = comm.Iagree(self._flag)

    def done(self) -> bool:
        """Whether all who live have come to it. Go on with messages until then: somebody may need an answer."""
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


class SurvivingEndpoint(Endpoint):
    """An endpoint that drops what the dead were to get, and what they had not sent in whole; ``deaths`` names them."""

    def __init__(self, comm: MPI.Intracomm, window: int = WINDOW) -> None:
        super().__init__(comm, window)
        comm.Set_errhandler(MPI.ERRORS_RETURN)
        self.deaths = Deaths(comm)

    def bury(self, rank: int) -> None:
        """Forget what ``rank``, which is dead, was to get."""
        self._queues[rank].clear()
        self._sending[rank].clear()
        self._under_way[rank] = 0

    def receive(self) -> list[Arrived]:
        """What has arrived in whole, in the order in which each rank sent it."""
        try:
            self._begin()
        except MPI.Exception as fault:
            _only_deaths(fault)  # of one that ``deaths`` tells next
        found: list[Arrived] = []
        for source, receiving in enumerate(self._receiving):
            found += [Arrived(source, buffer) for buffer in _ended(receiving)]
        return found

    def _send_to(self, rank: int) -> bool:
        if rank not in self.deaths.ranks:
            try:
                return super()._send_to(rank)
            except MPI.Exception as fault:
                _only_deaths(fault)
        self.bury(rank)
        return False


def _ended(receiving: deque[tuple[MPI.Request, Bytes]]) -> list[Bytes]:
    found: list[Bytes] = []
    while receiving:
        try:
            if not receiving[0][0].Test():
                break
            found.append(receiving.popleft()[1])
        except MPI.Exception as fault:
            _only_deaths(fault)
            receiving.popleft()
    return found


def _only_deaths(fault: MPI.Exception) -> None:
    if fault.Get_error_class() not in _GONE:
        raise fault
