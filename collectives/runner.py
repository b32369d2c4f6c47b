"""The collectives on buffers that have been read: which plan, where its chunks lie, what is copied, and the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from mpi4py import MPI

from collectives import layout, memory, operations, selection
from collectives.buffers import Array, Block, Declined, Vector
from collectives.catalogue import Algorithm
from collectives.context import Context
from collectives.datatypes import Element
from collectives.executors.plan import Plan, lower
from collectives.executors.signature import Signature
from collectives.handles import Settings
from collectives.memory import Workspace
from collectives.operations import Combine
from collectives.places import in_the_host, joined
from kernels.device_array import DeviceArray

__all__ = ["Call", "Choice", "Runner"]

LARGEST_CACHE = 1024
"""Calls that are remembered; a plan takes some kilobytes, and programs repeat few kinds of calls."""

Choice = str | Algorithm | None
"""An algorithm as callers name it; None: select one."""

_BYTES = np.dtype(np.uint8)


@dataclass(slots=True, eq=False)
class Call:
    """A kind of call that has been made: its plan, how many elements of transit memory that needs, and its uses."""

    algorithm: Algorithm
    plan: Plan
    transit: int
    uses: int = 0


@dataclass(slots=True, eq=False)
class _What:
    """What ranks compare in check mode, beside the algorithm."""

    count: int
    dtype: str = "bytes"
    op: MPI.Op | None = None
    root: int = -1


class Runner:
    """Carries out collectives on one communicator, for one handle of it.

    Everything that a repeated call needs is kept: plans by (collective, algorithm, counts), and work memory. A call
    that is refused raises Declined before any message is sent; a wrong ``algorithm`` raises ValueError.
    """

    def __init__(self, context: Context, settings: Settings) -> None:
        self.context, self.settings = context, settings
        self.rank, self.size = context.executor.comm.rank, context.executor.comm.size
        self._calls: dict[Hashable, Call] = {}
        self._known: dict[Hashable, tuple[Call, Combine]] = {}
        self._forgotten: Counter[str] = Counter()
        self._work = Workspace()

    def barrier(self, algorithm: Choice) -> None:
        """Wait until all ranks have come."""
        self._execute(self._call("barrier", 0, 0, algorithm), (), None, _What(0))

    def broadcast(self, block: Block, root: int, algorithm: Choice) -> None:
        """``block`` of rank ``root`` to all."""
        call = self._call("broadcast", block.nbytes, block.nbytes, algorithm, root=root)
        self._execute(call, (block.octets,), None, _What(block.nbytes, root=root))
        if self.rank != root:
            block.finish()

    def allgather(self, send: Block | None, recv: Vector, algorithm: Choice) -> None:
        """Everybody's piece to everybody; ``send`` is None where it lies in ``recv`` already."""
        start, length = recv.starts[self.rank], recv.lengths[self.rank]
        if send is not None:
            if send.nbytes != length:
                raise Declined("another number of bytes to send than to receive")
            send, recv = joined(send, recv)
        nbytes = sum(recv.lengths)
        call = self._call("allgather", (recv.lengths, recv.starts), nbytes, algorithm)
        if send is not None:
            memory.copy(recv.octets[start : start + length], send.octets)
        self._execute(call, (recv.octets,), None, _What(nbytes))
        recv.finish()

    def alltoall(self, send: Block, recv: Block, algorithm: Choice) -> None:
        """Block j of ``send`` to rank j; ``send`` may be ``recv`` itself."""
        if send.nbytes != recv.nbytes:
            raise Declined("another number of bytes to send than to receive")
        nbytes = recv.nbytes * self.size
        call = self._call("alltoall", recv.nbytes, nbytes, algorithm)
        send, recv = joined(send, recv)
        source, target = send.octets, recv.octets
        shared = memory.overlap(source, target)
        here = slice(self.rank * recv.nbytes, (self.rank + 1) * recv.nbytes)
        with self._work.borrowed(call.transit + nbytes * shared, _BYTES, target) as work:
            if shared:
                memory.copy(work[call.transit :], source)
                source = work[call.transit :]
            memory.copy(target[here], source[here])
            self._execute(call, (source, target, work[: call.transit]), None, _What(nbytes))
        recv.finish()

    def allreduce(self, send: Block | None, recv: Block, op: MPI.Op, algorithm: Choice) -> tuple[Call, Combine]:
        """Everybody's vector combined at everybody. Returns what ``remember`` wants."""
        combine, ordered = self._operation(op, recv.element)
        if send is not None:
            _check_alike(send, recv)
            send, recv = joined(send, recv)
        if not operations.on_device(combine, recv.element):
            send, recv = send and in_the_host(send, writable=False), in_the_host(recv, writable=True)
        call = self._call("allreduce", recv.count, recv.nbytes, algorithm, ordered=ordered)
        if send is not None:
            memory.copy(recv.octets, send.octets)
        self._execute(call, (recv.array,), combine, _What(recv.count, recv.element.name, op))
        recv.finish()
        return call, combine

    def remember(self, array: Array, op: MPI.Op, algorithm: Choice, known: tuple[Call, Combine]) -> None:
        """Let ``repeat_allreduce`` serve the next call like this one, where array and operation are plain ones."""
        # MPI uses the handle of a freed operation again, so only predefined ones may be known by it.
        if array.ndim == 1 and array.flags.c_contiguous and op.is_predefined and len(self._known) < LARGEST_CACHE:
            self._known[array.dtype, array.shape, array.flags.num, op.handle, algorithm] = known

    def repeat_allreduce(self, sendbuf: object, array: Array, op: object, algorithm: Choice) -> bool:
        """The short way for a call like an earlier one on plain arrays; False if this is none."""
        key = (array.dtype, array.shape, array.flags.num, getattr(op, "handle", None), algorithm)
        known = self._known.get(key)
        if known is None or self.settings.check:
            return False
        if sendbuf is not MPI.IN_PLACE and sendbuf is not None:
            if type(sendbuf) is not np.ndarray or sendbuf.dtype != array.dtype or sendbuf.shape != array.shape:
                return False
            if not sendbuf.flags.c_contiguous:
                return False
            np.copyto(array, sendbuf)
        call, combine = known
        call.uses += 1
        executor = self.context.executor
        executor.timeout = self.settings.timeout
        executor.run(call.plan, (array,), combine)
        return True

    def reduce(self, send: Block, recv: Block | None, op: MPI.Op, root: int, algorithm: Choice) -> None:
        """Everybody's vector combined at ``root``, which alone has ``recv`` (perhaps ``send`` itself)."""
        combine, ordered = self._operation(op, send.element)
        here = send is recv
        if recv is not None and not here:
            _check_alike(send, recv)
            send, recv = joined(send, recv)
        if not operations.on_device(combine, send.element):
            recv = recv and in_the_host(recv, writable=True)
            send = recv if recv is not None and here else in_the_host(send, writable=False)
        call = self._call("reduce", send.count, send.nbytes, algorithm, ordered=ordered, root=root)
        what = _What(send.count, send.element.name, op, root)
        if recv is not None:
            if not here:
                memory.copy(recv.octets, send.octets)
            self._execute(call, (recv.array,), combine, what)
            recv.finish()
        elif any(step.receives for step in call.plan.steps):
            with self._work.borrowed(send.count, send.element.dtype, send.octets) as vector:
                memory.copy(vector, send.array)
                self._execute(call, (vector,), combine, what)
        else:
            self._execute(call, (send.array,), combine, what)  # this rank only sends

    def reduce_scatter(self, send: Block, recv: Block, counts: Sequence[int], op: MPI.Op, algorithm: Choice) -> None:
        """Everybody's vector combined, ``counts[i]`` elements of it at rank i; ``send`` may be ``recv`` itself."""
        combine, ordered = self._operation(op, send.element)
        mine, total = counts[self.rank], sum(counts)
        if send.array.size != total or (send is not recv and recv.count != mine) or min(counts) < 0:
            raise Declined("counts that do not suit the buffers")
        if send.element.key != recv.element.key:
            raise Declined("different datatypes to send and to receive")
        starts = tuple(accumulate(counts, initial=0))[:-1]
        nbytes = total * send.element.size
        call = self._call("reduce_scatter", (tuple(counts), starts), nbytes, algorithm, ordered=ordered)
        if send is not recv:
            send, recv = joined(send, recv)
        if not operations.on_device(combine, send.element):
            send, recv = in_the_host(send, writable=False), in_the_host(recv, writable=True)
        with self._work.borrowed(total, send.element.dtype, send.octets) as work:
            memory.copy(work, send.array)
            self._execute(call, (work,), combine, _What(total, send.element.name, op))
            memory.copy(recv.array[:mine], work[starts[self.rank] : starts[self.rank] + mine])
        recv.finish()

    def verify_passed_on(self, collective: str, reason: str) -> None:
        """In check mode: see that all ranks leave this call to mpi4py."""
        if self.settings.check:
            self.context.executor.verify(Signature(collective, "mpi4py's own", "", reason, 0))

    def uses(self, collective: str) -> Counter[str]:
        """How often each algorithm of the collective was run."""
        counts = Counter({label: uses for label, uses in self._forgotten.items() if label.startswith(f"{collective} ")})
        for call in self._calls.values():
            counts[_counted_as(call)] += call.uses
        prefix = f"{collective} "
        return Counter({key.removeprefix(prefix): uses for key, uses in counts.items() if key.startswith(prefix)})

    def _operation(self, op: MPI.Op | object, element: Element) -> tuple[Combine, bool]:
        """The function that folds, and whether rank order must be kept."""
        if not isinstance(op, MPI.Op):
            raise Declined("something that is no operation")
        combine = operations.combiner(op, element)
        if combine is None:
            raise Declined(f"{operations.name(op)} on {element.name}")
        return combine, not op.Is_commutative()

    def _call(
        self, collective: str, shape: Hashable, nbytes: int, choice: Choice, *, ordered: bool = False, root: int = 0
    ) -> Call:
        """The plan for such a call, found or made."""
        key = (collective, shape, nbytes, choice, ordered, root)
        call = self._calls.get(key)
        if call is None:
            prices = self.context.prices
            if choice is None:
                algorithm = selection.choose(collective, self.size, nbytes, prices, ordered=ordered, root=root)
            else:
                algorithm = selection.resolve(choice, collective, self.size, ordered=ordered, root=root)
            if len(self._calls) >= LARGEST_CACHE:
                oldest = self._calls.pop(next(iter(self._calls)))
                self._forgotten[_counted_as(oldest)] += oldest.uses
            call = self._calls[key] = self._lowered(algorithm, shape)
        return call

    def _lowered(self, algorithm: Algorithm, shape: Any) -> Call:
        transit = 0
        if algorithm.collective in ("allreduce", "reduce"):
            places = layout.whole(algorithm, self.size, shape)
        elif algorithm.collective == "broadcast":
            places = layout.whole(algorithm, self.size, shape, layout.grain(shape))
        elif algorithm.collective == "alltoall":
            places, transit = layout.exchange(algorithm, self.rank, self.size, shape)
        else:
            places = layout.pieces(*shape) if shape else layout.pieces((), ())
        return Call(algorithm, lower(algorithm, self.rank, self.size, places), transit)

    def _execute(self, call: Call, arrays: Sequence[Any], combine: Combine | None, what: _What) -> None:
        executor = self.context.executor
        executor.timeout = self.settings.timeout
        on_device = any(isinstance(array, DeviceArray) for array in arrays)
        if self.settings.check:
            op = "" if what.op is None else operations.name(what.op)
            label, collective = call.algorithm.label, call.algorithm.collective
            dtype = f"{what.dtype} on a device" if on_device else what.dtype
            executor.verify(Signature(collective, label, op, dtype, what.count, what.root))
        call.uses += 1
        if on_device:
            self.context.on_device().run(call.plan, arrays, combine)
        else:
            executor.run(call.plan, arrays, combine)


def _check_alike(send: Block, recv: Block) -> None:
    if send.element.key != recv.element.key or send.count != recv.count:
        raise Declined("different datatypes or counts to send and to receive")


def _counted_as(call: Call) -> str:
    return f"{call.algorithm.collective} {call.algorithm.label}"
