"""The page's space-time diagrams, drawn from the simulator's record at the calibrated costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from collectives.profile import Profile
from experiments import draw
from experiments.report.findings import algorithm_of, landmarks, ours
from experiments.report.results import Results
from experiments.report.texts import trusted
from simulator import networks

__all__ = ["Drawing", "drawings"]

_RANKS = 4  # enough for a shape, few enough to read


@dataclass(frozen=True, slots=True)
class Drawing:
    """One algorithm's diagram; ``svg`` is safe, for experiments.draw made and escaped it."""

    name: str
    ranks: int
    nbytes: int
    svg: Markup


def drawings(results: Results, language: str) -> Sequence[Drawing]:
    """A diagram of each measured algorithm of the catalogue, for four ranks and the middle one of the sizes."""
    ranks = min(results.ranks, key=lambda count: abs(count - _RANKS))
    sizes = landmarks(results.sizes)
    nbytes = sizes[len(sizes) // 2]
    network = networks.from_profile(results.profile(ranks) or Profile.default(), ranks)
    algorithms = {algorithm for cell in ours(results.cells) if (algorithm := algorithm_of(cell, ranks)) is not None}
    found: list[Drawing] = []
    for algorithm in sorted(algorithms, key=lambda each: (each.name != "ring", each.label)):  # the best known one first
        svg = draw.svg(algorithm, ranks, nbytes, network, language=language, theme="inherit")
        found.append(Drawing(algorithm.label, ranks, nbytes, trusted(svg)))
    return found
