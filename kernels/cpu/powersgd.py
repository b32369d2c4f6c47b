"""Products of a matrix with a few vectors, in the orders of adding that the CUDA form has too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kernels.compress.philox import HALF, LOW
from kernels.compress.powersgd import DEPENDENT, LANES, SEGMENT, THREADS
from kernels.cpu.compiled import compiled
from kernels.cpu.philox import one

if TYPE_CHECKING:
    from kernels.compress.powersgd import Powersgd, Shape

__all__ = [
    "decode", "decode_add", "encode", "encode_feedback", "expand", "orthonormalise", "project", "project_back", "start",
]  # fmt: skip

Floats = NDArray[np.float32]
Wire = NDArray[np.uint8]

_ZERO, _STEP = np.float32(0), np.float32(2.0**-31)

inlined = cast("Any", njit)


def encode(values: Floats, wire: Wire, encoding: Powersgd, counter: int) -> None:
    """Both factors, from a start of the counter's."""
    if len(values):
        shape = encoding.shape(len(values))
        p, q = _parts(wire, shape)
        start(q, encoding.seed, counter)
        project(values, q, p, shape)
        orthonormalise(p, shape)
        project_back(values, p, q, shape)


def decode(wire: Wire, values: Floats, encoding: Powersgd) -> None:
    """``values`` = the product."""
    shape = encoding.shape(len(values))
    expand(*_parts(wire, shape), values, shape, add=False)


def decode_add(wire: Wire, values: Floats, encoding: Powersgd) -> None:
    """``values`` += the product."""
    shape = encoding.shape(len(values))
    expand(*_parts(wire, shape), values, shape, add=True)


def encode_feedback(values: Floats, wire: Wire, residual: Floats, encoding: Powersgd, counter: int) -> None:
    """Encode with error feedback; see ``Encoding``."""
    if len(values):
        shape = encoding.shape(len(values))
        _increase(residual, values)
        encode(residual, wire, encoding, counter)
        _settle(*_matrices(*_parts(wire, shape), shape), values, residual)


def start(q: Floats, seed: int, counter: int) -> None:
    """Random numbers from -1 to 1."""
    _start(q, np.uint64(counter), np.uint64(seed))


def project(values: Floats, q: Floats, p: Floats, shape: Shape) -> None:
    """Pᵀ = (M·Q)ᵀ."""
    p, q = _matrices(p, q, shape)
    _project(values, q, p, np.empty(LANES, np.float32))


def orthonormalise(p: Floats, shape: Shape) -> None:
    """Gram and Schmidt's."""
    _orthonormalise(p.reshape(shape.rank, shape.rows), np.empty(THREADS, np.float64))


def project_back(values: Floats, p: Floats, q: Floats, shape: Shape) -> None:
    """Qᵀ = (Mᵀ·P)ᵀ."""
    p, q = _matrices(p, q, shape)
    _project_back(values, p, q, np.empty_like(q))


def expand(p: Floats, q: Floats, values: Floats, shape: Shape, *, add: bool) -> None:
    """``values`` = P·Qᵀ, or that more."""
    if len(values):
        _expand(*_matrices(p, q, shape), values, np.empty(shape.columns, np.float32), add)


def _parts(wire: Wire, shape: Shape) -> tuple[Floats, Floats]:
    """Pᵀ and Qᵀ."""
    both = wire.view(np.float32)
    return both[: shape.rank * shape.rows], both[shape.rank * shape.rows :]


def _matrices(p: Floats, q: Floats, shape: Shape) -> tuple[Floats, Floats]:
    return p.reshape(shape.rank, shape.rows), q.reshape(shape.rank, shape.columns)


@compiled
def _start(q: Any, counter: Any, key: Any) -> None:
    for i in range(len(q)):
        pair = one(np.uint64(i // 4), counter, key)[i % 4 // 2]
        word = pair >> HALF if i % 2 else pair & LOW
        q[i] = np.float32(np.int32(np.uint32(word))) * _STEP


@compiled
def _increase(residual: Any, values: Any) -> None:
    for i in range(len(values)):
        residual[i] += values[i]


@compiled
def _project(values: Any, q: Any, p: Any, lanes: Any) -> None:
    columns = q.shape[1]
    for row in range(p.shape[1]):
        elements = values[row * columns : min((row + 1) * columns, len(values))]
        for column in range(len(p)):
            p[column, row] = _dot(elements, q[column], lanes)


@inlined
def _dot(left: Any, right: Any, lanes: Any) -> Any:
    """In lanes that are folded in halves."""
    lanes[:] = _ZERO
    for first in range(0, len(left), LANES):
        some, other = left[first : min(first + LANES, len(left))], right[first : first + LANES]
        for i in range(len(some)):
            lanes[i] += some[i] * other[i]
    return _folded(lanes)


@inlined
def _folded(lanes: Any) -> Any:
    half = len(lanes) // 2
    while half:
        low, high = lanes[:half], lanes[half : 2 * half]
        for i in range(half):
            low[i] += high[i]
        half //= 2
    return lanes[0]


@compiled
def _orthonormalise(p: Any, lanes: Any) -> None:
    for column in range(len(p)):
        before = _wide_dot(p[column], p[column], lanes)
        for turn in range(2 * column):
            other = p[turn % column]
            _subtract(p[column], np.float32(_wide_dot(other, p[column], lanes)), other)
        after = _wide_dot(p[column], p[column], lanes)
        _scale(p[column], 0.0 if after <= before * DEPENDENT else 1.0 / np.sqrt(after))


@inlined
def _wide_dot(left: Any, right: Any, lanes: Any) -> Any:
    """In float64, where no product overflows."""
    lanes[:] = 0.0
    for first in range(0, len(left), THREADS):
        some, other = left[first : min(first + THREADS, len(left))], right[first : first + THREADS]
        for i in range(len(some)):
            lanes[i] += np.float64(some[i]) * np.float64(other[i])
    return _folded(lanes)


@inlined
def _subtract(target: Any, factor: Any, other: Any) -> None:
    for i in range(len(target)):
        target[i] -= factor * other[i]


@inlined
def _scale(target: Any, factor: Any) -> None:
    for i in range(len(target)):
        target[i] = np.float32(np.float64(target[i]) * factor)


@compiled
def _project_back(values: Any, p: Any, q: Any, part: Any) -> None:
    columns = q.shape[1]
    q[:, :] = _ZERO
    for first in range(0, p.shape[1], SEGMENT):
        part[:, :] = _ZERO
        for row in range(first, min(first + SEGMENT, p.shape[1])):
            elements = values[row * columns : min((row + 1) * columns, len(values))]
            for column in range(len(q)):
                _accumulate(part[column], elements, p[column, row])
        for column in range(len(q)):
            _increase(q[column], part[column])


@inlined
def _accumulate(target: Any, elements: Any, factor: Any) -> None:
    for i in range(len(elements)):
        target[i] += elements[i] * factor


@compiled
def _expand(p: Any, q: Any, values: Any, room: Any, add: bool) -> None:
    columns = q.shape[1]
    for row in range(p.shape[1]):
        elements = values[row * columns : min((row + 1) * columns, len(values))]
        _row(p, q, row, room)
        for i in range(len(elements)):
            elements[i] = elements[i] + room[i] if add else room[i]


@compiled
def _settle(p: Any, q: Any, values: Any, residual: Any) -> None:
    columns = q.shape[1]
    for row in range(p.shape[1]):
        part = slice(row * columns, min((row + 1) * columns, len(values)))
        decoded, wanted = values[part], residual[part]
        _row(p, q, row, decoded)
        for i in range(len(wanted)):
            rest = wanted[i] - decoded[i]
            wanted[i] = rest if rest - rest == _ZERO else _ZERO


@inlined
def _row(p: Any, q: Any, row: int, out: Any) -> None:
    """A row of the product, the first columns first."""
    out[:] = _ZERO
    for column in range(len(p)):
        _accumulate(out, q[column, : len(out)], p[column, row])
