"""A plan tied to memory: every message a persistent MPI request, every fold a triple of views, built once.

Starting a persistent request costs about half of posting a fresh one from Python, because buffers, counts and
datatypes are then already unpacked.

*Tags.* They need not tell rounds or calls apart. Between two ranks at most one message goes each way in a round, both
ends start their rounds and their calls in the same order, and MPI matches messages of one (source, tag, communicator)
in the order in which they were started; so the k-th send meets the k-th receive. Messages without elements travel
too, or that count would be lost. What a tag does tell apart is sizes, for ranks that make different calls: Open MPI 5
writes a large message past the end of a smaller buffer before it reports the truncation, so a large message gets its
size as its tag and waits rather than destroy memory. Small ones all have tag 0, meet, and are found out at once.

*Large and scattered messages.* A message is a run of bytes, or, if it has many spans or more bytes than fit a C
int, a derived datatype, and MPI gathers and scatters by itself, without a copy of ours. Its offsets count from the
lowest address, for MPICH 5 is several times slower over MPI.BOTTOM. Bytes do for every dtype, also those that MPI
lacks; the price is that all ranks must have the same byte order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from collectives.executors.plan import Plan, Receive, Span, Step, Transmit
from collectives.schedule import Fold
from kernels.device_array import DeviceArray

__all__ = ["Array", "Arrival", "Commit", "Wire", "WireStep", "described", "tag"]

Array = NDArray[Any]

HARMLESS = 1024  # bytes; below every MPI's eager limit, so a message too long is cut and reported
LARGE = 1 << 15  # bytes; above it a message may ask before it goes (64 KiB with Open MPI over TCP, less elsewhere)
LARGEST_BLOCK = 1 << 30  # bytes; a block length is a C int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A receive's status after the wait must count ``count`` items of ``datatype``, or the sender sent another size."""

    status: MPI.Status
    datatype: MPI.Datatype
    count: int


@dataclass(frozen=True, slots=True)
class Commit:
    """``mine`` becomes ``incoming``, ``incoming ∘ mine`` or ``mine ∘ incoming``: both NumPy's, or both on a device."""

    fold: Fold
    mine: Any
    incoming: Any


@dataclass(frozen=True, slots=True)
class WireStep:
    """The requests of one round, receives first, and the order in which to start them.

    Receives start before sends, so that nothing arrives unexpected from a rank in step, but after large sends. A
    large message asks first, and a receive that is started answers at once. Where two ranks exchange large messages,
    the late one would answer before it asks; the other then floods their connection with its message, and its own
    answer comes behind that flood: the exchange takes twice as long (docs/design/half-duplex.md). ``packs``: what to
    copy before all that, (into scratch, from where it lies).
    """

    plan: Step
    itemsize: int
    requests: tuple[MPI.Prequest, ...]
    starts: tuple[MPI.Prequest, ...]
    waits: tuple[tuple[MPI.Prequest, MPI.Status], ...]
    arrivals: tuple[Arrival, ...]
    commits: tuple[Commit, ...]
    packs: tuple[tuple[Any, Any], ...]

    def describe(self, index: int) -> str:
        """The message of request ``index``, in words."""
        return described(self.plan, index, self.itemsize)


def tag(nbytes: int, largest: int) -> int:
    """The tag of a message of so many bytes, at most ``largest``: see above."""
    return 0 if nbytes <= HARMLESS else nbytes % largest + 1


def described(step: Step, index: int, itemsize: int) -> str:
    """Message ``index`` of a step in words; receives are numbered first, then sends."""
    receives = step.receives
    message = receives[index] if index < len(receives) else step.sends[index - len(receives)]
    way = "from" if index < len(receives) else "to"
    return f"{message.length * itemsize} bytes (chunks {message.chunks}) {way} rank {message.peer}"


class Wire:
    """``plan`` over ``buffers`` and ``scratch`` on ``comm``. It holds addresses, and keeps no buffer alive.

    The memory is all in the host (NumPy arrays) or all on a device (DeviceArrays, for an MPI that takes their
    addresses); ``commits`` and ``packs`` are views of the same kind.
    Cost: one persistent request a message and one derived datatype a scattered message, freed by ``free()``.
    """

    def __init__(
        self, comm: MPI.Intracomm, plan: Plan, buffers: Sequence[Array | DeviceArray], scratch: Array | DeviceArray
    ) -> None:
        self._memory = [_Memory(buffer) for buffer in (*buffers, scratch)]
        self._datatypes: list[MPI.Datatype] = []
        self._comm = comm
        self._itemsize = scratch.dtype.itemsize
        self._largest_tag = comm.Get_attr(MPI.TAG_UB) or 32767
        self.steps = [self._step(step) for step in plan.steps]

    def free(self) -> None:
        """Give requests and datatypes back to MPI; the wire is of no use after it."""
        for step in self.steps:
            for request in step.requests:
                request.Free()
        for datatype in self._datatypes:
            datatype.Free()
        self.steps, self._datatypes = [], []

    def _step(self, step: Step) -> WireStep:
        requests: list[MPI.Prequest] = []
        arrivals: list[Arrival] = []
        for receive in step.receives:
            message = self._message(receive.spans if receive.stage is None else (self._staged(receive),))
            requests.append(self._comm.Recv_init(message, receive.peer, self._tag(receive.length)))
            arrivals.append(Arrival(MPI.Status(), message[2], message[1]))
        sends = [(self._message(self._sent(send)), send.peer, self._tag(send.length)) for send in step.sends]
        requests.extend(self._comm.Send_init(*send) for send in sends)
        large = [send.length * self._itemsize > LARGE for send in step.sends]
        asking = [request for request, is_large in zip(requests[len(arrivals) :], large, strict=True) if is_large]
        starts = (*asking, *(request for request in requests if request not in asking))
        statuses = [arrival.status for arrival in arrivals] + [MPI.Status() for _ in step.sends]
        waits = tuple(zip(requests, statuses, strict=True))
        commits = tuple(commit for receive in step.receives for commit in self._commits(receive))
        packs = tuple(pack for send in step.sends for pack in self._packs(send))
        return WireStep(step, self._itemsize, tuple(requests), starts, waits, tuple(arrivals), commits, packs)

    def _tag(self, length: int) -> int:
        return tag(length * self._itemsize, self._largest_tag)

    def _staged(self, message: Receive | Transmit) -> Span:
        start = message.stage or 0
        return len(self._memory) - 1, start, start + message.length

    def _sent(self, send: Transmit) -> tuple[Span, ...]:
        return send.spans if send.stage is None else (self._staged(send),)

    def _packs(self, send: Transmit) -> Iterator[tuple[Any, Any]]:
        return ((staged, mine) for mine, staged in self._views(send))

    def _commits(self, receive: Receive) -> Iterator[Commit]:
        return (Commit(receive.fold, mine, staged) for mine, staged in self._views(receive))

    def _views(self, message: Receive | Transmit) -> Iterator[tuple[Any, Any]]:
        """Each span of a staged message, and its place in scratch."""
        if message.stage is None:
            return
        ends = accumulate((hi - lo for _, lo, hi in message.spans), initial=message.stage)
        for start, (buffer, lo, hi) in zip(ends, message.spans, strict=False):
            yield self._memory[buffer].view(lo, hi), self._memory[-1].view(start, start + hi - lo)

    def _message(self, spans: Iterable[Span]) -> tuple[Any, int, MPI.Datatype]:
        blocks = [block for buffer, lo, hi in spans for block in self._memory[buffer].blocks(lo, hi)]
        if not blocks:
            return None, 0, MPI.BYTE
        if len(blocks) == 1:
            address, nbytes = blocks[0]
            return MPI.memory.fromaddress(address, nbytes), nbytes, MPI.BYTE
        base = min(address for address, _ in blocks)
        end = max(address + nbytes for address, nbytes in blocks)
        offsets = [address - base for address, _ in blocks]
        datatype = MPI.BYTE.Create_hindexed([nbytes for _, nbytes in blocks], offsets).Commit()
        self._datatypes.append(datatype)
        return MPI.memory.fromaddress(base, end - base), 1, datatype


class _Memory:
    """Where an array lies, without holding it: a cached wire must not keep a user's gradient alive."""

    __slots__ = ("_on", "address", "dtype")

    def __init__(self, array: Array | DeviceArray) -> None:
        self._on = (array.device, array.stream) if isinstance(array, DeviceArray) else None
        self.address = _address(array) if array.size else 0
        self.dtype = array.dtype

    def view(self, lo: int, hi: int) -> Any:
        """Elements ``lo .. hi - 1`` as an array of the kind that was given."""
        address, count = self.address + lo * self.dtype.itemsize, hi - lo
        if self._on is not None:
            device, stream = self._on
            return DeviceArray(address, count, self.dtype, device, None, stream=stream)
        memory = MPI.memory.fromaddress(address, count * self.dtype.itemsize)
        return np.frombuffer(memory, self.dtype)  # pyright: ignore - mpi4py's stubs: no buffer before Python 3.12

    def blocks(self, lo: int, hi: int) -> Iterator[tuple[int, int]]:
        """``(address, nbytes)`` of elements ``lo .. hi - 1``, in pieces whose length fits a C int."""
        itemsize = self.dtype.itemsize
        end = self.address + hi * itemsize
        for address in range(self.address + lo * itemsize, end, LARGEST_BLOCK):
            yield address, min(LARGEST_BLOCK, end - address)


def _address(array: Array | DeviceArray) -> int:
    return array.address if isinstance(array, DeviceArray) else MPI.Get_address(array)
