"""One launch for all numbers of ranks: so many of the ranks are at work on a communicator of theirs, the others sleep.

That saves a start of all processes for each number of ranks. All functions are collective over ``world``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["connected", "first", "together", "told"]

_NAP = 0.02  # seconds of a sleeping rank between two looks


def told(world: MPI.Intracomm, file: Path) -> dict[str, Any]:
    """The JSON of a file, which rank 0 reads for all: the other ranks may be on machines that have no such file."""
    import numpy as np

    content = file.read_bytes() if world.rank == 0 else b""
    length = np.array([len(content)], np.int64)
    world.Bcast(length)
    text = np.frombuffer(content, np.uint8).copy() if world.rank == 0 else np.zeros(length[0], np.uint8)
    world.Bcast(text)
    return json.loads(text.tobytes())


def connected(world: MPI.Intracomm) -> None:
    """Let every pair of ranks meet once: MPI connects them at their first message."""
    import numpy as np

    mine, other = np.zeros(1, np.uint8), np.zeros(1, np.uint8)
    for step in range(1, world.size):
        world.Sendrecv(mine, (world.rank + step) % world.size, recvbuf=other, source=(world.rank - step) % world.size)


def first(world: MPI.Intracomm, counts: Iterable[int]) -> list[MPI.Comm]:
    """For each of ``counts`` a communicator of the first so many ranks; MPI.COMM_NULL on the others."""
    from mpi4py import MPI

    return [world.Split(MPI.UNDEFINED if world.rank >= count else 0, world.rank) for count in counts]


def together(world: MPI.Intracomm) -> None:
    """A barrier in which a rank that waits sleeps."""
    request = world.Ibarrier()
    while not request.Test():
        time.sleep(_NAP)
