"""The page's space-time diagrams, drawn from the simulator's record at the calibrated costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from collectives import catalogue
from collectives.profile import Profile
from experiments import draw
from experiments.report.findings import landmarks, ours
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
    network = networks.from_profile(results.profiles.get(ranks) or Profile.default(), ranks)
    known = catalogue.names("allreduce")
    names = sorted({cell.algorithm for cell in ours(results.cells) if cell.algorithm.partition(":")[0] in known})
    found: list[Drawing] = []
    for name in sorted(names, key=lambda name: (name != "ring", name)):  # the one that everybody knows comes first
        algorithm = catalogue.parse(name)
        if algorithm.supports(ranks):
            svg = draw.svg(algorithm, ranks, nbytes, network, language=language, theme="inherit")
            found.append(Drawing(name, ranks, nbytes, trusted(svg)))
    return found
