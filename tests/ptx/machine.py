"""Runs a kernel's PTX on the CPU, over all threads of many blocks at once.

Of the groups of threads that stand at different instructions, the one at the lowest runs until it meets another: so
threads that a branch has parted come together again after it. A group that is at a barrier, or at an instruction of
the warp whose other threads are not there yet, waits; when all wait in vain, that is a Fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from tests.ptx.faults import Fault
from tests.ptx.memory import Global, Private, Region
from tests.ptx.operands import KINDS
from tests.ptx.program import Built, Flow, Program
from tests.ptx.races import Log, Traffic
from tests.ptx.spaces import Spaces
from tests.ptx.syntax import Variable
from tests.ptx.threads import Active, Threads, joined
from tests.ptx.warps import present

__all__ = ["launch"]

TOGETHER = 1 << 15
"""Threads that run at once: enough to make NumPy's overhead small, few enough for their registers to stay in cache."""


def launch(
    program: Program, blocks: int, threads: int, arguments: Sequence[int | float], regions: Sequence[Region],
    *, limit: int = 1_000_000,
) -> Traffic:  # fmt: skip
    """Run ``blocks`` blocks of ``threads`` threads on global memory that consists of ``regions``, and tell the traffic.

    Fault if the kernel does what it may not, or takes more than ``limit`` instructions for some of its blocks.
    """
    entry = program.entry
    if len(arguments) != len(entry.parameters):
        raise TypeError(f"{entry.name} takes {len(entry.parameters)} arguments, not {len(arguments)}")
    given = zip(entry.parameters, arguments, strict=True)
    values = {parameter.name: _bytes(parameter, value) for parameter, value in given}
    variables = entry.variables.values()
    constants = {each.name: _region(each) for each in variables if each.space in ("global", "const")}
    memory = Global([*regions, *constants.values()])
    reached = Log("global", threads)
    together = max(1, TOGETHER // threads)
    for first in range(0, blocks, together):
        count = min(together, blocks - first)
        shared, local = (
            Private(space, [each for each in variables if each.space == space], owners)
            for space, owners in (("shared", count), ("local", count * threads))
        )
        addresses = {**shared.offsets, **local.offsets, **{name: region.address for name, region in constants.items()}}
        group = Threads(entry.registers, addresses, first=first, blocks=count, grid=blocks, size=threads)
        group.spaces = Spaces(memory, shared, local, values, reached, group)
        with np.errstate(all="ignore"):
            _Run(program, group, limit).to_the_end()
        _named(program, group.spaces.shared_log.check)
    _named(program, reached.check)
    return reached.traffic()


class _Run:
    """The threads of some blocks on their way through the program."""

    def __init__(self, program: Program, threads: Threads, limit: int) -> None:
        self._program, self._threads, self._left = program, threads, limit
        self._limit = limit
        self._ready: dict[int, Active] = {0: threads.active}
        self._at_barrier: dict[int, Active] = {}
        self._at_warp: dict[int, Active] = {}

    def to_the_end(self) -> None:
        while True:
            while self._ready:
                at = min(self._ready)
                self._advance(at, self._ready.pop(at))
            if self._at_warp:
                self._release_warps()
            elif self._at_barrier:
                self._release_blocks()
            else:
                return

    def _advance(self, at: int, active: Active) -> None:
        """Let a group run until it parts, waits, ends or meets another group."""
        threads, built, joints = self._threads, self._program.built, self._program.joints
        threads.active = active
        start = at
        while at < len(built):
            if at in joints and at in self._ready and at != start:
                self._put(self._ready, at, active)
                return
            each = built[at]
            self._left -= 1
            if self._left < 0:
                self._fault(each, f"no end after {self._limit} instructions")
            if each.flow is not Flow.STEP:
                self._turn(each, at, active)
                return
            self._step(each, active)
            at += 1

    def _step(self, each: Built, active: Active) -> None:
        threads = self._threads
        try:
            if each.guard is None:
                each.step(threads)
            else:
                threads.active = threads.among_active(np.broadcast_to(each.guard(threads), threads.indices().size))
                if isinstance(threads.active, slice) or threads.active.size:
                    each.step(threads)
                threads.active = active
        except Fault as fault:
            self._fault(each, str(fault))
        except Exception as error:
            error.add_note(f"while interpreting {each.instruction.text!r}, line {each.instruction.line}")
            raise

    def _turn(self, each: Built, at: int, active: Active) -> None:
        """Part the group by the guard, and send both halves where they go."""
        threads = self._threads
        taken: Active = active
        if each.guard is not None:
            holds = np.broadcast_to(each.guard(threads), threads.indices().size)
            self._put(self._ready, at + 1, threads.among_active(~holds))
            taken = threads.among_active(holds)
        if _none(taken):
            return
        if each.flow is Flow.BRANCH:
            self._put(self._ready, each.target, taken)
        elif each.flow is Flow.BARRIER:
            self._put(self._at_barrier, at, taken)
        elif each.flow is Flow.WARP:
            self._put(self._at_warp, at, taken)
            self._try_warps(at)
        elif each.flow is Flow.TRAP:
            threads.active = taken
            self._fault(each, f"{threads.place(threads.indices()[0])} traps")

    def _put(self, groups: dict[int, Active], at: int, active: Active) -> None:
        if not _none(active):
            groups[at] = joined(groups[at], active) if at in groups else active

    def _try_warps(self, at: int) -> bool:
        """Take the step for the warps all of whose named threads are here; whether there was one."""
        each, threads = self._program.built[at], self._threads
        threads.active = waiting = self._at_warp.pop(at)
        mask = np.broadcast_to(each.mask(threads), threads.indices().size)
        here = present(threads)
        complete = mask & ~here == 0
        threads.active = ready = threads.among_active(complete)
        if not _none(ready):
            self._check_members(each, mask[complete])
            self._step(each, ready)
            self._put(self._ready, at + 1, ready)
        threads.active = waiting
        self._put(self._at_warp, at, threads.among_active(~complete))
        return not _none(ready)

    def _check_members(self, each: Built, mask: Any) -> None:
        threads = self._threads
        lanes = threads.indices() % threads.size % 32
        outside = mask >> lanes.astype(np.uint32) & np.uint32(1) == 0
        if outside.any():
            place = threads.place(threads.indices()[int(np.argmax(outside))])
            self._fault(each, f"{place} is not in its own member mask")

    def _release_warps(self) -> None:
        """After all others have come as far as they can: who still misses a thread of its warp misses it for good."""
        went_on = [self._try_warps(at) for at in list(self._at_warp)]
        if any(went_on):
            return
        at, waiting = next(iter(self._at_warp.items()))
        each, threads = self._program.built[at], self._threads
        threads.active = waiting
        missing = int(np.broadcast_to(each.mask(threads), threads.indices().size)[0] & ~present(threads)[0])
        lanes = [lane for lane in range(32) if missing >> lane & 1]
        place = threads.place(threads.indices()[0])
        self._fault(each, f"not converged: {place} waits for lanes {lanes} of its warp, which do not come")

    def _release_blocks(self) -> None:
        """Let the blocks go on all of whose threads wait at one barrier; a Fault for the others."""
        threads = self._threads
        where = np.full(threads.count, -1)
        for at, active in self._at_barrier.items():
            where[active] = at
        by_block = where.reshape(threads.blocks, threads.size)
        waiting = by_block.max(axis=1)
        wrong = np.flatnonzero((waiting >= 0) & (by_block.min(axis=1) != waiting))
        if wrong.size:
            self._diverged(by_block[wrong[0]], int(wrong[0]))
        self._at_barrier.clear()
        threads.spaces.epochs = threads.spaces.epochs + (waiting >= 0)
        for at in np.unique(waiting[waiting >= 0]):
            threads.active = slice(0, threads.count)
            self._put(self._ready, int(at) + 1, threads.among_active(where == at))

    def _diverged(self, where: Any, block: int) -> NoReturn:
        each = self._program.built[int(where.max())]
        other = int(np.argmax(where != where.max()))
        does = "has ended"
        if where[other] >= 0:
            does = f"waits at another in line {self._program.built[where[other]].instruction.line}"
        place = self._threads.place(block * self._threads.size + other)
        self._fault(each, f"barrier divergence: {place} {does}, while others of its block wait")

    def _fault(self, each: Built, message: str) -> NoReturn:
        line = f"line {each.instruction.line}, {each.instruction.text!r}"
        raise Fault(f"kernel {self._program.entry.name}: {message} ({line})") from None


def _none(active: Active) -> bool:
    return not isinstance(active, slice) and not active.size


def _named(program: Program, check: Any) -> None:
    try:
        check()
    except Fault as fault:
        raise Fault(f"kernel {program.entry.name}: {fault}") from None


def _bytes(parameter: Variable, value: float) -> bytes:
    dtype = KINDS[parameter.type].dtype
    if dtype.kind in "iu":
        return (int(value) % (1 << 8 * dtype.itemsize)).to_bytes(dtype.itemsize, "little")
    return np.array(value, dtype).tobytes()


def _region(variable: Variable) -> Region:
    octets = np.zeros(max(variable.nbytes, 1) + variable.align, np.uint8)
    start = -octets.ctypes.data % variable.align
    octets = octets[start : start + variable.nbytes]
    if variable.initial is not None:
        octets[:] = np.frombuffer(variable.initial, np.uint8)
    return Region(octets, f"the variable {variable.name}", read_only=variable.space == "const")
