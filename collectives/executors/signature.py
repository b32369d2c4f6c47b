"""What a rank is about to call, in a fixed binary form that every rank can compare before any data moves."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from collectives.schedule import Recv, Round, Send

__all__ = ["RECORD", "RollCall", "Signature", "disagreements"]

TEXT = 56  # bytes for each name
FORM = struct.Struct(f"<{TEXT}s{TEXT}s{TEXT}s{TEXT}sqq")
RECORD = FORM.size
"""Bytes of a packed signature."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One collective call as one rank sees it; ``count`` is in elements of ``dtype``, ``root`` -1 where none is."""

    collective: str
    algorithm: str
    op: str
    dtype: str
    count: int
    root: int = -1

    def pack(self) -> bytes:
        """``RECORD`` bytes; a name too long for its field is cut and ends in its checksum, so it still differs."""
        names = (self.collective, self.algorithm, self.op, self.dtype)
        return FORM.pack(*(_fitted(name.encode()) for name in names), self.count, self.root)

    @classmethod
    def unpack(cls, record: bytes) -> Signature:
        """The signature that was packed, long names cut."""
        *names, count, root = FORM.unpack(record)
        texts = [name.rstrip(b"\0").decode(errors="replace") for name in names]
        return cls(texts[0], texts[1], texts[2], texts[3], count, root)


class RollCall:
    """The schedule by which signatures travel: everyone tells everyone at once, so a timeout names who is missing."""

    label = "the check that all ranks make the same call"

    def rounds(self, rank: int, size: int) -> tuple[Round, ...]:
        """One round; chunk r is rank r's signature."""
        others = [other for other in range(size) if other != rank]
        return ((*(Recv(other, other) for other in others), *(Send(other, rank) for other in others)),)


def disagreements(signatures: Sequence[Signature]) -> str:
    """Who says what, field by field where ranks differ, ``signatures[r]`` being rank r's; empty if all agree."""
    rows = [astuple(signature) for signature in signatures]
    columns = zip(fields(Signature), zip(*rows, strict=True), strict=True)
    return "; ".join(f"{field.name}: {_opinions(values)}" for field, values in columns if len(set(values)) > 1)


def _opinions(values: Sequence[object]) -> str:
    holders = {value: [rank for rank, other in enumerate(values) if other == value] for value in values}
    return " but ".join(f"{value} on {_ranks(ranks)}" for value, ranks in holders.items())


def _ranks(ranks: list[int]) -> str:
    shown = ", ".join(map(str, ranks[:8])) + (f" and {len(ranks) - 8} more" if len(ranks) > 8 else "")
    return f"rank {shown}" if len(ranks) == 1 else f"ranks {shown}"


def _fitted(name: bytes) -> bytes:
    return name if len(name) <= TEXT else name[: TEXT - 9] + b"~%08x" % zlib.crc32(name)
