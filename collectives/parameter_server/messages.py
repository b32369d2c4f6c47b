"""What workers and servers tell each other: a fixed binary header and raw bytes, in one message.

The header is little-endian, 72 bytes: magic, checksum, protocol, kind, coding, reception, worker, run, part, samples,
clock, version, learning rate, request, staleness, length. The checksum (crc32c) is of all that follows it, the payload
included, so a message that was damaged, cut, or meant for another run is refused and never acted on.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectives.parameter_server.consistency import Reception
from kernels import checksum

__all__ = ["EVERY_PART", "HEADER", "Bytes", "Coding", "Envelope", "Kind", "Message", "Refused", "as_bytes", "packed",
           "parsed", "text"]  # fmt: skip

Bytes = NDArray[np.uint8]

MAGIC = b"CiPS"
PROTOCOL = 1
EVERY_PART = 0xFFFFFFFF
"""The part of a message that is about all parts of its server."""

HEADER = struct.Struct("<4sIBBBBiQIIqqdQII")
_COVERED = 8  # the checksum is of all bytes from here on
_OWN_RATE = -1.0
_RECEPTIONS: tuple[Reception, ...] = tuple(Reception)


class _Header(NamedTuple):
    """The fields of ``HEADER`` in their order."""

    magic: bytes
    crc: int
    protocol: int
    kind: int
    coding: int
    reception: int
    worker: int
    run: int
    part: int
    samples: int
    clock: int
    version: int
    rate: float
    request: int
    staleness: int
    length: int


class Kind(IntEnum):
    """What a message is for. Workers send the first group, servers answer with the second, the third is theirs."""

    PUSH = 1
    PULL = 2
    PUSH_PULL = 3
    JOIN = 4
    LEAVE = 5
    END = 6
    EXPLAIN = 7

    ACK = 16
    PARAMETERS = 17
    REFUSED = 18
    EXPLAINED = 19

    REPLICATE = 32
    REPLICATED = 33
    HEARTBEAT = 34
    SNAPSHOT = 35


class Coding(IntEnum):
    """How a payload is to be read: float32 numbers, the configuration's encoding, rows of a table, or UTF-8."""

    RAW = 0
    ENCODED = 1
    ROWS = 2
    TEXT = 3


class Refused(ValueError):
    """A message that must not be acted on; the text says whose it was and what is wrong with it."""


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One message. ``worker`` sends or is answered; ``part`` and ``clock`` say what of.

    A push: ``clock`` counts the worker's pushes of the part, ``samples`` are those over which its gradient is summed,
    ``learning_rate`` is None for the optimiser's own. A request that wants parameters has a number, ``request``, which
    its answer bears. An answer: ``reception`` and ``staleness`` of the push, ``version`` counts the updates in the
    parameters, ``clock`` those clocks of the part that are over (PARAMETERS), or the push's own (ACK).
    """

    kind: Kind
    worker: int
    part: int = EVERY_PART
    clock: int = 0
    payload: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))
    coding: Coding = Coding.RAW
    samples: int = 0
    learning_rate: float | None = None
    request: int = 0
    reception: Reception = Reception.TAKEN
    staleness: int = 0
    version: int = 0

    @property
    def text(self) -> str:
        """The payload of REFUSED and EXPLAINED."""
        return self.payload.tobytes().decode(errors="replace")

    @property
    def nbytes(self) -> int:
        """Bytes on the wire."""
        return HEADER.size + self.payload.size


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message and the rank that it goes to."""

    rank: int
    message: Message


def as_bytes(array: NDArray[Any]) -> Bytes:
    """The bytes of a contiguous array, without a copy."""
    return array.reshape(-1).view(np.uint8)


def packed(message: Message, run: int) -> Bytes:
    """The message as it travels. Cost: its payload copied once and read once.

    Raises ValueError for a payload of 4 GiB or more.
    """
    if message.payload.size >= 1 << 32:
        raise ValueError(f"a payload of {message.payload.size} bytes is too long: make the partition smaller")
    buffer = np.empty(message.nbytes, np.uint8)
    rate = _OWN_RATE if message.learning_rate is None else message.learning_rate
    HEADER.pack_into(
        buffer.data, 0, MAGIC, 0, PROTOCOL, message.kind, message.coding, _RECEPTIONS.index(message.reception),
        message.worker, run, message.part, message.samples, message.clock, message.version, rate, message.request,
        message.staleness, message.payload.size,
    )  # fmt: skip
    buffer[HEADER.size :] = message.payload
    struct.pack_into("<I", buffer.data, 4, checksum.get("crc32c")(buffer[_COVERED:]))
    return buffer


def parsed(buffer: Bytes, run: int, source: str) -> Message:
    """The message in ``buffer``, whose payload it shares; Refused for one that cannot be trusted.

    ``source``: who sent it, in words, such as "rank 3". Cost: the buffer read once.
    """
    if buffer.size < HEADER.size:
        raise Refused(f"a message of {buffer.size} bytes from {source} is shorter than a header of {HEADER.size}")
    header = _Header._make(HEADER.unpack_from(buffer.data))
    if header.magic != MAGIC:
        raise Refused(f"what came from {source} is no message of a parameter server: it begins with {header.magic!r}")
    if checksum.get("crc32c")(buffer[_COVERED:]) != header.crc:
        raise Refused(f"a message of {buffer.size} bytes from {source} is damaged: its checksum does not fit")
    if header.protocol != PROTOCOL:
        raise Refused(f"{source} speaks protocol {header.protocol} of the parameter server, and this is {PROTOCOL}")
    if header.run != run:
        raise Refused(f"a message from {source} belongs to run {header.run:#x}, and this is run {run:#x}")
    if header.length != buffer.size - HEADER.size:
        found = buffer.size - HEADER.size
        raise Refused(f"a message from {source} announces a payload of {header.length} bytes and has {found}")
    return _read(header, buffer[HEADER.size :], source)


def _read(header: _Header, payload: Bytes, source: str) -> Message:
    try:
        kind, coding, reception = Kind(header.kind), Coding(header.coding), _RECEPTIONS[header.reception]
    except (ValueError, IndexError) as error:
        raise Refused(f"a message from {source} is of no known kind: {error}") from None
    worker, clock = header.worker, header.clock
    if worker < 0 or clock < 0:
        raise Refused(f"a message from {source} is of worker {worker} at clock {clock}: neither can be negative")
    rate = None if header.rate == _OWN_RATE else header.rate
    return Message(
        kind, worker, header.part, clock, payload, coding, header.samples, rate, header.request, reception,
        header.staleness, header.version,
    )  # fmt: skip


def text(kind: Kind, worker: int, words: str, *, part: int = EVERY_PART, clock: int = 0, request: int = 0) -> Message:
    """A message of words: REFUSED or EXPLAINED."""
    payload = np.frombuffer(words.encode(), np.uint8)
    return Message(kind, worker, part, clock, payload, Coding.TEXT, request=request)
