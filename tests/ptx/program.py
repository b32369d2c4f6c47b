"""A kernel's text, ready to run: each instruction as a step on all active threads, or as a turn of the control flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from tests.ptx import syntax
from tests.ptx.access import ACCESS
from tests.ptx.bits import BITS
from tests.ptx.comparisons import COMPARISONS
from tests.ptx.conversions import CONVERSIONS
from tests.ptx.faults import Unknown
from tests.ptx.floats import FLOATS
from tests.ptx.integers import INTEGERS
from tests.ptx.operands import KINDS, Opcode, Read, Step, sink, source
from tests.ptx.syntax import Entry, Instruction, Operand, Symbol
from tests.ptx.warps import WARPS, members, present

__all__ = ["Built", "Flow", "Program", "build"]

Builder = Callable[[Opcode, tuple[Operand, ...]], Step]
ANYWHERE: dict[str, Builder] = {**ACCESS, **BITS, **COMPARISONS, **CONVERSIONS}
WITHOUT_EFFECT = {"membar", "fence", "prefetch", "nanosleep", "nop"}
"""Ordering of memory and hints: here every access is done in order, and what races is found from the log."""


class Flow(Enum):
    """How it goes on after an instruction."""

    STEP = auto()
    WARP = auto()
    BARRIER = auto()
    BRANCH = auto()
    END = auto()
    TRAP = auto()


@dataclass(frozen=True, slots=True)
class Built:
    """One instruction: its step, guard, and what its flow needs (``target`` of a branch, ``mask`` of a warp's step)."""

    instruction: Instruction
    flow: Flow
    step: Step | None = None
    guard: Read | None = None
    target: int = -1
    mask: Read | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """An entry point and its instructions; ``joints`` are those that a label stands before."""

    entry: Entry
    built: list[Built]
    joints: frozenset[int]


def build(text: str) -> Program:
    """The program that PTX text is; Unknown names what the interpreter has not learnt."""
    entry = syntax.parse(text)
    return Program(entry, [_built(entry, each) for each in entry.instructions], frozenset(entry.labels.values()))


def _built(entry: Entry, instruction: Instruction) -> Built:
    guard = source(instruction.guard, "pred") if instruction.guard else None
    opcode, operands = Opcode(instruction), instruction.operands
    name = opcode.name
    if name == "bra":
        target = operands[0]
        if not isinstance(target, Symbol) or target.name not in entry.labels:
            opcode.unknown()
        return Built(instruction, Flow.BRANCH, guard=guard, target=entry.labels[target.name])
    if name in ("ret", "exit", "trap"):
        return Built(instruction, Flow.TRAP if name == "trap" else Flow.END, guard=guard)
    if name in ("bar", "barrier") and "warp" not in instruction.parts:
        return _barrier(instruction, opcode, guard)
    if name in WITHOUT_EFFECT:
        return Built(instruction, Flow.STEP, lambda threads: None, guard)
    if name in WARPS:
        built = Built(instruction, Flow.WARP, WARPS[name](opcode, operands), guard, mask=members(operands))
    else:
        built = Built(instruction, Flow.STEP, _builder(opcode)(opcode, operands), guard)
    opcode.finish()
    return built


def _builder(opcode: Opcode) -> Builder:
    """Who knows the instruction; arithmetic has two tables, for whole numbers and for floats."""
    if opcode.name == "activemask":
        return _active_mask
    if opcode.name in ANYWHERE:
        return ANYWHERE[opcode.name]
    table = INTEGERS if opcode.kinds and KINDS[opcode.kinds[-1]].dtype.kind in "iu" else FLOATS
    return table.get(opcode.name) or opcode.unknown()


def _active_mask(opcode: Opcode, operands: tuple[Operand, ...]) -> Step:
    opcode.kind()
    write = sink(operands[0], "b32")
    return lambda threads: write(threads, present(threads))


def _barrier(instruction: Instruction, opcode: Opcode, guard: Read | None) -> Built:
    opcode.need("sync")
    opcode.take("aligned")
    opcode.take("cta")
    opcode.finish()
    if len(instruction.operands) != 1:
        raise Unknown(f"a barrier of some of the threads: {instruction.text!r}")
    return Built(instruction, Flow.BARRIER, guard=guard)
