"""Messages beside computing: calls that a thread of its own carries out, in the order in which they are handed over."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from collectives.executors import waiting
from experiments.errors import Failure

__all__ = ["Overlap"]


class Overlap:
    """``hand`` calls over and go on, ``wait`` for all of them; what a call raises, ``wait`` raises.

    Calls of one Overlap use communicators that nothing else uses, and MPI must allow several threads. After a call
    that failed, the others that were handed over are left out.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._thread = ThreadPoolExecutor(1, "ciranda-messages", initializer=waiting.sharpen_timers)
        self._handed: deque[tuple[str, Future[None]]] = deque()

    def hand(self, what: str, call: Callable[[], None]) -> None:
        """Have ``call`` carried out; ``what`` it is, for people."""
        self._handed.append((what, self._thread.submit(call)))

    def wait(self) -> float:
        """Until all calls are through; returns the seconds that this took.

        Raises what a call raised, and Failure where one is not through after the limit.
        """
        began = time.perf_counter()
        try:
            while self._handed:
                what, future = self._handed.popleft()
                self._result(what, future)
        finally:
            while self._handed:
                self._handed.pop()[1].cancel()
        return time.perf_counter() - began

    def _result(self, what: str, future: Future[None]) -> None:
        try:
            future.result(self._limit)
        except TimeoutError:
            if future.done():
                raise
            raise Failure(f"{what} is not through after {self._limit:g} s: another rank is late, or gone") from None

    def close(self) -> None:
        """End the thread; what it has not begun is left out."""
        self._thread.shutdown(wait=True, cancel_futures=True)
