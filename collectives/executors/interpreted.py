"""The readable executor: a round starts its receives and sends, waits for them, and commits what was staged."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Protocol

import numpy as np
from mpi4py import MPI

from collectives.executors.faults import CollectiveError, CollectiveMismatch, CollectiveTimeout
from collectives.executors.plan import Plan, lower
from collectives.executors.signature import RECORD, RollCall, Signature, disagreements
from collectives.executors.waiting import naps_wanted, polite, sharpen_timers, watchful
from collectives.executors.wire import Array, Commit, Wire, WireStep
from collectives.schedule import INCOMING_FIRST, OVERWRITE, extents

__all__ = ["Around", "Combine", "Interpreted"]

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
        if self._spoilt:
            raise CollectiveError(
                f"this communicator is spent, because an earlier call on it failed ({self._spoilt}); "
                "make a new one on all ranks, or end the program"
            )
        if combine is None and plan.folds:
            raise ValueError(f"{plan.algorithm} on rank {plan.rank} reduces, so it needs an operation to combine with")
        wire = self._wire(plan, buffers)
        try:
            self._context.run(self._carry_out, wire, plan, combine, around)
        except BaseException as error:
            # MPI may yet read or write here, so all of it must outlive the failure.
            self._spoilt, self._abandoned = str(error) or repr(error), (wire, tuple(buffers), self._scratch)
            raise

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
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        for index, step in enumerate(wire.steps):
            if around is not None:
                around.before(index)
            for staged, mine in step.packs:
                np.copyto(staged, mine)
            for request in step.starts:
                request.Start()
            self._complete(deadline, step, plan)
            for commit in step.commits:
                _commit(commit, combine)
            if around is not None:
                around.after(index)

    def _complete(self, deadline: float | None, step: WireStep, plan: Plan) -> None:
        """Wait until everything of the step has come and gone, and see that it had the size planned."""
        try:
            if deadline is None and not self._naps:
                for request, status in step.waits:
                    request.Wait(status)
            else:
                self._wait_until(deadline, step, plan)
        except MPI.Exception as error:
            raise _explained(error, step, plan) from error
        for arrival in step.arrivals:
            if arrival.status.Get_count(arrival.datatype) != arrival.count:
                raise CollectiveMismatch(_sizes_differ(step, plan))

    def _wait_until(self, deadline: float | None, step: WireStep, plan: Plan) -> None:
        pause, began = polite if self._naps else watchful, time.monotonic()
        pending = list(range(len(step.waits)))
        while pending := [index for index in pending if not _done(*step.waits[index])]:
            now = time.monotonic()
            if deadline is not None and now > deadline:
                late = tuple(step.describe(index) for index in pending)
                _cancel([step.requests[index] for index in pending if index < len(step.arrivals)])
                raise CollectiveTimeout(
                    plan.rank, step.plan.index, plan.rounds, plan.algorithm, self.timeout or 0, late
                )
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


def _cancel(receives: list[MPI.Prequest]) -> None:
    """Take back what nobody has sent to; a send can't be taken back (MPI 4 deprecates it)."""
    for request in receives:
        request.Cancel()
        request.Test()


def _explained(error: MPI.Exception, step: WireStep, plan: Plan) -> Exception:
    if error.Get_error_class() == MPI.ERR_TRUNCATE:
        return CollectiveMismatch(_sizes_differ(step, plan))
    error.add_note(f"on rank {plan.rank} in round {step.plan.index} of {plan.algorithm}")
    return error


def _sizes_differ(step: WireStep, plan: Plan) -> str:
    expected = "; ".join(step.describe(index) for index in range(len(step.arrivals)))
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
