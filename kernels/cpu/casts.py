"""float16 and bfloat16 messages: the compiler's vectoriser makes packed conversions of these loops."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernels.cpu import halves
from kernels.cpu.compiled import compiled

if TYPE_CHECKING:
    from kernels.compress.casts import Cast

__all__ = ["decode", "decode_add", "encode", "encode_feedback", "loops", "reduce"]

Floats = NDArray[np.float32]
Wire = NDArray[np.uint8]

_ZERO = np.float32(0)


def encode(values: Floats, wire: Wire, encoding: Cast, counter: int) -> None:
    """``wire = values``, rounded."""
    loops(encoding.kind).encode(values, wire.view(np.uint16))


def decode(wire: Wire, values: Floats, encoding: Cast) -> None:
    """``values = wire``."""
    loops(encoding.kind).decode(wire.view(np.uint16), values)


def decode_add(wire: Wire, values: Floats, encoding: Cast) -> None:
    """``values += wire``."""
    loops(encoding.kind).decode_add(wire.view(np.uint16), values)


def encode_feedback(values: Floats, wire: Wire, residual: Floats, encoding: Cast, counter: int) -> None:
    """Encode with error feedback; see ``Encoding``."""
    loops(encoding.kind).encode_feedback(values, wire.view(np.uint16), residual)


def reduce(left: Wire, right: Wire, out: Wire, count: int, encoding: Cast, counter: int) -> None:
    """``out = left + right``, rounded once."""
    loops(encoding.kind).reduce(left.view(np.uint16), right.view(np.uint16), out.view(np.uint16))


@cache
def loops(kind: str) -> SimpleNamespace:
    """The compiled functions for one kind; wires are uint16."""
    narrow, widen = getattr(halves, f"float32_to_{kind}"), getattr(halves, f"{kind}_to_float32")
    functions = *_single(narrow, widen), *_double(narrow, widen)
    return SimpleNamespace(**{function.__name__: compiled(function) for function in functions})


def _single(narrow: Any, widen: Any) -> tuple[Callable[..., None], ...]:
    """With one array of numbers and one message."""

    def encode(values: Any, wire: Any) -> None:
        for i in range(len(values)):
            wire[i] = narrow(values[i])

    def decode(wire: Any, values: Any) -> None:
        for i in range(len(values)):
            values[i] = widen(wire[i])

    def decode_add(wire: Any, values: Any) -> None:
        for i in range(len(values)):
            values[i] += widen(wire[i])

    return encode, decode, decode_add


def _double(narrow: Any, widen: Any) -> tuple[Callable[..., None], ...]:
    """With more."""

    def encode_feedback(values: Any, wire: Any, residual: Any) -> None:
        for i in range(len(values)):
            wanted = values[i] + residual[i]
            wire[i] = narrow(wanted)
            values[i] = widen(wire[i])
            rest = wanted - values[i]
            residual[i] = rest if rest - rest == _ZERO else _ZERO

    def reduce(left: Any, right: Any, out: Any) -> None:
        for i in range(len(out)):
            out[i] = narrow(widen(left[i]) + widen(right[i]))

    return encode_feedback, reduce
