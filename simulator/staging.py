"""Messages that rest in memory on their way: copied out, sent and copied in piece by piece, all three at once.

A message of m bytes goes in k = ⌈m/piece⌉ equal pieces through stages that are busy for t₁, t₂, ... seconds with each,
so the last piece is through after Σtᵢ + (k−1)·max tᵢ: every stage once, and then the slowest one again for each further
piece. That is a pipeline with two buffers between any two stages, so that none waits but for the slowest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from simulator.networks import Routes, Topology

__all__ = ["Stages", "Staging"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Stages(NamedTuple):
    """The stages of routes: how many (``depth``), and seconds per byte of all but the slowest; shape (routes,)."""

    depth: Ints
    others: Floats

    @classmethod
    def of(cls, topology: Topology, found: Routes) -> Stages:
        """A route is cut where it passes a relay; a stage is as fast as its slowest link."""
        resting = np.isin(topology.ends[found.links, 1], list(topology.relays))
        opens = np.zeros(len(found.links), dtype=np.bool_)
        opens[1:] = resting[:-1]
        opens[found.first[:-1]] = True
        starts = np.flatnonzero(opens)
        per_byte = 1.0 / np.minimum.reduceat(topology.bandwidth[found.links], starts)
        first = np.searchsorted(starts, found.first[:-1])
        depth = np.diff(np.append(first, len(starts)))
        return cls(depth, np.add.reduceat(per_byte, first) - np.maximum.reduceat(per_byte, first))

    def at(self, routes: Ints) -> Stages:
        """Those of ``routes``."""
        return Stages(self.depth[routes], self.others[routes])

    def then(self, more: Stages) -> Stages:
        """These and after them ``more``."""
        return Stages(np.concatenate([self.depth, more.depth]), np.concatenate([self.others, more.others]))


@dataclass(frozen=True, slots=True)
class Staging:
    """``piece``: bytes of a piece at most; ``seconds``: what a stage spends on a piece beside its bytes.

    Without a limit a message is one piece: stored whole, and then forwarded.
    """

    piece: float = math.inf
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.piece >= 1:
            raise ValueError(f"a piece has at least one byte, got {self.piece}")
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ValueError(f"a stage's seconds a piece must be finite and at least 0, got {self.seconds}")

    def pieces(self, nbytes: Ints, stages: Stages) -> Ints:
        """How many pieces each message is: one where it does not rest anywhere, or is empty."""
        found = np.maximum(1, np.ceil(nbytes / self.piece)).astype(np.int64)
        return np.where(stages.depth > 1, found, 1)

    def fill(self, nbytes: Ints, pieces: Ints, stages: Stages) -> Floats:
        """Seconds for which the first piece of each message is in other stages than the slowest."""
        waits = (stages.depth - 1) * self.seconds + nbytes / pieces * stages.others
        return np.where(nbytes > 0, waits, 0.0)

    def taken(self, nbytes: Ints, pieces: Ints, stages: Stages, ports: Floats, folding: Floats) -> Floats:
        """Seconds for which the slowest stage, or the fold of each piece if that is slower, holds the ports.

        ``ports``: seconds for all bytes in the slowest stage, ``folding``: for the fold of one piece.
        """
        staged = (stages.depth > 1) & (nbytes > 0)
        once = ports / pieces + self.seconds
        return np.where(staged, once + (pieces - 1) * np.maximum(once, folding), ports)
