"""What a server saw and what a worker saw, as they report it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from collectives.parameter_server.consistency import Reception
from collectives.parameter_server.lateness import Lateness

__all__ = ["ServerStatistics", "WorkerStatistics"]


@dataclass(slots=True)
class ServerStatistics:
    """Counts since the start; seconds by the server's own clock.

    ``staleness``: for each worker, how many of its pushes (a part's each) missed how many updates. ``busy``: seconds in
    which it worked on messages. ``queued``: sum over the messages of how many were waiting when each was begun, so that
    ``queued / messages`` is the mean; ``longest`` the most.
    """

    messages: int = 0
    pushes: int = 0
    updates: int = 0
    duplicates: int = 0
    late: int = 0
    refused: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    busy: float = 0.0
    queued: int = 0
    longest: int = 0
    staleness: dict[int, Counter[int]] = field(default_factory=dict[int, "Counter[int]"])
    refusals: list[str] = field(default_factory=list[str])
    """Of the first hundred messages that were refused, what was wrong."""
    lateness: Lateness = field(default_factory=Lateness)
    """How long the workers' steps take, and which workers are slow."""

    def pushed(self, worker: int, reception: Reception, staleness: int, updates: int) -> None:
        """A push was received and led to so many updates."""
        self.pushes += 1
        self.updates += updates
        self.duplicates += reception is Reception.DUPLICATE
        self.late += reception is Reception.LATE
        if reception is Reception.TAKEN:
            self.staleness.setdefault(worker, Counter())[staleness] += 1

    def refuse(self, reason: str) -> None:
        """A message was refused."""
        self.refused += 1
        if len(self.refusals) < 100:
            self.refusals.append(reason)

    def met(self, waiting: int) -> None:
        """A message is begun while so many wait."""
        self.messages += 1
        self.queued += waiting
        self.longest = max(self.longest, waiting)


@dataclass(slots=True)
class WorkerStatistics:
    """Counts since the start. ``waited``: seconds in which the caller waited for answers.

    ``staleness``: how many pushes (a part's each) missed how many updates; ``late`` were dropped. ``refused``: messages
    that a server would not act on.
    """

    pushes: int = 0
    pulls: int = 0
    late: int = 0
    refused: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    waited: float = 0.0
    staleness: Counter[int] = field(default_factory=Counter[int])
