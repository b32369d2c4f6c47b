"""What the measurements say: who wins where, how right the predictions were, how far the native library is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from collectives import catalogue
from collectives.catalogue import Algorithm
from experiments.report.results import MODELS, Cell, Model
from experiments.scaling.judgement import NEAR

__all__ = ["Accuracy", "Contest", "accuracy", "algorithm_of", "contests", "landmarks", "ours"]

_EQUAL = 1e-3  # predictions this close are one prediction: at two ranks half the algorithms have the same closed form


@dataclass(frozen=True, slots=True)
class Contest:
    """All algorithms at one rank count and size.

    ``winner`` is the fastest as measured, ``tied`` are those of its ``rivals`` whose
    95 % interval reaches into the winner's.
    ``picks`` are those that a model ranks first: the one that it picks, and after it those whose times it cannot tell
    from that one's. None where it has no times.
    """

    ranks: int
    nbytes: int
    oversubscribed: bool
    winner: Cell
    tied: tuple[Cell, ...]
    rivals: int
    picks: Mapping[Model, tuple[Cell, ...]]

    def regret(self, model: Model) -> float | None:
        """What trusting ``model`` costs: its pick's time over the winner's (1 is nothing)."""
        chosen = self.picks[model]
        return chosen[0].seconds / self.winner.seconds if chosen else None

    def right(self, model: Model) -> bool | None:
        """Whether the pick is the winner or takes at most 5 % longer; None where the model picks nothing."""
        regret = self.regret(model)
        return None if regret is None else regret <= 1 + NEAR


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How right the predictions of one algorithm were over ``cells`` pairs of rank count and size.

    ``theory`` and ``simulated`` are median relative errors, ``worst`` is theory's greatest; ``fitting`` and
    ``crowded`` are theory's median error with enough cores and with more ranks than cores; ``factor`` is the median
    of measured over theory.
    """

    algorithm: str
    cells: int
    theory: float | None
    simulated: float | None
    worst: float | None
    fitting: float | None
    crowded: float | None
    factor: float | None


def ours(cells: Iterable[Cell]) -> list[Cell]:
    """The cells of the catalogue's algorithms, without the native library's."""
    return [cell for cell in cells if not cell.native]


def algorithm_of(cell: Cell, ranks: int) -> Algorithm | None:
    """The catalogue's entry for what the cell measured, or None where there is none for ``ranks`` ranks."""
    try:
        found = catalogue.parse(cell.algorithm)
    except (KeyError, ValueError):  # results of another version may hold names and parameters that this one lacks
        return None
    return found if found.collective == "allreduce" and found.supports(ranks) else None


def contests(cells: Sequence[Cell]) -> list[Contest]:
    """One contest for each rank count and size, in that order."""
    return [
        _contest([cell for cell in cells if (cell.ranks, cell.nbytes) == place])
        for place in sorted({(cell.ranks, cell.nbytes) for cell in ours(cells)})
    ]


def landmarks(sizes: Iterable[int]) -> list[int]:
    """A small, a medium and a large size: the ends and the middle of those measured."""
    ordered = sorted(set(sizes))
    return sorted({ordered[0], ordered[len(ordered) // 2], ordered[-1]}) if ordered else []


def accuracy(cells: Iterable[Cell], name: str) -> Accuracy:
    """The errors of our algorithms over ``cells``, under the heading ``name``."""
    group = ours(cells)
    theory = [error for cell in group if (error := cell.error("theory")) is not None]
    return Accuracy(
        name,
        len(group),
        _median(theory),
        _median(cell.error("simulated") for cell in group),
        max(theory, default=None),
        _median(cell.error("theory") for cell in group if not cell.oversubscribed),
        _median(cell.error("theory") for cell in group if cell.oversubscribed),
        _median(cell.factor for cell in group),
    )


def _contest(place: Sequence[Cell]) -> Contest:
    field = ours(place)
    winner = min(field, key=lambda cell: cell.seconds)
    tied = tuple(cell for cell in field if cell is not winner and cell.low <= winner.high)
    crowded = any(cell.oversubscribed for cell in field)
    picks: dict[Model, tuple[Cell, ...]] = {model: _first(field, model) for model in MODELS}
    return Contest(winner.ranks, winner.nbytes, crowded, winner, tied, len(field) - 1, picks)


def _first(field: Sequence[Cell], model: Model) -> tuple[Cell, ...]:
    """Those that ``model`` puts first, as far as it can tell them apart; the first of the fastest leads."""
    known = [(seconds, cell) for cell in field if (seconds := cell.predicted(model)) is not None]
    if not known:
        return ()
    least, best = min(known, key=lambda pair: pair[0])
    return (best, *(cell for seconds, cell in known if cell is not best and seconds <= least * (1 + _EQUAL)))


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
