"""Comparisons and choices. Source: PTX ISA 9.0, section 9.7.6 and 9.7.7."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.ptx.floats import flushed
from tests.ptx.operands import KINDS, Opcode, Step, sink, source
from tests.ptx.syntax import Operand, Vector
from tests.ptx.threads import Array, Threads

__all__ = ["COMPARISONS"]

Operands = tuple[Operand, ...]
Test = Callable[[Array, Array], Array]

ORDERED: dict[str, Test] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip
UNORDERED = {"equ": "eq", "neu": "ne", "ltu": "lt", "leu": "le", "gtu": "gt", "geu": "ge"}
COMBINED: dict[str, Test] = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


def compare(opcode: Opcode, operands: Operands) -> Step:
    """``setp``: one predicate, or that and its opposite; combined with a third operand where it says how."""
    (kind,) = opcode.kind()
    test = _test(opcode, kind)
    combine = opcode.take(*COMBINED)
    targets = operands[0].parts if isinstance(operands[0], Vector) else (operands[0],)
    writes = [sink(target, "pred") for target in targets]
    sources = [source(operand, kind) for operand in operands[1:3]]
    third = source(operands[3], "pred") if combine else None

    def step(threads: Threads) -> None:
        result = test(*(read(threads) for read in sources))
        for write, value in zip(writes, (result, ~result), strict=False):
            write(threads, COMBINED[combine](value, third(threads)) if third else value)

    return step


def as_number(opcode: Opcode, operands: Operands) -> Step:
    """``set``: all ones or 1.0 where it holds, else zero."""
    into, kind = opcode.kind(2)
    test = _test(opcode, kind)
    write, sources = sink(operands[0], into), [source(operand, kind) for operand in operands[1:]]
    dtype = KINDS[into].dtype
    yes = dtype.type(1) if dtype.kind == "f" else np.array(-1).astype(dtype)

    def step(threads: Threads) -> None:
        write(threads, np.where(test(*(read(threads) for read in sources)), yes, dtype.type(0)))

    return step


def _test(opcode: Opcode, kind: str) -> Test:
    word = opcode.need(*ORDERED, *UNORDERED, "num", "nan")
    test = ORDERED[word] if KINDS[kind].dtype.kind in "iu" else _on_floats(word)
    return (lambda a, b: test(flushed(a), flushed(b))) if opcode.take("ftz") else test


def _on_floats(word: str) -> Test:
    """Ordered tests are false with a NaN on either side, unordered ones true."""
    if word in ("num", "nan"):
        return lambda a, b: (np.isnan(a) | np.isnan(b)) == (word == "nan")
    plain = ORDERED[UNORDERED.get(word, word)]
    if word in UNORDERED:
        return lambda a, b: plain(a, b) | np.isnan(a) | np.isnan(b)
    return lambda a, b: plain(a, b) & ~(np.isnan(a) | np.isnan(b))


def choose(opcode: Opcode, operands: Operands) -> Step:
    """``selp``: the first where the predicate holds, else the second."""
    (kind,) = opcode.kind()
    write, sources = sink(operands[0], kind), [source(operand, kind) for operand in operands[1:3]]
    which = source(operands[3], "pred")

    def step(threads: Threads) -> None:
        first, second = (read(threads) for read in sources)
        chosen = which(threads)
        write(threads, np.where(chosen[:, None] if first.ndim == 2 else chosen, first, second))

    return step


COMPARISONS: dict[str, Callable[[Opcode, Operands], Step]] = {"setp": compare, "set": as_number, "selp": choose}
