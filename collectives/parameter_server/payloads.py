"""What a push carries: float32 numbers as they are, encoded, or the rows of a table that have a gradient."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectives.parameter_server.messages import Bytes, Coding, Message, Refused, as_bytes
from kernels.compress import Encoding

__all__ = ["Floats", "decoded", "rows_of"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_ROWS = struct.Struct("<qqq")  # width of a row, where row 0 begins (elements from the part's first), number of rows


def decoded(message: Message, count: int, encoding: Encoding | None) -> Floats:
    """The ``count`` numbers of a push. RAW ones share the message's memory. Refused for a payload that cannot be."""
    payload = message.payload
    if message.coding is Coding.RAW:
        _expect(message, payload.size, 4 * count)
        return payload.view(np.float32)
    if message.coding is Coding.ROWS:
        return _from_rows(message, count)
    if message.coding is not Coding.ENCODED or encoding is None:
        raise Refused(f"{told(message)} is coded as {message.coding.name}, which is not agreed")
    _expect(message, payload.size, encoding.nbytes(count))
    values = np.empty(count, np.float32)
    encoding.decode(np.ascontiguousarray(payload), values)
    return values


def told(message: Message) -> str:
    """The message in words."""
    return f"{message.kind.name} {message.clock} of worker {message.worker} for part {message.part}"


def rows_of(indices: NDArray[Any], rows: Floats, first: int, count: int) -> Bytes:
    """What a part of ``count`` elements gets of a table's rows; a row at its edge is cut.

    ``indices``: int64 of shape (m,), ``rows``: float32 of shape (m, width); row 0 of the table begins ``first``
    elements from the part's own beginning. Equal indices add up. Cost: 8 + 4·width bytes a row.
    """
    width = rows.shape[1]
    begin = first + indices.astype(np.int64) * width
    touched = (begin < count) & (begin + width > 0)
    inside = _inside(begin[touched], width, count)[1]
    values = rows[touched][inside]
    head = np.frombuffer(_ROWS.pack(width, first, int(touched.sum())), np.uint8)
    return np.concatenate([head, as_bytes(indices[touched].astype(np.int64)), as_bytes(values.astype(np.float32))])


def _from_rows(message: Message, count: int) -> Floats:
    payload = message.payload
    if payload.size < _ROWS.size:
        raise Refused(f"{told(message)} has {payload.size} bytes, too few for rows")
    width, first, number = _ROWS.unpack_from(payload.tobytes()[: _ROWS.size])
    values_at = _ROWS.size + 8 * number
    if width < 1 or number < 0 or values_at > payload.size or (payload.size - values_at) % 4:
        raise Refused(f"{told(message)} has {payload.size} bytes for {number} rows of {width}")
    begin = first + payload[_ROWS.size : values_at].view(np.int64) * width
    if not ((begin < count) & (begin + width > 0)).all():
        raise Refused(f"{told(message)} has a row that lies outside of the part")
    positions, inside = _inside(begin, width, count)
    values = payload[values_at:].view(np.float32)
    _expect(message, values.nbytes, 4 * int(inside.sum()))
    total = np.zeros(count, np.float32)
    np.add.at(total, positions[inside], values)
    return total


def _inside(begin: Ints, width: int, count: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Where the elements of rows lie in the part, of shape (rows, width), and which of them are in it."""
    positions = begin[:, None] + np.arange(width)
    return positions, (positions >= 0) & (positions < count)


def _expect(message: Message, found: int, wanted: int) -> None:
    if found != wanted:
        raise Refused(f"{told(message)} has {found} bytes of numbers where {wanted} are due")
