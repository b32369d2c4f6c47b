"""The readable executor: a round starts its receives and sends, waits for them, and commits what was staged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from typing import Protocol

import numpy as np
from mpi4py import MPI

from collectives.executors.faults import CollectiveError, CollectiveMismatch, CollectiveTimeout
from collectives.executors.plan import Plan, Step, lower
from collectives.executors.signature import RECORD, RollCall, Signature, disagreements
from collectives.executors.waiting import Pause, naps_wanted, polite, sharpen_timers, watchful
from collectives.executors.wire import Array, Commit, Wire, WireStep
from collectives.schedule import INCOMING_FIRST, OVERWRITE, extents

__all__ = ["WIRES", "Around", "Combine", "Described", "Interpreted", "cancel", "explained", "sizes_differ"]

Combine = Callable[[Array, Array, Array], object]
"""``combine(left, right, out)`` computes ``out[:] = left ∘ right``; ``out`` is one of the two."""


class Around(Protocol):
    """What else a rank does in step ``index`` of the plan, of all it does in a call."""

    def before(self, index: int) -> object:
        """Before anything of the step is sent or received."""
        ...

    def after(self, index: int) -> object:
        """When everything has come and is committed."""
        ...


class Described(Protocol):
    """A step whose messages can be told in words: receives first, then sends."""

    @property
    def plan(self) -> Step:
        """The step of the plan."""
        ...

    def describe(self, index: int) -> str:
        """Message ``index`` in words."""
        ...


WIRES = 64  # plans tied to memory that are kept; a training step has one for each gradient


class Interpreted:
    """Runs plans on ``comm``, which must be private to it: a duplicate that carries no other messages.

    Calls on one communicator must come in the same order on all ranks and from one thread at a time, as MPI demands
    of collectives. Scratch memory, requests and views are kept between calls and found again by (plan, dtype,
    addresses, lengths): a second call builds nothing. ``timeout`` (seconds, None: wait for ever) may be changed
    between calls. Ranks wait inside MPI, or with ``CIRANDA_WAITING=nap`` politely (see ``executors.waiting``).

    A call that fails leaves messages behind, so the executor then refuses to go on (``CollectiveError``).
    """

    def __init__(self, comm: MPI.Intracomm, timeout: float | None = None) -> None:
        self.comm = comm
        self.timeout = timeout
        self._naps = naps_wanted()
        if self._naps:
            sharpen_timers()
        self._wires: dict[tuple[object, ...], Wire] = {}
        self._scratch = np.empty(0, np.uint8)
        self._exchange: tuple[Plan, Array] | None = None
        self._spoilt = ""
        self._abandoned: tuple[object, ...] = ()
        # MPI gives no floating-point warnings. Entering a context costs a tenth of entering np.errstate.
        self._context = copy_context()
        self._context.run(np.seterr, all="ignore")

    def run(
        self, plan: Plan, buffers: Sequence[Array], combine: Combine | None = None, around: Around | None = None
    ) -> None:
        """Carry out this rank's part of the plan on ``buffers``: 1-D contiguous arrays of one dtype, changed in place.

        ``combine`` is needed if the plan folds; ``around`` is called at both ends of every step. Cost, beside MPI's
        own: no allocation, a few Python calls a round, and a call of ``combine`` a fold; the first call on new
        addresses also makes a request and a view a message.
        Raises CollectiveTimeout; CollectiveMismatch when a message has another size than planned; ValueError for
        buffers that do not suit the plan.
        """
        if self._spoilt or combine is None:  # a call less on the way of the smallest messages
            self.check(plan, combine)
        wire = self._wire(plan, buffers)
        try:
            self._context.run(self._carry_out, wire, plan, combine, around)
        except BaseException as error:
            self.spoil(error, (wire, tuple(buffers), self._scratch))
            raise

    def check(self, plan: Plan, combine: object) -> None:
        """See that the communicator is fit for use, and that there is an operation if the plan folds."""
        if self._spoilt:
            raise CollectiveError(
                f"this communicator is spent, because an earlier call on it failed ({self._spoilt}); "
                "make a new one on all ranks, or end the program"
            )
        if combine is None and plan.folds:
            raise ValueError(f"{plan.algorithm} on rank {plan.rank} reduces, so it needs an operation to combine with")

    @property
    def spoilt(self) -> bool:
        """Whether a call failed half-way, so that messages may still be under way."""
        return bool(self._spoilt)

    def spoil(self, error: BaseException, kept: tuple[object, ...]) -> None:
        """A call failed half-way: refuse all others. MPI may yet read or write in what is ``kept``, so it lives on."""
        self._spoilt, self._abandoned = str(error) or repr(error), kept

    def verify(self, signature: Signature) -> None:
        """Compare the call that this rank is about to make with that of every other, without pickle.

        Raises CollectiveMismatch on every rank, listing who differs in what; the executor stays fit for use.
        Cost: a message of 240 bytes to every other rank, all at once.
        """
        plan, table = self._exchange = self._exchange or self._board()
        rows = table.reshape(self.comm.size, RECORD)
        rows[self.comm.rank] = np.frombuffer(signature.pack(), np.uint8)
        self.run(plan, (table,))
        if differences := disagreements([Signature.unpack(row.tobytes()) for row in rows]):
            raise CollectiveMismatch(f"the ranks did not make the same call: {differences}")

    def free(self) -> None:
        """Give requests and scratch memory back; the next call builds them anew. The communicator stays its owner's.

        After a failed call nothing is given back: its messages may still be under way.
        """
        if self._spoilt:
            return
        for wire in self._wires.values():
            wire.free()
        self._wires.clear()
        self._scratch = np.empty(0, np.uint8)

    def _board(self) -> tuple[Plan, Array]:
        size, rank = self.comm.size, self.comm.rank
        rows = extents(size * RECORD, size)
        return lower(RollCall(), rank, size, lambda chunk: (0, *rows[chunk])), np.empty(size * RECORD, np.uint8)

    def _wire(self, plan: Plan, buffers: Sequence[Array]) -> Wire:
        try:
            dtype = buffers[0].dtype if buffers else None
            key = (plan, dtype, *map(MPI.Get_address, buffers), *map(len, buffers))
        except (BufferError, TypeError):  # not contiguous, or a scalar
            _check(plan, buffers)
            raise
        return self._wires.get(key) or self._tie(key, plan, buffers)

    def _tie(self, key: tuple[object, ...], plan: Plan, buffers: Sequence[Array]) -> Wire:
        _check(plan, buffers)
        dtype = buffers[0].dtype if buffers else np.dtype(np.uint8)
        nbytes = plan.scratch * dtype.itemsize
        if self._scratch.nbytes < nbytes:
            self.free()  # the other wires end in the old scratch
            self._scratch = np.empty(nbytes, np.uint8)
        if len(self._wires) >= WIRES:
            self._wires.pop(next(iter(self._wires))).free()
        wire = self._wires[key] = Wire(self.comm, plan, buffers, self._scratch[:nbytes].view(dtype))
        return wire

    def _carry_out(self, wire: Wire, plan: Plan, combine: Combine | None, around: Around | None) -> None:
        deadline = None if self.timeout is None else self.deadline()
        for index, step in enumerate(wire.steps):
            if around is not None:
                around.before(index)
            for staged, mine in step.packs:
                np.copyto(staged, mine)
            self.exchange(step, plan, deadline)
            for commit in step.commits:
                _commit(commit, combine)
            if around is not None:
                around.after(index)

    def deadline(self) -> float | None:
        """When a call that begins now has waited too long, by ``time.monotonic``."""
        return None if self.timeout is None else time.monotonic() + self.timeout

    def exchange(self, step: WireStep, plan: Plan, deadline: float | None) -> None:
        """Start the step's messages, wait until all have come and gone, and see that they had the size planned."""
        for request in step.starts:
            request.Start()
        try:
            if deadline is None and not self._naps:
                for request, status in step.waits:
                    request.Wait(status)
            else:
                self._wait_until(deadline, step, plan)
        except MPI.Exception as error:
            raise explained(error, step, plan) from error
        for arrival in step.arrivals:
            if arrival.status.Get_count(arrival.datatype) != arrival.count:
                raise CollectiveMismatch(sizes_differ(step, plan))

    @property
    def pause(self) -> Pause:
        """What to do between two looks at messages that have not come."""
        return polite if self._naps else watchful

    def late(self, step: Described, plan: Plan, pending: Iterable[int]) -> CollectiveTimeout:
        """The error for messages that have kept this rank waiting too long."""
        messages = tuple(map(step.describe, pending))
        return CollectiveTimeout(
            plan.rank, step.plan.index, plan.rounds, plan.algorithm, self.timeout or 0, messages
        )  # fmt: skip

    def _wait_until(self, deadline: float | None, step: WireStep, plan: Plan) -> None:
        pause, began = self.pause, time.monotonic()
        pending = list(range(len(step.waits)))
        while pending := [index for index in pending if not _done(*step.waits[index])]:
            now = time.monotonic()
            if deadline is not None and now > deadline:
                cancel([step.requests[index] for index in pending if index < len(step.arrivals)])
                raise self.late(step, plan, pending)
            pause(now - began)


def _commit(commit: Commit, combine: Combine | None) -> None:
    if combine is None or commit.fold is OVERWRITE:
        np.copyto(commit.mine, commit.incoming)
    elif commit.fold is INCOMING_FIRST:
        combine(commit.incoming, commit.mine, commit.mine)
    else:
        combine(commit.mine, commit.incoming, commit.mine)


def _done(request: MPI.Prequest, status: MPI.Status) -> bool:
    return request.Test(status)


def cancel(receives: list[MPI.Prequest]) -> None:
    """Take back what nobody has sent to; a send can't be taken back (MPI 4 deprecates it)."""
    for request in receives:
        request.Cancel()
        request.Test()


def explained(error: MPI.Exception, step: Described, plan: Plan) -> Exception:
    """MPI's error with rank, round and algorithm; a message too long is a CollectiveMismatch."""
    if error.Get_error_class() == MPI.ERR_TRUNCATE:
        return CollectiveMismatch(sizes_differ(step, plan))
    error.add_note(f"on rank {plan.rank} in round {step.plan.index} of {plan.algorithm}")
    return error


def sizes_differ(step: Described, plan: Plan) -> str:
    """What to say when a message of this step had another size than planned."""
    expected = "; ".join(step.describe(index) for index in range(len(step.plan.receives)))
    return (
        f"rank {plan.rank} in round {step.plan.index} of {plan.algorithm} got a message of another size than expected "
        f"({expected}): do all ranks call the same collective with the same count, dtype and algorithm? "
        "With check=True (or CIRANDA_CHECK=1) all ranks compare that first"
    )


def _check(plan: Plan, buffers: Sequence[Array]) -> None:
    where = f"{plan.algorithm} on rank {plan.rank}"
    if len(buffers) < len(plan.lengths):
        raise ValueError(f"{where} works on {len(plan.lengths)} buffers, got {len(buffers)}")
    for index, buffer in enumerate(buffers):
        if buffer.dtype != buffers[0].dtype or buffer.dtype.hasobject:
            raise ValueError(f"{where} needs buffers of one dtype without objects, got {[b.dtype for b in buffers]}")
        if buffer.ndim != 1 or not buffer.flags.c_contiguous:
            raise ValueError(f"{where} needs 1-D contiguous buffers; buffer {index} is not")
        if index < len(plan.lengths) and buffer.size < plan.lengths[index]:
            raise ValueError(f"{where} needs {plan.lengths[index]} elements in buffer {index}, got {buffer.size}")
    for index in {buffer for step in plan.steps for recv in step.receives for buffer, _, _ in recv.spans}:
        if not buffers[index].flags.writeable:
            raise ValueError(f"{where} receives into buffer {index}, which is read-only")
