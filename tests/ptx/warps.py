"""What the threads of a warp tell one another. Source: PTX ISA 9.0, shfl.sync (9.7.9.6), vote and redux (9.7.13).

All threads that the member mask names must be there at once; the machine sees to that before it takes such a step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.ptx.faults import Fault
from tests.ptx.operands import KINDS, Opcode, Read, Step, sink, source
from tests.ptx.syntax import Operand, Vector
from tests.ptx.threads import WARP, Array, Threads

__all__ = ["WARPS", "members", "present"]

Operands = tuple[Operand, ...]


def members(operands: Operands) -> Read:
    """What reads the member mask, the last operand."""
    return source(operands[-1], "b32")


def present(threads: Threads) -> NDArray[np.uint32]:
    """The mask of the active threads in the warp of each active thread."""
    indices, starts = _warps(threads)
    bits = (np.uint32(1) << (indices % threads.size % WARP).astype(np.uint32)).astype(np.uint32)
    return np.repeat(np.bitwise_or.reduceat(bits, starts), np.diff(np.append(starts, indices.size)))


def _warps(threads: Threads) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The active threads, and where among them each warp begins."""
    indices = threads.indices()
    warps = indices // threads.size * (threads.size // WARP + 1) + indices % threads.size // WARP
    return indices, np.flatnonzero(np.concatenate(([True], np.diff(warps) != 0)))


def shuffle(opcode: Opcode, operands: Operands) -> Step:
    """``shfl.sync``: a register of another lane, and whether that lane is in range."""
    (kind,) = opcode.kind()
    opcode.need("sync")
    mode = opcode.need("up", "down", "bfly", "idx")
    targets = operands[0].parts if isinstance(operands[0], Vector) else (operands[0],)
    writes = [sink(target, name) for target, name in zip(targets, (kind, "pred"), strict=False)]
    value, distance, control = source(operands[1], kind), source(operands[2], "b32"), source(operands[3], "b32")

    def step(threads: Threads) -> None:
        indices = threads.indices()
        lane = indices % threads.size % WARP
        other, within = _lane(mode, lane, distance(threads).astype(np.int64), control(threads).astype(np.int64))
        position = np.full(threads.count + WARP, -1)
        position[indices] = np.arange(indices.size)
        found = position[indices - lane + other]
        if (found < 0).any():
            reader = int(np.argmin(found))
            place = threads.place(indices[reader])
            raise Fault(f"{place} reads lane {int(other[reader])} of its warp, which is not there to be read")
        values = np.broadcast_to(value(threads), indices.size)[found]
        for write, result in zip(writes, (values, within), strict=False):
            write(threads, result)

    return step


def _lane(mode: str, lane: Array, distance: Array, control: Array) -> tuple[Array, Array]:
    """The lane that each lane reads, and whether it is in range; out of range it reads its own."""
    segment, clamp, distance = control >> 8 & 31, control & 31, distance & 31
    first = lane & segment
    last = first | (clamp & ~segment)
    other = {"up": lane - distance, "down": lane + distance, "bfly": lane ^ distance,
             "idx": first | (distance & ~segment)}[mode]  # fmt: skip
    within = other >= last if mode == "up" else other <= last
    return np.where(within, other, lane), np.broadcast_to(within, lane.shape)


def vote(opcode: Opcode, operands: Operands) -> Step:
    """``vote.sync``: whether all, any or equally many of the threads say yes, or the mask of those that do."""
    opcode.need("sync")
    mode = opcode.need("all", "any", "uni", "ballot")
    (kind,) = opcode.kind()
    write, read = sink(operands[0], kind), source(operands[1], "pred")

    def step(threads: Threads) -> None:
        indices, starts = _warps(threads)
        yes = np.broadcast_to(read(threads), indices.size)
        bits = (np.uint32(1) << (indices % threads.size % WARP).astype(np.uint32)).astype(np.uint32)
        ballots = np.repeat(
            np.bitwise_or.reduceat(np.where(yes, bits, np.uint32(0)), starts), np.diff(np.append(starts, indices.size))
        )
        everyone = present(threads)
        answers = {"ballot": ballots, "any": ballots != 0, "all": ballots == everyone,
                   "uni": (ballots == 0) | (ballots == everyone)}  # fmt: skip
        write(threads, answers[mode])

    return step


def reduce(opcode: Opcode, operands: Operands) -> Step:
    """``redux.sync``: one whole number from those of all the threads."""
    (kind,) = opcode.kind()
    opcode.need("sync")
    functions: dict[str, np.ufunc] = {"add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and,
                                      "or": np.bitwise_or, "xor": np.bitwise_xor}  # fmt: skip
    function = functions[opcode.need(*functions)]
    write, read = sink(operands[0], kind), source(operands[1], kind)
    dtype = KINDS[kind].dtype

    def step(threads: Threads) -> None:
        indices, starts = _warps(threads)
        values = np.broadcast_to(read(threads), indices.size)
        results = function.reduceat(values, starts, dtype=dtype)
        write(threads, np.repeat(results, np.diff(np.append(starts, indices.size))))

    return step


def synchronize(opcode: Opcode, operands: Operands) -> Step:
    """``bar.warp.sync``: what the warp's threads did to memory before is ordered before what they do after."""
    opcode.need("warp")
    opcode.need("sync")

    def step(threads: Threads) -> None:
        threads.spaces.warp_epochs[threads.active] += 1

    return step


WARPS: dict[str, Callable[[Opcode, Operands], Step]] = {
    "shfl": shuffle, "vote": vote, "redux": reduce, "bar": synchronize,
}  # fmt: skip
