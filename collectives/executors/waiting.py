"""How a rank waits for messages: inside MPI, which looks without a pause, or politely, with naps between two looks.

With more ranks than cores every look that finds nothing takes time from a rank that has work, or from the network
where one machine carries it too (``ciranda cluster``). A nap lasts a fiftieth of the time waited so far, so a long
wait costs next to nothing and ends at most 2 % late.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable

__all__ = ["VARIABLE", "Pause", "naps_wanted", "polite", "sharpen_timers", "watchful"]

VARIABLE = "CIRANDA_WAITING"

Pause = Callable[[float], object]
"""What to do between two looks after that many seconds of waiting."""

_PATIENCE = 1e-3  # seconds for which a timed wait only yields the core, before it naps between two looks
_NAP = 1e-4  # seconds
_POLITE_PATIENCE = 1e-5
_SHARE = 0.02
_SHORTEST, _LONGEST = 5e-5, 1e-3
_PR_SET_TIMERSLACK = 29


def naps_wanted() -> bool:
    """Whether ``CIRANDA_WAITING`` asks for naps. Raises ValueError for a word that it does not know."""
    word = os.environ.get(VARIABLE, "") or "mpi"
    if word not in ("mpi", "nap"):
        raise ValueError(f"{VARIABLE} must be 'mpi' (wait inside MPI) or 'nap' (naps between two looks), got {word!r}")
    return word == "nap"


def watchful(waited: float) -> None:
    """Look often: for a wait that has a time limit, on a core of its own."""
    if waited > _PATIENCE:
        time.sleep(_NAP)
    else:
        os.sched_yield()


def polite(waited: float) -> None:
    """Leave the core to others: naps that grow with the time waited."""
    if waited > _POLITE_PATIENCE:
        time.sleep(min(_LONGEST, max(_SHORTEST, _SHARE * waited)))
    else:
        os.sched_yield()


def sharpen_timers() -> None:
    """Let this thread's naps end when they should: the kernel may add 50 µs to each otherwise. Linux only."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1000, 0, 0, 0)
    except (AttributeError, OSError):  # another system: naps are a little longer there
        return
