"""What the executors for device memory have in common: scratch memory there, order among streams, tied plans."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from collectives.executors.interpreted import WIRES, Interpreted
from collectives.executors.plan import Plan
from collectives.schedule import INCOMING_FIRST, OVERWRITE, Fold
from kernels.cuda.device import Device
from kernels.device_array import DeviceArray

__all__ = ["Fold3", "OnDevice", "commit"]

Fold3 = Callable[[Any, Any, Any], object]
"""``combine(left, right, out)`` queues ``out[:] = left ∘ right`` on their stream; ``out`` is one of the two."""


class Tied(Protocol):
    """A plan tied to addresses."""

    def free(self) -> None:
        """Give back what MPI holds for it."""
        ...


T = TypeVar("T", bound=Tied)


@dataclass(frozen=True, slots=True)
class _Queued:
    """How far a stream must come until a call's work is done."""

    device: Device
    stream: int
    event: object

    def finish(self) -> None:
        """Wait until it has; the stream itself may be gone by now."""
        while not self.device.reached(self.event):
            os.sched_yield()


class OnDevice(ABC, Generic[T]):
    """Runs plans on buffers of the device that they live on; messages, timeouts and health are those of ``host``.

    All work on the buffers is queued on their stream, in order with what the caller has queued there, and ``run``
    returns when the messages are done: the last folds may yet be in the queue. Scratch memory, requests and views are
    kept between calls, as by ``Interpreted``. Not yet run on hardware.
    """

    name: str

    def __init__(self, host: Interpreted) -> None:
        self._host = host
        self._tied: dict[tuple[object, ...], T] = {}
        self._scratch: DeviceArray | None = None
        self._last: _Queued | None = None

    def run(self, plan: Plan, buffers: Sequence[DeviceArray], combine: Fold3 | None = None) -> None:
        """Carry out this rank's part of the plan on ``buffers``: of one device, stream and dtype, changed in place.

        Errors as ``Interpreted.run``. Cost, beside messages and copies: no allocation but in the first call on new
        addresses, a few Python calls a round, and a launch a fold.
        """
        self._host.check(plan, combine)
        _check(plan, buffers)
        device, stream = buffers[0].device, buffers[0].stream
        tied = self._found(plan, buffers)
        # Scratch memory may still be read by what an earlier call has queued on another stream.
        if self._last is not None and self._last.device is device and self._last.stream != stream:
            device.wait(stream, self._last.event)
        try:
            self._carry_out(tied, plan, buffers[0], combine)
        except BaseException as error:
            self._host.spoil(error, (self, tied, tuple(buffers)))
            raise
        self._last = _Queued(device, stream, device.record(stream))

    def free(self) -> None:
        """Give requests and scratch memory back, as ``Interpreted.free`` does; the next call builds them anew."""
        if self._host.spoilt:
            return
        self._let_go()
        self._scratch = None

    def _let_go(self) -> None:
        for tied in self._tied.values():
            tied.free()
        self._tied.clear()

    @abstractmethod
    def _tie(self, plan: Plan, buffers: Sequence[DeviceArray], scratch: DeviceArray) -> T:
        """The plan tied to these addresses."""

    @abstractmethod
    def _carry_out(self, tied: T, plan: Plan, where: DeviceArray, combine: Fold3 | None) -> None:
        """Do all steps of it, on the device and stream of ``where``."""

    def _found(self, plan: Plan, buffers: Sequence[DeviceArray]) -> T:
        first = buffers[0]
        places = [(buffer.address, buffer.size) for buffer in buffers]
        key = (plan, first.dtype, first.device, first.stream, *places)
        return self._tied.get(key) or self._tied_anew(key, plan, buffers)

    def _tied_anew(self, key: tuple[object, ...], plan: Plan, buffers: Sequence[DeviceArray]) -> T:
        first = buffers[0]
        nbytes = plan.scratch * first.dtype.itemsize
        scratch = self._scratch
        if scratch is None or scratch.nbytes < nbytes or scratch.device is not first.device:
            if self._last is not None:
                self._last.finish()  # it may still work in the old scratch
            self._let_go()  # the other tied plans end in the old scratch
            scratch = self._scratch = first.device.allocate(nbytes)
        if len(self._tied) >= WIRES:
            self._tied.pop(next(iter(self._tied))).free()
        tied = self._tied[key] = self._tie(plan, buffers, scratch[:nbytes].view(first.dtype).on(first.stream))
        return tied


def commit(fold: Fold, mine: DeviceArray, incoming: DeviceArray, combine: Fold3 | None) -> None:
    """Queue ``mine = incoming``, ``incoming ∘ mine`` or ``mine ∘ incoming`` on their stream."""
    if combine is None or fold is OVERWRITE:
        mine.device.copy(mine, incoming, mine.stream)
    elif fold is INCOMING_FIRST:
        combine(incoming, mine, mine)
    else:
        combine(mine, incoming, mine)


def _check(plan: Plan, buffers: Sequence[DeviceArray]) -> None:
    where = f"{plan.algorithm} on rank {plan.rank}"
    if len(buffers) < max(len(plan.lengths), 1):
        raise ValueError(f"{where} works on {max(len(plan.lengths), 1)} buffers, got {len(buffers)}")
    kinds = {(id(buffer.device), buffer.stream, np.dtype(buffer.dtype)) for buffer in buffers}
    if len(kinds) > 1:
        raise ValueError(f"{where} needs buffers of one device, stream and dtype, got {list(buffers)}")
    for index, (buffer, length) in enumerate(zip(buffers, plan.lengths, strict=False)):
        if buffer.size < length:
            raise ValueError(f"{where} needs {length} elements in buffer {index}, got {buffer.size}")
    for index in {buffer for step in plan.steps for recv in step.receives for buffer, _, _ in recv.spans}:
        if buffers[index].read_only:
            raise ValueError(f"{where} receives into buffer {index}, which is read-only")
