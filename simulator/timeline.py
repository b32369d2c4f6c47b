"""When everything happened in one simulated run: for pictures, traces and explanations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from collectives.schedule import Chunks

__all__ = ["Message", "Stay", "Timeline"]


@dataclass(frozen=True, slots=True)
class Message:
    """``chunks`` (``nbytes`` bytes) went from ``source`` to ``dest`` in ``round``; ``folds``: the receiver combines.

    Seconds: it began at ``start``, the sender's port was free again at ``sent`` and all had arrived at ``end``.
    """

    source: int
    dest: int
    round: int
    chunks: Chunks
    nbytes: int
    folds: bool
    start: float
    sent: float
    end: float

    @property
    def receiving(self) -> float:
        """When its first byte arrived: as long before ``end`` as the sender's port was taken."""
        return self.end - (self.sent - self.start)


@dataclass(frozen=True, slots=True)
class Stay:
    """``rank`` was in ``round`` from ``entered``; its messages were through at ``received``, its folds at ``left``."""

    rank: int
    round: int
    entered: float
    received: float
    left: float


@dataclass(frozen=True, slots=True)
class Timeline(Sequence[Message]):
    """The messages of a run, ordered by round, and ``stays``: every rank's rounds that gave it something to do."""

    messages: tuple[Message, ...]
    stays: tuple[Stay, ...]

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Message, ...]: ...
    def __getitem__(self, index: int | slice) -> Message | tuple[Message, ...]:
        return self.messages[index]

    def __len__(self) -> int:
        return len(self.messages)
