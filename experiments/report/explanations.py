"""What the simulator's terms say of the gap between theory and measurement, cell by cell.

Each cell's ``explained`` splits measured minus theory into the seconds that each term adds; their sum closes the gap,
with what no term accounts for under ``unexplained``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from experiments.report.findings import ours
from experiments.report.results import Cell

__all__ = ["REST", "Example", "TermShare", "example", "terms_of", "totals"]

REST = "unexplained"
"""The name of what no term accounts for."""

_NOTABLE = 1.25  # an example must be at least this factor off theory, one way or the other


@dataclass(frozen=True, slots=True)
class Example:
    """One cell whose difference from theory is large and well explained.

    ``factor`` is measured / theory, ``term`` the largest term, which adds ``seconds`` and is ``share`` of the gap;
    ``left`` is the relative error that remains with all terms.
    """

    cell: Cell
    factor: float
    term: str
    seconds: float
    share: float
    left: float


@dataclass(frozen=True, slots=True)
class TermShare:
    """One term over many cells: the median of what it adds over theory, and in how many cells it is the largest."""

    term: str
    effect: float
    largest: int
    cells: int


def terms_of(cells: Iterable[Cell]) -> list[str]:
    """The terms that any cell knows, in the order in which they were switched on, the rest last."""
    known = list(dict.fromkeys(term for cell in cells for term in cell.explained))
    return [term for term in known if term != REST] + [term for term in known if term == REST]


def totals(cells: Iterable[Cell]) -> list[TermShare]:
    """How much each term matters over all explained cells."""
    group = [cell for cell in ours(cells) if cell.explained and cell.theory]
    return [
        TermShare(
            term,
            median(cell.explained.get(term, 0.0) / cell.theory for cell in group if cell.theory),
            sum(cell.reason == term for cell in group),
            len(group),
        )
        for term in terms_of(group)
    ]


def example(cells: Iterable[Cell]) -> Example | None:
    """The cell with the largest explained factor, or None where no cell is both notable and explained.

    It is the one with the most of |log(measured / theory)| times the part of the gap that its largest term closes.
    """
    found = [each for cell in ours(cells) if (each := _told(cell)) is not None]
    return max(found, key=_telling, default=None)


def _told(cell: Cell) -> Example | None:
    terms = {term: seconds for term, seconds in cell.explained.items() if term != REST}
    if not terms or not cell.theory or cell.simulated is None:
        return None
    factor, gap = cell.seconds / cell.theory, cell.seconds - cell.theory
    term = max(terms, key=lambda name: terms[name] / gap if gap else 0.0)
    share = terms[term] / gap if gap else 0.0
    # A term that adds more than the whole gap is met by another that takes away: that is no plain story.
    if max(factor, 1 / factor) < _NOTABLE or not 0.5 <= share <= 1.2:
        return None
    return Example(cell, factor, term, terms[term], share, (cell.simulated - cell.seconds) / cell.seconds)


def _telling(example: Example) -> float:
    return abs(math.log(example.factor)) * (1 - abs(1 - example.share)) * (1 - min(1.0, abs(example.left)))
