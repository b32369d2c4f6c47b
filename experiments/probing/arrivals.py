"""Up to which size a sender is rid of a message before its receiver is ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from experiments.probing.sizes import Budget
from experiments.probing.team import Team
from experiments.traffic import PingPong

__all__ = ["eager_limit"]

_LATE = 15e-3  # seconds that the receiver is late, beside what the message takes
_RESOLUTION = 16  # bytes
_TRIES = 3
_LOOKS = 2
_WARM = 100


def eager_limit(team: Team, budget: Budget) -> int:
    """Bytes of the largest message that the first rank's executor gets rid of while its receiver naps; -1 for none.

    Found by bisection, first over the sizes of the table, then to 16 bytes, and confirmed at both ends. The largest
    size of the table where even that one goes at once. Collective over the team, of which the first pair is at work.
    """
    sizes = budget.crowded()
    # Open MPI lays a faster way through shared memory only after some messages; through the slower one none leaves.
    team.runner(PingPong(_WARM), sizes[0])()
    limit = -1
    for _ in range(_TRIES):
        limit = _bisected(team, budget, sizes)
        beyond = limit + _RESOLUTION
        confirmed = (limit < 0 or _leaves(team, budget, limit)) and (
            limit in (-1, sizes[-1]) or not _leaves(team, budget, beyond)
        )
        if confirmed:
            break
    return limit


def _bisected(team: Team, budget: Budget, sizes: Sequence[int]) -> int:
    if not _leaves(team, budget, sizes[0]):
        return -1
    low, high = 0, len(sizes)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _leaves(team, budget, sizes[middle]) else (low, middle)
    if high == len(sizes):
        return sizes[-1]
    least, most = sizes[low], sizes[high]
    while most - least > _RESOLUTION:
        middle = (least + most) // 2 // 8 * 8
        least, most = (middle, most) if _leaves(team, budget, middle) else (least, middle)
    return least


def _leaves(team: Team, budget: Budget, size: int) -> bool:
    """Whether the send of such a message ends while the receiver naps; the same answer on all ranks of the team.

    A sender that lost its core looks like one that waits, so it is asked twice.
    """
    above = next((known for known in budget.sizes if known >= size), budget.sizes[-1])
    late = _LATE + 3 * budget.one(above)
    call = team.runner(PingPong(1), size)
    return any(_left(team, call, late) for _ in range(_LOOKS))


def _left(team: Team, call: Callable[[], None], late: float) -> bool:
    team.line_up()
    start = time.perf_counter()
    if team.comm.rank >= team.comm.size // 2:
        time.sleep(late)
    call()
    gone = np.array([time.perf_counter() - start < late / 2], np.uint8)
    team.comm.Bcast(gone)
    return bool(gone[0])
