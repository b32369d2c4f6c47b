"""Which of a model's parameters a rank holds where layers are cut: its place's share of the tensors of its stage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from experiments.training.flat import Array, Flat, Shape
from experiments.training.layer import Layer
from experiments.training.parallel_layers import cuts
from experiments.training.parallel_layers.plan import Shared
from experiments.training.parallel_layers.team import Team

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["Holding"]


@dataclass(frozen=True, slots=True, eq=False)
class Holding:
    """The share of one place in ``team`` and ``line``; ``ranges``: where each stage's tensors are in the whole vector.

    ``shapes``: of this stage's whole tensors.
    """

    shared: Shared
    team: Team
    line: Communicator
    shapes: Mapping[str, Shape]
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, stages: Sequence[Sequence[Layer]], shared: Shared, team: Team, line: Communicator) -> Holding:
        """Of the whole model's layers, by stage, this rank has what is ``shared``."""
        shapes = [_shapes(layers) for layers in stages]
        counts = [sum(map(math.prod, each.values())) for each in shapes]
        ranges = tuple(pairwise(accumulate(counts, initial=0)))
        return cls(shared, team, line, shapes[line.rank], ranges)

    def zeros(self) -> Flat:
        """What this rank holds, all zeros, float32."""
        return Flat.zeros(_shapes(self.shared.layers))

    def take(self, whole: Array, part: Flat) -> None:
        """Fill ``part`` with this rank's share of a vector for the whole model."""
        lo, hi = self.ranges[self.line.rank]
        cuts.scatter(Flat(self.shapes, whole[lo:hi]), part, self.shared.cuts, self.team)

    def gathered(self, part: Flat) -> Array:
        """The vector for the whole model, at every rank. Collective: an allgather in the team, one along the line."""
        stage = cuts.gather(part, self.shapes, self.shared.cuts, self.team).vector
        if self.line.size == 1:
            return stage
        whole = np.empty(self.ranges[-1][1], stage.dtype)
        self.line.Allgatherv(stage, [whole, [hi - lo for lo, hi in self.ranges]])
        return whole


def _shapes(layers: Sequence[Layer]) -> dict[str, Shape]:
    return {f"{layer.name}.{key}": shape for layer in layers for key, shape in layer.shapes().items()}
