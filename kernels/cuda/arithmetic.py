"""What a reduction does to its inputs on a CUDA device, as LLVM code on vectors of memory's words.

The operations are the CPU form's own (``kernels.cpu.arithmetic``), so both forms give the same bits, with two
exceptions. Products are kept from being fused with sums, which NVVM and ptxas do unasked. And of two inputs halves are
computed two at a time by packed instructions (float16x2, bfloat16x2), which round once from the exact result, as
float32 does that is rounded to a half (for +, × and two numbers of p digits float32's 24 ≥ 2p + 2: Figueroa 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from llvmlite import ir

from kernels.cpu import arithmetic
from kernels.cpu.arithmetic import Kind
from kernels.cuda.assembly import instruction
from kernels.cuda.halves import HALVES, narrowed, widened
from kernels.cuda.vector import WIDTH

__all__ = ["FLOAT32", "apart", "beside", "combined", "element", "vector"]

FLOAT32 = Kind("float32", "f", 32)
_PACKED = {
    "sum": {"float16": "add.rn.{} $0, $1, $2;", "bfloat16": "fma.rn.{} $0, $1, $3, $2;"},
    "prod": {"float16": "mul.rn.{} $0, $1, $2;", "bfloat16": "fma.rn.{} $0, $1, $2, $3;"},
    "min": {"float16": "min.NaN.{} $0, $1, $2;", "bfloat16": "min.NaN.{} $0, $1, $2;"},
    "max": {"float16": "max.NaN.{} $0, $1, $2;", "bfloat16": "max.NaN.{} $0, $1, $2;"},
}
_NEUTRAL = {("sum", "bfloat16"): 0x3F803F80, ("prod", "bfloat16"): 0x80008000}
"""sm_80 has no add or mul for bfloat16, but fma: times 1, and plus -0. Two patterns, the lower for a single one."""


def vector(kind: Kind) -> Any:
    """LLVM's type of 16 bytes of memory: numbers, or pairs of halves."""
    word = ir.IntType(32) if kind.name in HALVES else kind.memory
    return ir.VectorType(word, WIDTH * 8 // (32 if kind.name in HALVES else kind.bits))


def element(kind: Kind) -> Any:
    """LLVM's type of one element of memory: a number, or two if complex."""
    return ir.VectorType(kind.memory, kind.numbers)


def combined(
    builder: Any, operation: str, kind: Kind, inputs: Sequence[Any], scale: Any,
    *, carried: Any = None, kept: bool = False,
) -> Any:  # fmt: skip
    """See ``kernels.cpu.arithmetic.combined``; the inputs and the result are of the type ``vector`` or ``element``.

    Of halves what comes before the inputs may be ``carried`` over as float32, and the result ``kept`` so.
    """
    unfused = _Unfused(builder)
    if kind.name not in HALVES:
        return arithmetic.combined(unfused, operation, kind, inputs, scale)
    on_the_way = kept or carried is not None
    if operation in ("min", "max") or (operation in _PACKED and len(inputs) == 2 and not on_the_way):
        return _packed(builder, operation, kind, inputs)
    wide = [_widened(builder, kind, values) for values in inputs]
    result = arithmetic.combined(unfused, operation, FLOAT32, wide if carried is None else [carried, *wide], scale)
    return result if kept else _narrowed(builder, kind, result, inputs[0].type)


def beside(builder: Any, one: Any, other: Any) -> Any:
    """Two vectors as one."""
    return _vector(builder, [*_lanes(builder, one), *_lanes(builder, other)])


def apart(builder: Any, values: Any) -> list[Any]:
    """The two halves of a vector."""
    lanes = _lanes(builder, values)
    middle = len(lanes) // 2
    return [_vector(builder, lanes[:middle]), _vector(builder, lanes[middle:])]


class _Unfused:
    """LLVM's builder, but for a multiplication that is rounded before anything is added to it."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def fmul(self, left: Any, right: Any) -> Any:
        """Lane by lane, as ``kernels.cuda.exact.times`` does it."""
        suffix = "f32" if left.type.element == ir.FloatType() else "f64"
        text = f"mul.rn.{suffix} $0, $1, $2;"
        lanes = zip(_lanes(self, left), _lanes(self, right), strict=True)
        return _vector(self, [instruction(self, text, left.type.element, pair) for pair in lanes])


def _packed(builder: Any, operation: str, kind: Kind, inputs: Sequence[Any]) -> Any:
    """From the left, one instruction for each word of the vectors, that is for one half or for two."""
    word = inputs[0].type.element
    text = _PACKED[operation][kind.name].format(HALVES[kind.name] + ("x2" if word.width == 32 else ""))
    neutral = _NEUTRAL.get((operation, kind.name))
    mask = (1 << word.width) - 1
    further = [] if neutral is None else [ir.Constant(word, neutral & mask)]
    total = _lanes(builder, inputs[0])
    for other in inputs[1:]:
        pairs = zip(total, _lanes(builder, other), strict=True)
        total = [instruction(builder, text, word, [*pair, *further]) for pair in pairs]
    return _vector(builder, total)


def _widened(builder: Any, kind: Kind, values: Any) -> Any:
    """All halves of a vector as float32."""
    return _vector(builder, [wide for lane in _lanes(builder, values) for wide in widened(builder, kind.name, lane)])


def _narrowed(builder: Any, kind: Kind, values: Any, shape: Any) -> Any:
    """float32 as the words that ``shape`` has, one half or two in each."""
    lanes, each = _lanes(builder, values), values.type.count // shape.count
    groups = [lanes[first : first + each] for first in range(0, len(lanes), each)]
    return _vector(builder, [narrowed(builder, kind.name, group) for group in groups])


def _lanes(builder: Any, values: Any) -> list[Any]:
    return [builder.extract_element(values, _index(lane)) for lane in range(values.type.count)]


def _vector(builder: Any, lanes: Sequence[Any]) -> Any:
    values = ir.Constant(ir.VectorType(lanes[0].type, len(lanes)), cast("Any", ir).Undefined)
    for place, lane in enumerate(lanes):
        values = builder.insert_element(values, lane, _index(place))
    return values


def _index(lane: int) -> Any:
    return ir.Constant(ir.IntType(32), lane)
