"""What a reduction does to its inputs, as LLVM code on vectors of numbers; an element is one number, or two if complex.

A vector of complex elements holds real and imaginary parts in turn, as memory does. Halves are computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from llvmlite import ir

from kernels.cpu.halves import HALVES, narrowed, widened

__all__ = ["Kind", "combined", "kind_of"]


@dataclass(frozen=True, slots=True)
class Kind:
    """How elements of a dtype lie in memory: ``bits`` of a number, and the letter that NumPy has for its kind."""

    name: str
    letter: str
    bits: int

    @property
    def numbers(self) -> int:
        """How many to an element."""
        return 2 if self.letter == "c" else 1

    @property
    def real(self) -> bool:
        """Whether its numbers are floating point."""
        return self.letter in "fc"

    @property
    def memory(self) -> Any:
        """LLVM's type of a number in memory."""
        if self.name in HALVES or not self.real:
            return ir.IntType(self.bits)
        return ir.FloatType() if self.bits == 32 else ir.DoubleType()

    def read(self, builder: Any, value: Any) -> Any:
        """What lay in memory, ready to compute with."""
        return widened(builder, self.name, value) if self.name in HALVES else value

    def write(self, builder: Any, value: Any) -> Any:
        """A result as it lies in memory."""
        return narrowed(builder, self.name, value) if self.name in HALVES else value


_FAMILIES = {"float": "f", "bfloat": "f", "complex": "c", "int": "i", "uint": "u", "bool": "u"}


def kind_of(name: str) -> Kind:
    """The kind of a dtype by its name: float16, bfloat16, uint8, complex64, bool ..."""
    family = name.rstrip("0123456789")
    bits = int(name.removeprefix(family) or 8)
    return Kind(name, _FAMILIES[family], bits // 2 if family == "complex" else bits)


def combined(builder: Any, operation: str, kind: Kind, values: Sequence[Any], scale: Any) -> Any:
    """``values[0] ∘ values[1] ∘ ...`` from the left; "average" multiplies the sum by ``scale``, "scale_add" the right.

    A product and a sum are two roundings: nothing is fused.
    """
    if operation == "scale_add":
        left, right = values
        return _sum(builder, kind, left, _times(builder, kind, right, scale))
    total, *others = values
    for other in others:
        total = (_sum if operation == "average" else _OPERATIONS[operation])(builder, kind, total, other)
    return _times(builder, kind, total, scale) if operation == "average" else total


def _times(builder: Any, kind: Kind, vector: Any, scale: Any) -> Any:
    """The vector times a float64 or int64, which is first rounded, or wraps, to the type that the vector has."""
    element = vector.type.element
    if element != scale.type:
        scale = builder.fptrunc(scale, element) if kind.real else builder.trunc(scale, element)
    first = builder.insert_element(_undefined(vector.type), scale, ir.Constant(ir.IntType(32), 0))
    every = builder.shuffle_vector(first, _undefined(vector.type), _places([0] * vector.type.count))
    return builder.fmul(vector, every) if kind.real else builder.mul(vector, every)


def _sum(builder: Any, kind: Kind, left: Any, right: Any) -> Any:
    return builder.fadd(left, right) if kind.real else builder.add(left, right)


def _product(builder: Any, kind: Kind, left: Any, right: Any) -> Any:
    if kind.letter == "c":
        return _complex_product(builder, left, right)
    return builder.fmul(left, right) if kind.real else builder.mul(left, right)


def _complex_product(builder: Any, left: Any, right: Any) -> Any:
    """(a + bi)(c + di) = (ac - bd) + (ad + bc)i with no special case for infinities, as NumPy has it."""
    count = left.type.count // 2
    parts = [_places(range(part, 2 * count, 2)) for part in (0, 1)]
    a, b, c, d = (builder.shuffle_vector(side, side, part) for side in (left, right) for part in parts)
    real = builder.fsub(builder.fmul(a, c), builder.fmul(b, d))
    imaginary = builder.fadd(builder.fmul(a, d), builder.fmul(b, c))
    in_turn = [part * count + place for place in range(count) for part in (0, 1)]
    return builder.shuffle_vector(real, imaginary, _places(in_turn))


def _extreme(comparison: str) -> Callable[[Any, Kind, Any, Any], Any]:
    def choose(builder: Any, kind: Kind, left: Any, right: Any) -> Any:
        if not kind.real:
            compare = builder.icmp_signed if kind.letter == "i" else builder.icmp_unsigned
            return builder.select(compare(comparison, left, right), left, right)
        # No comparison with a NaN holds, which chooses one on the right; one on the left differs from itself.
        chosen = builder.select(builder.fcmp_ordered(comparison, left, right), left, right)
        return builder.select(builder.fcmp_unordered("uno", left, left), left, chosen)

    return choose


def _bitwise(name: str) -> Callable[[Any, Kind, Any, Any], Any]:
    def combine(builder: Any, kind: Kind, left: Any, right: Any) -> Any:
        return getattr(builder, name)(left, right)

    return combine


def _logical(name: str) -> Callable[[Any, Kind, Any, Any], Any]:
    def combine(builder: Any, kind: Kind, left: Any, right: Any) -> Any:
        truths = [builder.icmp_unsigned("!=", side, ir.Constant(side.type, None)) for side in (left, right)]
        return builder.zext(getattr(builder, name)(*truths), left.type)

    return combine


def _undefined(kind: Any) -> Any:
    return ir.Constant(kind, cast("Any", ir).Undefined)


def _places(numbers: Sequence[int]) -> Any:
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


_OPERATIONS: Mapping[str, Callable[[Any, Kind, Any, Any], Any]] = MappingProxyType(
    {
        "sum": _sum,
        "prod": _product,
        "min": _extreme("<"),
        "max": _extreme(">"),
        "band": _bitwise("and_"),
        "bor": _bitwise("or_"),
        "bxor": _bitwise("xor"),
        "land": _logical("and_"),
        "lor": _logical("or_"),
        "lxor": _logical("xor"),
    }
)
