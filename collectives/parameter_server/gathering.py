"""A part's gradient on its way together: tensors are given one by one, and the part goes when all of its are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectives.parameter_server.layout import Piece, gathered
from collectives.parameter_server.messages import Bytes, Coding, Kind, Message
from collectives.parameter_server.payloads import Floats, decoded, rows_of
from collectives.parameter_server.sharding import Part
from collectives.parameter_server.tickets import Ticket

__all__ = ["Gathering", "Rows", "Terms"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The gradient of a table of which few rows have one: row ``indices[i]`` (int64) gets ``values[i]``.

    ``values`` is float32 of shape (m, width), width that of the table. Equal indices add up.
    Raises ValueError for arrays that do not fit each other.
    """

    indices: NDArray[Any]
    values: Floats

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.indices.shape != self.values.shape[:1] or self.values.dtype != np.float32:
            raise ValueError(
                f"rows must be float32 of shape (m, width) with m indices, and are {self.values.dtype} of shape "
                f"{self.values.shape} with indices of shape {self.indices.shape}"
            )

    def checked(self, name: str, count: int) -> Rows:
        """Itself; ValueError unless it is of a table of ``count`` elements."""
        width = self.values.shape[1]
        if width < 1 or count % width:
            raise ValueError(f"{name} has {count} elements, which are no rows of {width}")
        if self.indices.size and not (self.indices.min() >= 0 and self.indices.max() < count // width):
            raise ValueError(f"{name} has rows 0 to {count // width - 1}, and the indices go beyond")
        return self

    def payload(self, tensor_lo: int, lo: int, hi: int) -> Bytes:
        """What elements ``lo`` to ``hi`` of the flat vector get, the tensor beginning at ``tensor_lo``."""
        return rows_of(self.indices, self.values, tensor_lo - lo, hi - lo)

    def dense(self, tensor_lo: int, lo: int, hi: int) -> Piece:
        """The same with its zeros."""
        message = Message(Kind.PUSH, 0, payload=self.payload(tensor_lo, lo, hi), coding=Coding.ROWS)
        return Piece(lo, hi, decoded(message, hi - lo, None))


@dataclass(frozen=True, slots=True)
class Terms:
    """What a push says of its gradient. ``clock``: for which it is; a part where that clock is over is left out."""

    samples: int
    learning_rate: float | None
    clock: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.samples < 1 << 32:
            raise ValueError(f"a gradient must be of at least one sample, not of {self.samples}")


@dataclass(slots=True, eq=False)
class Gathering:
    """``missing``: tensors of the part that were not given yet. ``wanted`` (None: nothing): where its answer goes."""

    part: Part
    values: Floats
    missing: set[str]
    terms: Terms
    tickets: list[Ticket] = field(default_factory=list[Ticket])
    wanted: list[Piece] | None = None

    def add(self, names: set[str], found: list[Piece], wanted: list[Piece] | None, ticket: Ticket) -> None:
        """``found`` has the gradients of tensors ``names``."""
        gathered(self.part, found, self.values)
        self.missing -= names
        if wanted is not None:
            self.wanted = (self.wanted or []) + wanted
        if ticket not in self.tickets:
            self.tickets.append(ticket)
            ticket.open += 1

    def check(self, names: set[str], terms: Terms) -> None:
        """Raise ValueError for tensors that were given already, or other terms than those before."""
        if twice := names - self.missing:
            raise ValueError(
                f"{', '.join(sorted(twice))} was pushed twice, and part {self.part.number} still waits for "
                f"{', '.join(sorted(self.missing))}: push every tensor once a step"
            )
        if terms != self.terms:
            raise ValueError(f"part {self.part.number} holds tensors pushed with {self.terms}, and now with {terms}")
