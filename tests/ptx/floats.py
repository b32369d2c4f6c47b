"""Arithmetic on floating-point numbers. Source: PTX ISA 9.0, sections 9.7.3 to 9.7.5.

What PTX rounds to nearest even is so here, to the last bit. The ``.approx`` instructions are here the exact result,
rounded; a card may be off by the error that PTX states (1 to 2 ulp), so compare what uses them within a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tests.ptx.operands import KINDS, Opcode, Step, elementwise, sink, source
from tests.ptx.rounding import canonical, fused, narrowed, sum_to_odd
from tests.ptx.syntax import Operand
from tests.ptx.threads import Array, Threads

__all__ = ["APPROXIMATE", "FLOATS", "finished"]

Operands = tuple[Operand, ...]
Function = Callable[..., Array]


def flushed(values: Array) -> Array:
    """The values with subnormal ones as zero of their sign (``.ftz``)."""
    limit = values.dtype.type(np.finfo(values.dtype).tiny)
    return np.where(np.abs(values) < limit, np.copysign(values.dtype.type(0), values), values)


def finished(opcode: Opcode, function: Function) -> Function:
    """The function with what ``.ftz``, ``.sat`` and ``.relu`` ask for, and with NaN as a GPU writes it."""
    ftz, sat, relu = opcode.take("ftz"), opcode.take("sat"), opcode.take("relu")

    def complete(*arguments: Array) -> Array:
        result = function(*(map(flushed, arguments) if ftz else arguments))
        if ftz:
            result = flushed(result)
        if sat:
            result = np.where(np.isnan(result), 0, result.clip(0, 1)).astype(result.dtype)
        if relu:
            result = np.where(result < 0, result.dtype.type(0), result)
        return canonical(result)

    return complete


def arithmetic(opcode: Opcode, operands: Operands) -> Step:
    """``add``, ``sub``, ``mul`` and ``div``, rounded to nearest even or as they say."""
    (kind,) = opcode.kind()
    plain = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[opcode.name]
    # Division's approximate forms are here as exact as the others.
    mode = opcode.take("rn", "rz", "rm", "rp", "approx", "full")
    if mode in ("rz", "rm", "rp"):
        if kind != "f32" or opcode.name == "div":
            opcode.unknown()
        return elementwise(operands, kind, finished(opcode, partial(_directed, plain, mode)))
    return elementwise(operands, kind, finished(opcode, plain))


def _directed(plain: Function, mode: str, left: Array, right: Array) -> Array:
    """float32 arithmetic rounded in a direction, by way of float64 rounded to odd."""
    if plain is np.multiply:
        return narrowed(left.astype(np.float64) * right.astype(np.float64), np.dtype(np.float32), mode)
    one = np.float64(1 if plain is np.add else -1)
    return narrowed(sum_to_odd(left.astype(np.float64), one * right.astype(np.float64)), np.dtype(np.float32), mode)


def multiply_add(opcode: Opcode, operands: Operands) -> Step:
    """``fma.rn``, and ``mad`` of floats, which is the same."""
    (kind,) = opcode.kind()
    opcode.need("rn")
    return elementwise(operands, kind, finished(opcode, fused))


def sign(opcode: Opcode, operands: Operands) -> Step:
    """``neg``, ``abs`` and ``copysign``: of NaN too only the sign bit changes."""
    (kind,) = opcode.kind()
    flushes = opcode.take("ftz")
    if opcode.name == "copysign":
        return elementwise(operands, kind, lambda of, value: np.copysign(value, of))
    plain: Function = np.negative if opcode.name == "neg" else np.abs
    return elementwise(operands, kind, (lambda value: plain(flushed(value))) if flushes else plain)


def extremum(opcode: Opcode, operands: Operands) -> Step:
    """``min`` and ``max``: of a NaN and a number the number, with ``.NaN`` the NaN; +0 is above -0."""
    (kind,) = opcode.kind()
    smaller, spreads, by_size = opcode.name == "min", opcode.take("NaN"), opcode.take("xorsign")
    if by_size:
        opcode.unknown()
    function = finished(opcode, partial(_extremum, smaller=smaller, spreads=bool(spreads)))
    if len(operands) == 4:
        return elementwise(operands, kind, lambda a, b, c: function(function(a, b), c))
    return elementwise(operands, kind, function)


def _extremum(left: Array, right: Array, *, smaller: bool, spreads: bool) -> Array:
    below = (left < right) | ((left == right) & np.signbit(left))
    result = np.where(below == smaller, left, right)
    left_nan, right_nan = np.isnan(left), np.isnan(right)
    if spreads:
        return np.where(left_nan | right_nan, left.dtype.type(np.nan), result)
    return np.where(left_nan, right, np.where(right_nan, left, result))


def unary(opcode: Opcode, operands: Operands) -> Step:
    """``sqrt``, ``rcp``, ``rsqrt``, ``ex2``, ``lg2``, ``sin``, ``cos``, ``tanh``."""
    (kind,) = opcode.kind()
    opcode.need("rn", "approx")
    function = APPROXIMATE[opcode.name]
    dtype = KINDS[kind].dtype
    if opcode.name in ("sqrt", "rcp") or dtype.itemsize == 8:
        return elementwise(operands, kind, finished(opcode, function))
    return elementwise(operands, kind, finished(opcode, partial(_by_float64, function)))


def _by_float64(function: Function, value: Array) -> Array:
    return narrowed(function(value.astype(np.float64)), value.dtype)


def classify(opcode: Opcode, operands: Operands) -> Step:
    """``testp``: whether the number is finite, infinite, a number, NaN, normal or subnormal."""
    (kind,) = opcode.kind()
    question = opcode.need("finite", "infinite", "number", "notanumber", "normal", "subnormal")
    tiny = np.finfo(KINDS[kind].dtype).tiny
    answers: dict[str, Function] = {
        "finite": np.isfinite, "infinite": np.isinf, "notanumber": np.isnan, "number": lambda value: ~np.isnan(value),
        "normal": lambda value: np.isfinite(value) & (np.abs(value) >= tiny),
        "subnormal": lambda value: (value != 0) & (np.abs(value) < tiny),
    }  # fmt: skip
    write, read = sink(operands[0], "pred"), source(operands[1], kind)

    def step(threads: Threads) -> None:
        write(threads, answers[question](read(threads)))

    return step


APPROXIMATE: dict[str, Function] = {
    "sqrt": np.sqrt, "rcp": np.reciprocal, "rsqrt": lambda value: 1 / np.sqrt(value), "ex2": np.exp2, "lg2": np.log2,
    "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
}  # fmt: skip

FLOATS: dict[str, Callable[[Opcode, Operands], Step]] = {
    **dict.fromkeys(("add", "sub", "mul", "div"), arithmetic), "fma": multiply_add, "mad": multiply_add,
    **dict.fromkeys(("neg", "abs", "copysign"), sign), "min": extremum, "max": extremum, "testp": classify,
    **dict.fromkeys(APPROXIMATE, unary),
}  # fmt: skip
