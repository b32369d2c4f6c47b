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

    Moments in seconds: its sender's processor was through with it at ``injected``, and at ``ready`` nothing but ports
    was missing. It took the ports of both ranks from ``start`` to ``sent``, was there at ``arrived``, and the
    receiver's processor was through with it at ``end``. Alone, its bytes would have taken ``ideal`` seconds.

    What work it is to ranks that nothing slows down, in seconds: ``encoding`` before ``injected``, ``decoding`` before
    ``end``, ``folding`` after that. ``staging``: for how much of ``sent`` to ``arrived`` it rests in memory on its way.
    """

    source: int
    dest: int
    round: int
    chunks: Chunks
    nbytes: int
    folds: bool
    injected: float
    ready: float
    start: float
    sent: float
    arrived: float
    end: float
    ideal: float
    encoding: float
    decoding: float
    folding: float
    staging: float

    @property
    def receiving(self) -> float:
        """When its first byte arrived: as long before ``arrived`` as the sender's port was taken."""
        return self.arrived - (self.sent - self.start)

    @property
    def waiting(self) -> float:
        """Seconds for which it waited for a port."""
        return self.start - self.ready

    @property
    def contention(self) -> float:
        """Seconds by which others on the same links slowed it down."""
        return max(0.0, self.sent - self.start - self.ideal)


@dataclass(frozen=True, slots=True)
class Stay:
    """``rank`` was in ``round`` from ``entered``; its messages were through at ``received``, its folds at ``left``.

    Between ``left`` of one stay and ``entered`` of the next the rank computes, or waits for its release.
    """

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
