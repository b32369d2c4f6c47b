"""How the errors of the predictions are spread, and whether they are within the targets set for the simulator.

No cell has been seen by the calibration, which measures messages between two ranks only; so every cell is a test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from experiments.report.findings import contests, ours
from experiments.report.results import MODELS, Cell, Model
from experiments.scaling.judgement import LARGE, TARGETS

__all__ = ["BANDS", "WINNERS", "Band", "Spread", "Winners", "spreads", "winners"]

Band = Literal["large", "small"]


def _target(band: Band) -> tuple[float, float]:
    wanted = cast("dict[str, float]", TARGETS[band])
    return wanted["median"], wanted["percentile_95"]


BANDS: dict[Band, tuple[float, float]] = {band: _target(band) for band in ("large", "small")}
"""Targets for the simulator on the emulated cluster: median and 95th percentile of the relative error, by size."""

WINNERS = cast("float", TARGETS["winners"])
"""Target share of the cells (rank count and size) whose winner the simulator names."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The relative errors of one model over the vectors of one band, ascending, with their targets."""

    band: Band
    model: Model
    errors: Sequence[float]

    @property
    def median(self) -> float:
        """Half of the cells are no further off than this."""
        return float(np.median(self.errors))

    @property
    def high(self) -> float:
        """The 95th percentile."""
        return float(np.percentile(self.errors, 95))

    @property
    def targets(self) -> tuple[float, float]:
        """The largest median and 95th percentile that are good enough."""
        return BANDS[self.band]

    @property
    def met(self) -> tuple[bool, bool]:
        """Whether the median and the 95th percentile are within the targets."""
        return self.median <= self.targets[0], self.high <= self.targets[1]


@dataclass(frozen=True, slots=True)
class Winners:
    """In how many of the contests a model picked the winner, or one that takes at most 5 % longer."""

    model: Model
    right: int
    contests: int

    @property
    def share(self) -> float:
        """Right ones of all."""
        return self.right / self.contests

    @property
    def met(self) -> bool:
        """Whether the share reaches its target."""
        return self.share >= WINNERS


def spreads(cells: Iterable[Cell]) -> list[Spread]:
    """One for each band and model that has cells, large vectors first."""
    group = [cell for cell in ours(cells) if cell.correct is not False]
    found: list[Spread] = []
    for band in BANDS:
        for model in MODELS:
            here = [cell for cell in group if (cell.nbytes >= LARGE) == (band == "large")]
            errors = sorted(error for cell in here if (error := cell.error(model)) is not None)
            if errors:
                found.append(Spread(band, model, errors))
    return found


def winners(cells: Sequence[Cell]) -> list[Winners]:
    """One for each model that picks anything."""
    fought = [contest for contest in contests(cells) if contest.rivals]  # without rivals there is nothing to pick
    found: list[Winners] = []
    for model in MODELS:
        marks = [right for contest in fought if (right := contest.right(model)) is not None]
        if marks:
            found.append(Winners(model, sum(marks), len(marks)))
    return found
