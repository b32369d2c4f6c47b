"""From operands to arrays: how an instruction reads and writes registers, with the types of its opcode.

Source: PTX ISA 9.0, sections 5.2 (types) and 9.4 (operands wider than the instruction's type).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import ml_dtypes
import numpy as np

from tests.ptx.faults import Unknown
from tests.ptx.syntax import Immediate, Instruction, Operand, Register, Symbol
from tests.ptx.threads import Array, Threads

__all__ = ["KINDS", "Opcode", "Read", "Step", "Write", "elementwise", "sink", "source", "unsigned"]

Read = Callable[[Threads], Array]
Write = Callable[[Threads, Array], None]
Step = Callable[[Threads], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of PTX: the NumPy type of an element, and how many of them one register packs."""

    dtype: np.dtype
    packed: int = 1


KINDS = {
    **{f"s{bits}": Kind(np.dtype(f"i{bits // 8}")) for bits in (8, 16, 32, 64)},
    **{f"{letter}{bits}": Kind(np.dtype(f"u{bits // 8}")) for bits in (8, 16, 32, 64) for letter in "ub"},
    "pred": Kind(np.dtype(bool)),
    "f16": Kind(np.dtype(np.float16)), "f32": Kind(np.dtype(np.float32)), "f64": Kind(np.dtype(np.float64)),
    "bf16": Kind(np.dtype(ml_dtypes.bfloat16)),
    "f16x2": Kind(np.dtype(np.float16), 2), "bf16x2": Kind(np.dtype(ml_dtypes.bfloat16), 2),
    "s16x2": Kind(np.dtype(np.int16), 2), "u16x2": Kind(np.dtype(np.uint16), 2),
}  # fmt: skip


class Opcode:
    """The words of an opcode. Whoever gives it a meaning takes them one by one, and none may be left over."""

    def __init__(self, instruction: Instruction) -> None:
        self.name, *words = instruction.parts
        self.kinds = [word for word in words if word in KINDS]
        self._words = [word for word in words if word not in KINDS]
        self.text = instruction.text

    def take(self, *choices: str) -> str:
        """The first word that is one of these, which is then taken; an empty string if none is."""
        for word in self._words:
            if word in choices:
                self._words.remove(word)
                return word
        return ""

    def need(self, *choices: str) -> str:
        """The same, but Unknown if there is none."""
        return self.take(*choices) or self.unknown()

    def kind(self, number: int = 1) -> list[str]:
        """The opcode's types, of which there must be ``number``."""
        return self.kinds if len(self.kinds) == number else self.unknown()

    def finish(self) -> None:
        """Unknown if a word has not been taken."""
        if self._words:
            self.unknown()

    def unknown(self) -> NoReturn:
        """Raise what says that this instruction is not known."""
        rest = f" (what is .{'.'.join(self._words)}?)" if self._words else ""
        raise Unknown(f"the interpreter does not know the instruction {self.text!r}{rest}")


def unsigned(dtype: np.dtype) -> np.dtype:
    """The unsigned integer of the same size."""
    return np.dtype(f"u{dtype.itemsize}")


def source(operand: Operand, name: str) -> Read:
    """What reads the operand as elements of a type: one for each active thread, or one for all."""
    kind = KINDS[name]
    if isinstance(operand, Immediate):
        value = _constant(operand, kind)
        return lambda threads: value
    if isinstance(operand, Symbol):
        symbol = operand.name
        return lambda threads: threads.named(symbol)[threads.active].astype(kind.dtype)
    if not isinstance(operand, Register):
        raise Unknown(f"the operand {operand} as a {name}")
    register = operand.name
    if operand.negated:
        return lambda threads: ~threads.register(register)[threads.active]

    def read(threads: Threads) -> Array:
        bits = threads.register(register)[threads.active]
        size = kind.dtype.itemsize * kind.packed
        if bits.itemsize != size:
            bits = bits.astype(f"u{size}")
        return bits.view(kind.dtype).reshape(-1, kind.packed) if kind.packed > 1 else bits.view(kind.dtype)

    return read


def sink(operand: Operand, name: str) -> Write:
    """What writes elements of a type to the operand in the active threads; ``_`` takes none."""
    if isinstance(operand, Symbol) and operand.name == "_":
        return lambda threads, values: None
    if not isinstance(operand, Register):
        raise Unknown(f"the target {operand}")
    register, packed = operand.name, KINDS[name].packed

    def write(threads: Threads, values: Array) -> None:
        target = threads.register(register)
        if packed > 1:
            values = np.ascontiguousarray(values).view(target.dtype)[:, 0]
        elif values.itemsize != target.itemsize:
            # A narrower result is extended by its own sign to the width of the register.
            wide = np.dtype(f"{values.dtype.kind}{target.itemsize}")
            values = values.astype(wide)
        target[threads.active] = values.view(target.dtype)

    return write


def elementwise(operands: tuple[Operand, ...], name: str, function: Callable[..., Array], *, into: str = "") -> Step:
    """The step that computes the first operand from the others, all of one type (the result ``into`` another)."""
    write = sink(operands[0], into or name)
    reads = [source(operand, name) for operand in operands[1:]]
    return lambda threads: write(threads, function(*[read(threads) for read in reads]))


def _constant(operand: Immediate, kind: Kind) -> Array:
    bits = 8 * kind.dtype.itemsize * kind.packed
    if operand.floating not in (0, bits):
        raise Unknown(f"a constant of {operand.floating} bits as one of {bits}")
    value = np.array([operand.value % (1 << bits)], f"u{bits // 8}")
    return value.view(kind.dtype).reshape(-1, kind.packed) if kind.packed > 1 else value.view(kind.dtype)
