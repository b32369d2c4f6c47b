"""How tensors of a whole model are cut for a team, and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from collectives.schedule import extents
from experiments.training.flat import Array, Flat, Shape
from experiments.training.parallel_layers.team import Team

__all__ = ["Cut", "gather", "scatter"]


@dataclass(frozen=True, slots=True)
class Cut:
    """A tensor, ``seen`` as of this shape, has its units along ``axis``; ranks get units as evenly as can be."""

    seen: Shape
    axis: int

    def of(self, whole: Array, rank: int, size: int) -> Array:
        """A view of the share of one rank of ``size``."""
        lo, hi = extents(self.seen[self.axis], size)[rank]
        return whole.reshape(self.seen)[(slice(None),) * self.axis + (slice(lo, hi),)]


def scatter(whole: Flat, part: Flat, cuts: Mapping[str, Cut], team: Team) -> None:
    """Fill ``part`` with this rank's shares of ``whole``; what is not cut is copied."""
    for name in part:
        tensor = cuts[name].of(whole[name], team.rank, team.size) if name in cuts else whole[name]
        part[name][...] = tensor.reshape(part.shapes[name])


def gather(part: Flat, shapes: Mapping[str, Shape], cuts: Mapping[str, Cut], team: Team) -> Flat:
    """The whole tensors of these ``shapes``, at every rank. Collective: an allgather of all shares."""
    whole = Flat.zeros(shapes, part.vector.dtype)
    held = [_held(whole, cuts, rank, team.size) for rank in range(team.size)]
    counts = [sum(each.size for each in views.values()) for views in held]
    pieces: Any = np.empty(sum(counts), part.vector.dtype)
    team.comm.Allgatherv(part.vector, [pieces, counts])
    at = 0
    for views in held:
        for view in views.values():
            view[...] = pieces[at : at + view.size].reshape(view.shape)
            at += view.size
    return whole


def _held(whole: Flat, cuts: Mapping[str, Cut], rank: int, size: int) -> dict[str, Array]:
    """What one rank has, as views of the whole, in its own order."""
    return {name: cuts[name].of(whole[name], rank, size) if name in cuts else whole[name] for name in whole}
