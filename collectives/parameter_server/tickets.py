"""What a worker gets for a request that is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Ticket"]


@dataclass(slots=True, eq=False)
class Ticket:
    """Wait for it, or ask whether it is done; a pull has then written the parameters.

    ``staleness``: for each part's push that was taken, how many updates it had missed; ``late``: how many parts'
    pushes came after their clock's update and were dropped. Both are complete when it is done.
    """

    what: str
    waiting: Callable[[Ticket, float | None], None]
    """Waits so many seconds (None: the usual limit) for it to be done, or raises."""
    open: int = 0
    """How many parts' answers are missing."""
    staleness: list[int] = field(default_factory=list[int])
    late: int = 0
    error: Exception | None = None

    def done(self) -> bool:
        """Whether all answers have come, or it failed."""
        return self.error is not None or self.open == 0

    def wait(self, timeout: float | None = None) -> Ticket:
        """Wait until it is done, at most ``timeout`` seconds (None: the worker's limit); returns itself.

        Raises ServerTimeout, ServerRefused, or what else kept it from being done.
        """
        if not self.done():
            self.waiting(self, timeout)
        if self.error is not None:
            raise self.error
        return self
