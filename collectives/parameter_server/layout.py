"""Where a worker's arrays lie in the flat vector, so that parts can be gathered from them and written to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from collectives.parameter_server.payloads import Floats
from collectives.parameter_server.sharding import Part, Sharding

__all__ = ["Arrays", "Piece", "gathered", "pieces", "scattered"]

Arrays: TypeAlias = "Floats | Mapping[str, Floats]"
"""One tensor's array, the whole flat vector, or arrays by name."""


class Piece(NamedTuple):
    """Elements ``lo`` to ``hi`` of the flat vector are those of the 1-D ``values``."""

    lo: int
    hi: int
    values: Floats


def pieces(sharding: Sharding, name: str | None, arrays: Arrays) -> list[Piece]:
    """The arrays as pieces of the flat vector: of all tensors, or of tensor ``name``.

    Arrays of all tensors may have their flat vector as ``.vector``, which is used then. KeyError for a tensor that is
    missing, ValueError or TypeError for an array that is not float32, contiguous, and of the tensor's length.
    """
    if name is not None:
        return [_piece(name, *sharding.tensors[name], arrays)]
    if isinstance(arrays, np.ndarray):
        return [_piece("the flat vector", 0, sharding.count, arrays)]
    if (vector := getattr(arrays, "vector", None)) is not None:
        return [_piece("the flat vector", 0, sharding.count, vector)]
    return [_piece(each, lo, hi, arrays[each]) for each, (lo, hi) in sharding.tensors.items()]


def gathered(part: Part, found: list[Piece], into: Floats) -> None:
    """Copy what the pieces have of the part to where it belongs in ``into``, which is the part."""
    for piece, lo, hi in _common(part, found):
        into[lo - part.lo : hi - part.lo] = piece.values[lo - piece.lo : hi - piece.lo]


def scattered(part: Part, values: Floats, into: list[Piece]) -> None:
    """Copy the part's ``values`` to those pieces that have elements of it."""
    for piece, lo, hi in _common(part, into):
        piece.values[lo - piece.lo : hi - piece.lo] = values[lo - part.lo : hi - part.lo]


def _common(part: Part, found: list[Piece]) -> Iterator[tuple[Piece, int, int]]:
    for piece in found:
        lo, hi = max(part.lo, piece.lo), min(part.hi, piece.hi)
        if lo < hi:
            yield piece, lo, hi


def _piece(name: str, lo: int, hi: int, array: Any) -> Piece:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, not a {type(array).__name__}")
    found = cast("NDArray[Any]", array)
    if found.dtype != np.float32 or not found.flags.c_contiguous or found.size != hi - lo:
        raise ValueError(
            f"{name} must be {hi - lo} contiguous elements of float32, and is {found.dtype} of shape {found.shape}"
        )
    return Piece(lo, hi, found.reshape(-1))
