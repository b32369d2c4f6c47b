"""The drop-in class: mpi4py's ``Intracomm`` with our algorithms behind its blocking collectives on buffers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI
from mpi4py.typing import BufSpec, BufSpecB, BufSpecV, InPlace

from collectives import buffers, catalogue, context, layout, operations, selection
from collectives.buffers import Array, Block, Declined
from collectives.catalogue import Algorithm
from collectives.context import Context
from collectives.datatypes import Element
from collectives.executors.plan import Places, Plan, lower
from collectives.executors.signature import Signature
from collectives.handles import Handle
from collectives.operations import Combine
from collectives.profile import Profile
from collectives.selection import Explanation, Prices

__all__ = ["Communicator"]

log = logging.getLogger("ciranda")

_METHODS = {
    "bcast": "broadcast",
    "allgatherv": "allgather",
    "reduce_scatter_block": "reduce_scatter",
}


@dataclass(slots=True, eq=False)
class _Call:
    """All that a repeated call needs: the plan, elements of work memory (``work``), and how often it was used."""

    algorithm: Algorithm
    plan: Plan
    work: int
    writes: bool
    uses: int = 0


@dataclass(slots=True, eq=False)
class _Known:
    """A call together with the function it folds with."""

    call: _Call
    combine: Combine


class Communicator(Handle):
    """``Communicator(comm)`` is another handle of ``comm`` whose blocking collectives on buffers run our algorithms.

    The methods take what mpi4py's take, raise what they raise, and understand one keyword more: ``algorithm``, a name
    (``"ring"``, ``"chain:segments=16"``) or a catalogue entry; without it the fastest by prediction is taken.
    ``timeout`` (seconds, or ``CIRANDA_TIMEOUT``) makes a call that waits longer raise ``CollectiveTimeout``;
    ``check=True`` (or ``CIRANDA_CHECK=1``) compares the call among all ranks first and raises ``CollectiveMismatch``.

    What is not taken on (object and derived datatypes, pairs of operation and datatype that MPI lacks) goes to mpi4py's
    own method; ``explain`` counts that by reason, and the logger ``ciranda`` tells each one at level DEBUG.

    Wrapping is local. The first collective on a communicator makes a private one beside it (collective, once however
    many handles there are); freeing the communicator frees both.

    Cost of a call beside the algorithm's own: a copy of the input into the result where the call is not in place.
    """

    _held: Context | None
    _calls: dict[Hashable, _Call]
    _known: dict[Hashable, _Known]
    _passed_on: Counter[tuple[str, str]]
    _work: Array

    def __new__(
        cls, comm: MPI.Comm | None = None, *, timeout: float | None = None, check: bool | None = None
    ) -> Communicator:
        """Another handle of ``comm``; not collective."""
        self = super().__new__(cls, comm, timeout=timeout, check=check)
        self.forget()
        return self

    def forget(self) -> None:
        """Drop the plans and work memory of this handle; the next call makes them anew."""
        self._held = None
        self._calls, self._known, self._passed_on = {}, {}, Counter()
        self._work = np.empty(0, np.uint8)

    # --- collectives, in mpi4py's order -------------------------------------------------------------------------

    def Barrier(self, *, algorithm: str | Algorithm | None = None) -> None:
        """Wait until all ranks have come."""
        call = self._call("barrier", 0, 0, algorithm)
        self._execute(call, (), None, Signature("barrier", call.algorithm.label, "", "", 0))

    def Bcast(self, buf: BufSpec, root: int = 0, *, algorithm: str | Algorithm | None = None) -> None:
        """Broadcast ``buf`` of rank ``root`` to all."""
        try:
            return self._bcast(buf, root, algorithm)
        except Declined as reason:
            self._pass_on("broadcast", reason, algorithm)
        return super().Bcast(buf, root)

    def Allgather(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB, *, algorithm: str | Algorithm | None = None
    ) -> None:
        """Gather one block from every rank at every rank."""
        try:
            recv = buffers.block(recvbuf, writable=True, blocks=self.size)
            size, displs = recv.element.dtype.itemsize, range(0, self.size * recv.count, max(recv.count, 1))
            places = [displ * size for displ in displs] or [0] * self.size
            return self._allgather(sendbuf, recv.octets, [recv.nbytes] * self.size, places, algorithm, recv.finish)
        except Declined as reason:
            self._pass_on("allgather", reason, algorithm)
        return super().Allgather(sendbuf, recvbuf)

    def Allgatherv(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV, *, algorithm: str | Algorithm | None = None
    ) -> None:
        """Gather blocks of different lengths from every rank at every rank."""
        try:
            recv = buffers.vector(recvbuf, writable=True, blocks=self.size)
            size = recv.element.dtype.itemsize
            counts, displs = [count * size for count in recv.counts], [displ * size for displ in recv.displs]
            return self._allgather(sendbuf, recv.octets, counts, displs, algorithm, recv.finish)
        except Declined as reason:
            self._pass_on("allgather", reason, algorithm)
        return super().Allgatherv(sendbuf, recvbuf)

    def Alltoall(
        self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpecB, *, algorithm: str | Algorithm | None = None
    ) -> None:
        """Send block j of ``sendbuf`` to rank j, and receive block i of ``recvbuf`` from rank i."""
        try:
            return self._alltoall(sendbuf, recvbuf, algorithm)
        except Declined as reason:
            self._pass_on("alltoall", reason, algorithm)
        return super().Alltoall(sendbuf, recvbuf)

    def Reduce(
        self,
        sendbuf: BufSpec | InPlace,
        recvbuf: BufSpec | None,
        op: MPI.Op = MPI.SUM,
        root: int = 0,
        *,
        algorithm: str | Algorithm | None = None,
    ) -> None:
        """Combine all ranks' ``sendbuf`` by ``op`` into ``recvbuf`` of rank ``root``."""
        try:
            return self._reduce(sendbuf, recvbuf, op, root, algorithm)
        except Declined as reason:
            self._pass_on("reduce", reason, algorithm)
        return super().Reduce(sendbuf, recvbuf, op, root)

    def Allreduce(
        self,
        sendbuf: BufSpec | InPlace,
        recvbuf: BufSpec,
        op: MPI.Op = MPI.SUM,
        *,
        algorithm: str | Algorithm | None = None,
    ) -> None:
        """Combine all ranks' ``sendbuf`` by ``op`` into everybody's ``recvbuf``."""
        if type(recvbuf) is np.ndarray:
            known = self._known.get((recvbuf.dtype, recvbuf.shape, recvbuf.flags.num, op.handle, algorithm))
            if known is not None and not self.check and _repeats(sendbuf, recvbuf):
                known.call.uses += 1
                executor = self._context().executor
                executor.timeout = self.timeout
                executor.run(known.call.plan, (recvbuf,), known.combine)
                return None
        try:
            return self._allreduce(sendbuf, recvbuf, op, algorithm)
        except Declined as reason:
            self._pass_on("allreduce", reason, algorithm)
        return super().Allreduce(sendbuf, recvbuf, op)

    def Reduce_scatter_block(
        self,
        sendbuf: BufSpecB | InPlace,
        recvbuf: BufSpec | BufSpecB,
        op: MPI.Op = MPI.SUM,
        *,
        algorithm: str | Algorithm | None = None,
    ) -> None:
        """Combine all ranks' ``sendbuf`` by ``op``; rank i receives block i of the result."""
        try:
            in_place = sendbuf is MPI.IN_PLACE
            recv = buffers.block(recvbuf, writable=True, blocks=self.size if in_place else 1)
            send = recv if in_place else buffers.block(sendbuf, writable=False, blocks=self.size)
            return self._reduce_scatter(send, recv, [recv.count] * self.size, op, algorithm)
        except Declined as reason:
            self._pass_on("reduce_scatter", reason, algorithm)
        return super().Reduce_scatter_block(sendbuf, recvbuf, op)

    def Reduce_scatter(
        self,
        sendbuf: BufSpec | InPlace,
        recvbuf: BufSpec,
        recvcounts: Sequence[int] | None = None,
        op: MPI.Op = MPI.SUM,
        *,
        algorithm: str | Algorithm | None = None,
    ) -> None:
        """Combine all ranks' ``sendbuf`` by ``op``; rank i receives the next ``recvcounts[i]`` elements of the result."""
        try:
            recv = buffers.block(recvbuf, writable=True)
            send = recv if sendbuf is MPI.IN_PLACE else buffers.block(sendbuf, writable=False)
            if recvcounts is None and send is not recv:
                # From here on the others know our count, so mpi4py's method must not ask for it once more.
                recvcounts = self._counts(recv.count)
            return self._reduce_scatter(send, recv, _checked_counts(recvcounts, self.size), op, algorithm)
        except Declined as reason:
            self._pass_on("reduce_scatter", reason, algorithm)
        return super().Reduce_scatter(sendbuf, recvbuf, recvcounts, op)

    # --- why, and what was done -----------------------------------------------------------------------------------

    def explain(self, collective: str, nbytes: int = 0, *, op: MPI.Op = MPI.SUM, root: int = 0) -> Explanation:
        """What would be selected for ``nbytes`` bytes, with every candidate's predicted seconds; print it.

        ``collective`` is a catalogue name (``"allreduce"``) or a method's (``"Bcast"``). ``nbytes`` is the whole
        vector, for alltoall one rank's buffer. Not collective. Raises KeyError for an unknown collective.
        """
        name = _METHODS.get(collective.lower(), collective.lower())
        held = context.existing(self)
        prices, note = (held.prices, "") if held else self._own_prices()
        ordered = not op.Is_commutative()
        found = selection.candidates(name, self.size, nbytes, prices, ordered=ordered, root=root)
        offered = {candidate.algorithm.name for candidate in found}
        excluded = {
            other: f"does not work for {self.size} ranks, or not in rank order, which this operation needs"
            for other in catalogue.names(name)
            if other not in offered
        }
        calls: Counter[str] = Counter()
        for call in self._calls.values():
            if call.algorithm.collective == name:
                calls[call.algorithm.label] += call.uses
        passed_on = {reason: count for (kind, reason), count in self._passed_on.items() if kind == name}
        return Explanation(name, self.size, nbytes, prices, "interpreted", found, excluded, calls, passed_on, note)

    def _own_prices(self) -> tuple[Prices, str]:
        profile = Profile.find(self.size)
        prices = Prices(profile.alpha, profile.beta, profile.gamma, profile.measured)
        return prices, "no collective has run yet; from the first one on, the profile of rank 0 holds for all ranks"

    # --- one collective each --------------------------------------------------------------------------------------

    def _bcast(self, buf: BufSpec, root: int, algorithm: str | Algorithm | None) -> None:
        self._check_root(root)
        block = buffers.block(buf, writable=self.rank != root)
        call = self._call("broadcast", block.nbytes, block.nbytes, algorithm, root=root)
        self._execute(
            call, (block.octets,), None, Signature("broadcast", call.algorithm.label, "", "bytes", block.nbytes, root)
        )
        _finish(block)

    def _allgather(
        self,
        sendbuf: BufSpec | InPlace,
        octets: Array,
        counts: Sequence[int],
        displs: Sequence[int],
        algorithm: str | Algorithm | None,
        finish: Any,
    ) -> None:
        mine = octets[displs[self.rank] : displs[self.rank] + counts[self.rank]]
        if sendbuf is not MPI.IN_PLACE:
            send = buffers.block(sendbuf, writable=False)
            if send.nbytes != mine.size:
                raise Declined(f"{send.nbytes} bytes to send where {mine.size} are to be received")
            mine[...] = send.octets
        call = self._call("allgather", (tuple(counts), tuple(displs)), sum(counts), algorithm)
        self._execute(
            call, (octets,), None, Signature("allgather", call.algorithm.label, "", "bytes", sum(counts))
        )
        if finish is not None:
            finish()

    def _alltoall(
        self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpecB, algorithm: str | Algorithm | None
    ) -> None:
        recv = buffers.block(recvbuf, writable=True, blocks=self.size)
        in_place = sendbuf is MPI.IN_PLACE
        send = recv if in_place else buffers.block(sendbuf, writable=False, blocks=self.size)
        if send.nbytes != recv.nbytes:
            raise Declined(f"blocks of {send.nbytes} bytes to send and {recv.nbytes} to receive")
        nbytes = recv.nbytes * self.size
        call = self._call("alltoall", recv.nbytes, nbytes, algorithm)
        source, target = send.octets, recv.octets
        copied = nbytes if in_place or np.may_share_memory(source, target) else 0
        work = self._borrowed(call.work + copied, np.dtype(np.uint8))
        if copied:
            work[call.work :] = source
            source = work[call.work :]
        here = slice(self.rank * recv.nbytes, (self.rank + 1) * recv.nbytes)
        target[here] = source[here]
        self._execute(
            call, (source, target, work[: call.work]), None,
            Signature("alltoall", call.algorithm.label, "", "bytes", nbytes),
        )  # fmt: skip
        _finish(recv)

    def _allreduce(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: MPI.Op, algorithm: str | Algorithm | None
    ) -> None:
        recv = buffers.block(recvbuf, writable=True)
        combine, ordered = self._operation(op, recv.element)
        if sendbuf is not MPI.IN_PLACE:
            send = buffers.block(sendbuf, writable=False)
            _check_alike(send, recv)
            np.copyto(recv.array, send.array)
        nbytes = recv.nbytes
        call = self._call("allreduce", recv.count, nbytes, algorithm, ordered=ordered)
        self._execute(
            call, (recv.array,), combine,
            Signature("allreduce", call.algorithm.label, operations.name(op), recv.element.name, recv.count),
        )  # fmt: skip
        _finish(recv)
        if recv.array is recvbuf or (isinstance(recvbuf, np.ndarray) and recvbuf.ndim == 1):
            self._remember(recvbuf, op, algorithm, call, combine)

    def _reduce(
        self,
        sendbuf: BufSpec | InPlace,
        recvbuf: BufSpec | None,
        op: MPI.Op,
        root: int,
        algorithm: str | Algorithm | None,
    ) -> None:
        self._check_root(root)
        recv = buffers.block(recvbuf, writable=True) if self.rank == root else None
        in_place = recv is not None and sendbuf is MPI.IN_PLACE
        send = recv if recv is not None and in_place else buffers.block(sendbuf, writable=False)
        combine, ordered = self._operation(op, send.element)
        call = self._call("reduce", send.count, send.nbytes, algorithm, ordered=ordered, root=root)
        vector = send.array
        if recv is not None:
            _check_alike(send, recv)
            vector = recv.array
        elif call.writes:
            vector = self._borrowed(send.count, send.element.dtype)
        if vector is not send.array:
            np.copyto(vector, send.array)
        self._execute(
            call, (vector,), combine,
            Signature("reduce", call.algorithm.label, operations.name(op), send.element.name, send.count, root),
        )  # fmt: skip
        if recv is not None:
            _finish(recv)

    def _reduce_scatter(
        self, send: Block, recv: Block, counts: Sequence[int], op: MPI.Op, algorithm: str | Algorithm | None
    ) -> None:
        combine, ordered = self._operation(op, send.element)
        mine, total = counts[self.rank], sum(counts)
        if send.array.size != total or (send is not recv and recv.count != mine):
            raise Declined("counts that do not suit the buffers")
        if send.element.key != recv.element.key:
            raise Declined("different datatypes to send and to receive")
        displs = [sum(counts[:rank]) for rank in range(self.size)]
        nbytes = total * send.element.dtype.itemsize
        call = self._call("reduce_scatter", (tuple(counts), tuple(displs)), nbytes, algorithm, ordered=ordered)
        work = self._borrowed(total, send.element.dtype)
        np.copyto(work, send.array)
        self._execute(
            call, (work,), combine,
            Signature("reduce_scatter", call.algorithm.label, operations.name(op), send.element.name, total),
        )  # fmt: skip
        recv.array[:mine] = work[displs[self.rank] : displs[self.rank] + mine]
        _finish(recv)

    # --- what they share --------------------------------------------------------------------------------------------

    def _context(self) -> Context:
        if self._held is None:
            if self == MPI.COMM_NULL:
                raise Declined("a null communicator")
            self._held = context.of(self)
        return self._held

    def _check_root(self, root: int) -> None:
        if not 0 <= root < self.size:
            raise Declined(f"root {root} is not one of the {self.size} ranks")

    def _counts(self, count: int) -> list[int]:
        counts = np.zeros(self.size, np.int64)
        self.Allgather(np.array([count], np.int64), counts)
        return counts.tolist()

    def _operation(self, op: MPI.Op, element: Element) -> tuple[Combine, bool]:
        """The function that folds, and whether rank order must be kept."""
        combine = operations.combiner(op, element)
        if combine is None:
            raise Declined(f"{operations.name(op)} on {element.name}")
        return combine, not op.Is_commutative()

    def _call(
        self,
        collective: str,
        shape: Hashable,
        nbytes: int,
        algorithm: str | Algorithm | None,
        *,
        ordered: bool = False,
        root: int = 0,
    ) -> _Call:
        """The plan for such a call, from the cache or built now."""
        key = (collective, shape, nbytes, algorithm, ordered, root)
        call = self._calls.get(key)
        if call is None:
            prices = self._context().prices
            if algorithm is None:
                entry = selection.choose(collective, self.size, nbytes, prices, ordered=ordered, root=root)
            else:
                entry = selection.resolve(algorithm, collective, self.size, ordered=ordered, root=root)
            call = self._calls[key] = self._lowered(entry, shape)
        return call

    def _lowered(self, entry: Algorithm, shape: Any) -> _Call:
        places: Places
        work = 0
        if entry.collective in ("allreduce", "reduce"):
            places = layout.whole(entry, self.size, shape)
        elif entry.collective == "broadcast":
            places = layout.whole(entry, self.size, shape, layout.grain(shape))
        elif entry.collective == "alltoall":
            places, work = layout.exchange(entry, self.rank, self.size, shape)
        elif entry.collective == "barrier":
            places = layout.pieces((), ())
        else:
            places = layout.pieces(*shape)
        plan = lower(entry, self.rank, self.size, places)
        return _Call(entry, plan, work, any(step.receives for step in plan.steps))

    def _execute(self, call: _Call, arrays: Sequence[Array], combine: Combine | None, signature: Signature) -> None:
        executor = self._context().executor
        executor.timeout = self.timeout
        if self.check:
            executor.verify(signature)
        call.uses += 1
        executor.run(call.plan, arrays, combine)

    def _remember(
        self, recvbuf: Array, op: MPI.Op, algorithm: str | Algorithm | None, call: _Call, combine: Combine
    ) -> None:
        # Handles of user-defined operations are used again after Free, so only the predefined are remembered by them.
        if op.is_predefined:
            key = (recvbuf.dtype, recvbuf.shape, recvbuf.flags.num, op.handle, algorithm)
            self._known[key] = _Known(call, combine)

    def _borrowed(self, count: int, dtype: np.dtype[Any]) -> Array:
        """Work memory that is kept from call to call."""
        nbytes = count * dtype.itemsize
        if self._work.size < nbytes:
            self._work = np.empty(nbytes, np.uint8)
        return self._work[:nbytes].view(dtype)

    def _pass_on(self, collective: str, reason: Declined, algorithm: str | Algorithm | None) -> None:
        self._passed_on[collective, str(reason)] += 1
        level = logging.DEBUG if algorithm is None else logging.WARNING
        log.log(level, "%s goes to mpi4py's own method: %s", collective, reason)
        if self.check and self != MPI.COMM_NULL:
            self._context().executor.verify(Signature(collective, "mpi4py's own", "", str(reason), 0))


def _repeats(sendbuf: object, recvbuf: Array) -> bool:
    """Whether a remembered call fits; if so the input is now in ``recvbuf``."""
    if sendbuf is MPI.IN_PLACE:
        return True
    if type(sendbuf) is not np.ndarray or sendbuf.dtype != recvbuf.dtype or sendbuf.shape != recvbuf.shape:
        return False
    if not sendbuf.flags.c_contiguous:
        return False
    np.copyto(recvbuf, sendbuf)
    return True


def _check_alike(send: Block, recv: Block) -> None:
    if send.element.key != recv.element.key or send.count != recv.count:
        raise Declined("different datatypes or counts to send and to receive")


def _checked_counts(counts: Sequence[int] | None, size: int) -> list[int]:
    if counts is None or len(counts) != size:
        raise Declined("receive counts that do not suit the communicator")
    return [int(count) for count in counts]


def _finish(block: Block) -> None:
    if block.finish is not None:
        block.finish()
