"""Fit on the smallest scale, predict the others blind, and judge the predictions.

Only ``fit`` sees measured times, and only those of the smallest scale: ``predict`` gets the costs and what was run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from statistics import median
from typing import TYPE_CHECKING

from collectives import catalogue
from experiments.network import Costs
from experiments.published import Measurement, Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from simulator import Network, Run

    Floats = NDArray[np.float64]

__all__ = ["Order", "Prediction", "Share", "fit", "order", "predict", "shares"]

CLASSES = (("to 4 KiB", 4 << 10), ("to 1 MiB", 1 << 20), ("above", 1 << 63))
"""Size classes: latency, the middle, bandwidth."""

_OUTLIER = 0.1
"""Relative errors beyond this weigh less and less in the fit (soft L1 loss)."""

_LEAST = 1e-6
"""Every cost stays above this share of the most that it could be: a link of beta 0 would be no link."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was measured, beside what the simulator and the closed form without contention say, in seconds.

    ``algorithm``: label in the catalogue. ``blind``: whether no measurement of this scale was fitted.
    """

    measurement: Measurement
    algorithm: str
    simulated: float
    theory: float
    bound: float
    blind: bool

    @property
    def error(self) -> float:
        """Simulated / measured - 1: below 0 where the simulator is too fast."""
        return self.simulated / self.measurement.seconds - 1

    @property
    def theory_error(self) -> float:
        """Closed form / measured - 1."""
        return self.theory / self.measurement.seconds - 1


@dataclass(frozen=True, slots=True)
class Share:
    """Errors at one scale, of one algorithm, in one size class.

    ``count`` of them, the medians of their sizes for simulator and closed form, and the ``worst`` of the simulator.
    """

    scale: str
    algorithm: str
    sizes: str
    blind: bool
    count: int
    median: float
    worst: Prediction
    theory_median: float


@dataclass(frozen=True, slots=True)
class Order:
    """Of ``pairs`` of algorithms at one scale and size, in how many the simulator and the closed form name the faster.

    ``tau`` is Kendall's: (right - wrong) / pairs for the simulator.
    """

    pairs: int
    right: int
    theory_right: int

    @property
    def tau(self) -> float:
        """From -1 (all reversed) to 1 (all right)."""
        return (2 * self.right - self.pairs) / self.pairs


def fit(series: Series) -> Costs:
    """The costs that fit the smallest scale of ``series`` best, in relative error, none of them negative.

    First by the closed form, which is linear in them, then by the simulator on the series' own network.
    """
    if not series.fitted:
        return series.known
    import numpy as np
    from scipy.optimize import least_squares, lsq_linear

    seen = [one for one in series.comparable if one.scale == series.on_which_fitted and len(one.ours) == 1]
    measured = np.array([one.seconds for one in seen])
    rest = np.array([_closed_form(one, one.ours[0], series.known) for one in seen])
    columns = np.array([[_closed_form(one, one.ours[0], _only(name)) for name in series.fitted] for one in seen])
    # the largest value that one cost alone could have makes the unknowns dimensionless
    units = np.array([np.min(measured[column > 0] / column[column > 0]) for column in columns.T])
    start = lsq_linear(columns * units / measured[:, None], (measured - rest) / measured, bounds=(0, np.inf))

    def errors(unknowns: Floats) -> Floats:
        simulated = _Simulated(series, _with(series, unknowns * units))
        return np.array([simulated(one, one.ours[0]).seconds for one in seen]) / measured - 1

    first = np.clip(start.x, _LEAST, None)
    found = least_squares(errors, first, bounds=(_LEAST, np.inf), x_scale=first, loss="soft_l1", f_scale=_OUTLIER)
    return _with(series, found.x * units)


def predict(series: Series, costs: Costs, runs: Iterable[Measurement] | None = None) -> list[Prediction]:
    """The time of each of ``runs``, by default of all that are of an algorithm in the catalogue."""
    simulated = _Simulated(series, costs)
    return [_prediction(series, one, costs, simulated) for one in runs or series.comparable]


def shares(predictions: Sequence[Prediction]) -> list[Share]:
    """Errors by scale (the smallest first), algorithm and size class."""
    ordered = sorted(predictions, key=_group)
    return [_share(list(group)) for _, group in groupby(ordered, _group)]


def order(predictions: Iterable[Prediction]) -> Order:
    """Whether the faster of two algorithms is named, over all pairs measured at one scale and size."""
    pairs = right = theory_right = 0
    ordered = sorted(predictions, key=_cell)
    for _, group in groupby(ordered, _cell):
        for one, other in combinations(group, 2):
            if one.algorithm == other.algorithm:
                continue
            truth = one.measurement.seconds < other.measurement.seconds
            pairs += 1
            right += (one.simulated < other.simulated) == truth
            theory_right += (one.theory < other.theory) == truth
    return Order(pairs, right, theory_right)


def _group(prediction: Prediction) -> tuple[int, str, str, int]:
    one = prediction.measurement
    return one.ranks, one.scale, prediction.algorithm, _class(one.nbytes)


def _share(group: Sequence[Prediction]) -> Share:
    first = group[0]
    return Share(
        scale=first.measurement.scale,
        algorithm=first.algorithm,
        sizes=CLASSES[_class(first.measurement.nbytes)][0],
        blind=first.blind,
        count=len(group),
        median=median(abs(one.error) for one in group),
        worst=max(group, key=lambda one: abs(one.error)),
        theory_median=median(abs(one.theory_error) for one in group),
    )


def _cell(prediction: Prediction) -> tuple[int, str, int]:
    one = prediction.measurement
    return one.ranks, one.scale, one.nbytes


def _class(nbytes: int) -> int:
    return next(index for index, (_, largest) in enumerate(CLASSES) if nbytes <= largest)


def _prediction(series: Series, one: Measurement, costs: Costs, simulated: _Simulated) -> Prediction:
    runs = {name: simulated(one, name) for name in one.ours}
    name = min(runs, key=lambda candidate: runs[candidate].seconds)
    return Prediction(
        measurement=one,
        algorithm=name,
        simulated=runs[name].seconds,
        theory=min(_closed_form(one, candidate, costs) for candidate in one.ours),
        bound=runs[name].bound,
        blind=one.scale != series.on_which_fitted,
    )


class _Simulated:
    """Runs of ``series`` at ``costs``; measurements of one scale share a network."""

    def __init__(self, series: Series, costs: Costs) -> None:
        self._series, self._costs = series, costs
        self._networks: dict[str, Network] = {}

    def __call__(self, one: Measurement, name: str) -> Run:
        from simulator import simulate

        if one.scale not in self._networks:
            self._networks[one.scale] = self._series.network(one, self._costs)
        network = self._networks[one.scale]
        return simulate(catalogue.parse(name), one.ranks, one.nbytes, network, itemsize=self._series.itemsize)


def _closed_form(one: Measurement, name: str, costs: Costs) -> float:
    from simulator import theory

    return theory.seconds(catalogue.parse(name), one.ranks, one.nbytes, costs.alpha, costs.beta, costs.gamma)


def _only(name: str) -> Costs:
    return replace(Costs(0.0, 0.0, 0.0), **{name: 1.0})


def _with(series: Series, values: Floats) -> Costs:
    return replace(series.known, **dict(zip(series.fitted, values.tolist(), strict=True)))
