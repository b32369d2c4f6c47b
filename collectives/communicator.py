"""The drop-in class: mpi4py's ``Intracomm`` with our algorithms behind its blocking collectives on buffers."""

from __future__ import annotations

# ruff: noqa: N802 - the methods' names are mpi4py's
import logging
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from mpi4py import MPI
from mpi4py.typing import BufSpec, BufSpecB, BufSpecV, InPlace

from collectives import buffers, context, cuda_aware, selection
from collectives.buffers import Declined, Vector
from collectives.compression.calls import Compressed, encoded_prices
from collectives.compression.explained import on_wire
from collectives.compression.memory import Compress, method_of
from collectives.explanation import Explanation
from collectives.handles import Handle
from collectives.profile import Profile
from collectives.runner import Choice, Runner
from collectives.selection import Prices

__all__ = ["Communicator"]

log = logging.getLogger("ciranda")


class Communicator(Handle):
    """``Communicator(comm)`` is another handle of ``comm`` whose blocking collectives on buffers run our algorithms.

    The methods take what mpi4py's take, raise what they raise, and understand one keyword more: ``algorithm``, a name
    (``"ring"``, ``"chain:segments=16"``) or a catalogue entry; without it the fastest by prediction is taken.
    ``timeout`` (seconds, or ``CIRANDA_TIMEOUT``) makes a call that waits longer raise ``CollectiveTimeout``;
    ``check=True`` (or ``CIRANDA_CHECK=1``) compares the call among all ranks first and raises ``CollectiveMismatch``.

    What is not taken on (object dtypes, reductions of derived datatypes, pairs of operation and datatype that MPI
    lacks, wrong arguments) goes to mpi4py's own method; ``explain`` counts that by reason, and the logger ``ciranda``
    tells each one: at level DEBUG, or WARNING if an algorithm was asked for.

    Arrays on a CUDA device are worked on where they are, on their stream (docs/devices.md).

    Wrapping is local. The first collective on a communicator makes a private one beside it (collective, once however
    many handles there are); freeing the communicator frees both.

    Cost of a call beside its messages: a copy of the input to where the result goes, if the call is not in place.
    """

    _runner: Runner | None = None
    _compressed: Compressed | None = None

    @cached_property
    def _passed_on(self) -> Counter[tuple[str, str]]:
        return Counter()

    def forget(self) -> None:
        """Drop the plans, counts and work memory of this handle; the next call makes them anew."""
        self._runner = self._compressed = None
        self._passed_on.clear()

    # --- the collectives, in mpi4py's order -----------------------------------------------------------------------

    def Barrier(self, *, algorithm: Choice = None) -> None:
        """Wait until all ranks have come."""
        try:
            return self._running().barrier(algorithm)
        except Declined as reason:
            self._pass_on("barrier", reason, algorithm)
        return super().Barrier()

    def Bcast(self, buf: BufSpec, root: int = 0, *, algorithm: Choice = None) -> None:
        """``buf`` of rank ``root`` to all."""
        try:
            self._check_root(root)
            block = buffers.block(buf, writable=self.rank != root)
            return self._running().broadcast(block, root, algorithm)
        except Declined as reason:
            self._pass_on("broadcast", reason, algorithm, buf)
        return super().Bcast(buf, root)

    def Allgather(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB, *, algorithm: Choice = None) -> None:
        """One block from every rank to every rank."""
        try:
            recv = buffers.block(recvbuf, writable=True, blocks=self.size)
            starts = tuple(recv.nbytes * rank for rank in range(self.size))
            pieces = Vector(recv.octets, (recv.nbytes,) * self.size, starts, recv.finish)
            return self._allgather(sendbuf, pieces, algorithm)
        except Declined as reason:
            self._pass_on("allgather", reason, algorithm, sendbuf, recvbuf)
        return super().Allgather(sendbuf, recvbuf)

    def Allgatherv(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV, *, algorithm: Choice = None) -> None:
        """Pieces of different lengths from every rank to every rank."""
        try:
            return self._allgather(sendbuf, buffers.vector(recvbuf, writable=True, blocks=self.size), algorithm)
        except Declined as reason:
            self._pass_on("allgather", reason, algorithm, sendbuf, recvbuf)
        return super().Allgatherv(sendbuf, recvbuf)

    def Alltoall(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpecB, *, algorithm: Choice = None) -> None:
        """Block j of ``sendbuf`` to rank j, block i of ``recvbuf`` from rank i."""
        try:
            recv = buffers.block(recvbuf, writable=True, blocks=self.size)
            here = buffers.in_place(sendbuf)
            send = recv if here else buffers.block(sendbuf, writable=False, blocks=self.size)
            return self._running().alltoall(send, recv, algorithm)
        except Declined as reason:
            self._pass_on("alltoall", reason, algorithm, sendbuf, recvbuf)
        return super().Alltoall(sendbuf, recvbuf)

    def Reduce(
        self,
        sendbuf: BufSpec | InPlace,
        recvbuf: BufSpec | None,
        op: MPI.Op = MPI.SUM,
        root: int = 0,
        *,
        algorithm: Choice = None,
    ) -> None:
        """All ranks' ``sendbuf``, combined by ``op`` in rank order, in ``recvbuf`` of rank ``root``."""
        try:
            self._check_root(root)
            recv = buffers.block(recvbuf, writable=True) if self.rank == root else None
            here = recv is not None and buffers.in_place(sendbuf)
            send = recv if recv is not None and here else buffers.block(sendbuf, writable=False)
            return self._running().reduce(send, recv, op, root, algorithm)
        except Declined as reason:
            self._pass_on("reduce", reason, algorithm, sendbuf, recvbuf)
        return super().Reduce(sendbuf, recvbuf, op, root)

    def Allreduce(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: MPI.Op = MPI.SUM, *,
        algorithm: Choice = None, compress: Compress | None = None,
    ) -> None:  # fmt: skip
        """All ranks' ``sendbuf``, combined by ``op`` in rank order, in everybody's ``recvbuf``.

        ``compress``: travel in fewer bytes, and lose something (docs/compression.md): the name of an encoding
        (``"int8"``), or a ``Compression``, which remembers from call to call what was lost. Sums of floating-point
        numbers only; ValueError for others, which never travel uncompressed instead.
        """
        if compress is not None:
            return self._allreduce_compressed(sendbuf, recvbuf, op, algorithm, compress)
        runner = self._runner
        if runner and type(recvbuf) is np.ndarray and runner.repeat_allreduce(sendbuf, recvbuf, op, algorithm):
            return None
        try:
            recv = buffers.block(recvbuf, writable=True)
            send = None if buffers.in_place(sendbuf) else buffers.block(sendbuf, writable=False)
            runner = self._running()
            known = runner.allreduce(send, recv, op, algorithm)
            return runner.remember(recvbuf, op, algorithm, known) if type(recvbuf) is np.ndarray else None
        except Declined as reason:
            self._pass_on("allreduce", reason, algorithm, sendbuf, recvbuf)
        return super().Allreduce(sendbuf, recvbuf, op)

    def Reduce_scatter_block(
        self,
        sendbuf: BufSpecB | InPlace,
        recvbuf: BufSpec | BufSpecB,
        op: MPI.Op = MPI.SUM,
        *,
        algorithm: Choice = None,
    ) -> None:
        """All ranks' ``sendbuf``, combined by ``op``, block i of the result in ``recvbuf`` of rank i."""
        try:
            here = buffers.in_place(sendbuf)
            recv = buffers.block(recvbuf, writable=True, blocks=self.size if here else 1)
            send = recv if here else buffers.block(sendbuf, writable=False, blocks=self.size)
            return self._running().reduce_scatter(send, recv, [recv.count] * self.size, op, algorithm)
        except Declined as reason:
            self._pass_on("reduce_scatter", reason, algorithm, sendbuf, recvbuf)
        return super().Reduce_scatter_block(sendbuf, recvbuf, op)

    def Reduce_scatter(
        self,
        sendbuf: BufSpec | InPlace,
        recvbuf: BufSpec,
        recvcounts: Sequence[int] | None = None,
        op: MPI.Op = MPI.SUM,
        *,
        algorithm: Choice = None,
    ) -> None:
        """All ranks' ``sendbuf``, combined by ``op``, the next ``recvcounts[i]`` elements of the result at rank i."""
        try:
            here = buffers.in_place(sendbuf)
            recv = buffers.block(recvbuf, writable=True)
            send = recv if here else buffers.block(sendbuf, writable=False)
            if recvcounts is None and not here:
                # From here on all ranks know the counts, so mpi4py's own method must not ask for them once more.
                recvcounts = self._counts(recv.count)
            counts = [] if recvcounts is None else buffers.numbers(recvcounts)
            if len(counts) != self.size:
                raise Declined("receive counts that do not suit the communicator")
            return self._running().reduce_scatter(send, recv, counts, op, algorithm)
        except Declined as reason:
            self._pass_on("reduce_scatter", reason, algorithm, sendbuf, recvbuf)
        return super().Reduce_scatter(sendbuf, recvbuf, recvcounts, op)

    # --- why, and what was done -----------------------------------------------------------------------------------

    def explain(
        self, collective: str, nbytes: int = 0, *,
        op: MPI.Op = MPI.SUM, root: int = 0, compress: Compress | None = None,
    ) -> Explanation:  # fmt: skip
        """What would be selected for ``nbytes`` bytes, with every candidate's predicted seconds; print it.

        ``collective`` is a name in the catalogue (``"allreduce"``). ``nbytes`` is the whole vector, for alltoall one
        rank's buffer; with ``compress`` so many bytes of float32. Not collective. Raises KeyError for an unknown
        collective, and ValueError for one that is never compressed.
        """
        ordered = not op.Is_commutative()
        held = context.existing(self)
        prices, note = (held.prices, "") if held else self._own_prices()
        paid = prices if compress is None else encoded_prices(prices, method_of(compress), nbytes // 4)
        found = selection.candidates(collective, self.size, nbytes, paid, ordered=ordered, root=root)
        left_out = selection.excluded(collective, self.size, ordered=ordered, root=root)
        runs = self._runner.uses(collective) if self._runner else Counter[str]()
        if self._compressed and collective == "allreduce":
            runs += self._compressed.uses
        passed_on = {reason: count for (name, reason), count in self._passed_on.items() if name == collective}
        wire = None
        if compress is not None:
            wire = on_wire(found[0].algorithm, self.rank, self.size, nbytes, compress, prices)
        way = "" if held is None or held.way is None else str(held.way)
        return Explanation(
            collective, self.size, nbytes, prices, "interpreted", found, left_out, runs, passed_on, note, wire, way
        )  # fmt: skip

    def _own_prices(self) -> tuple[Prices, str]:
        profile = Profile.find(self.size)
        prices = Prices(profile.alpha, profile.beta, profile.gamma, profile.measured)
        return prices, "no collective has run yet; from the first one on, the profile of rank 0 holds for all ranks"

    # --- what they share ------------------------------------------------------------------------------------------

    def _allreduce_compressed(
        self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: MPI.Op, algorithm: Choice, compress: Compress
    ) -> None:
        try:
            recv = buffers.block(recvbuf, writable=True)
            send = None if buffers.in_place(sendbuf) else buffers.block(sendbuf, writable=False)
            if self._compressed is None:
                self._compressed = Compressed(self._running())
            self._compressed.allreduce(send, recv, op, algorithm, compress)
        except Declined as reason:
            raise ValueError(f"this call can't be compressed: {reason}") from None

    def _running(self) -> Runner:
        if self._runner is None:
            if self == MPI.COMM_NULL:
                raise Declined("a null communicator")
            self._runner = Runner(context.of(self, self.settings.timeout), self.settings)
        return self._runner

    def _check_root(self, root: int) -> None:
        if not 0 <= root < self.size:
            raise Declined("a root that is no rank")

    def _allgather(self, sendbuf: BufSpec | InPlace, recv: Vector, algorithm: Choice) -> None:
        send = None if buffers.in_place(sendbuf) else buffers.block(sendbuf, writable=False)
        self._running().allgather(send, recv, algorithm)

    def _counts(self, count: int) -> list[int]:
        counts = np.zeros(self.size, np.int64)
        self.Allgather(np.array([count], np.int64), counts)
        return counts.tolist()

    def _pass_on(self, collective: str, reason: Declined, algorithm: Choice, *specs: object) -> None:
        if any(map(buffers.on_device, specs)) and not cuda_aware.examine().aware:
            raise TypeError(
                f"{collective} on device memory: {reason}. Neither can it be left to mpi4py, for this MPI takes no "
                "device memory; copy the array to the host first"
            )
        self._passed_on[collective, str(reason)] += 1
        level = logging.DEBUG if algorithm is None else logging.WARNING
        log.log(level, "%s goes to mpi4py's own method: %s", collective, reason)
        if self != MPI.COMM_NULL:
            self._running().verify_passed_on(collective, str(reason))
