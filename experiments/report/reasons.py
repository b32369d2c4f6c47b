"""Why measured and predicted times differ: each statement is computed, and made only where the data support it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from collectives.cost import Cost
from collectives.profile import Profile
from experiments.report.findings import algorithm_of, ours
from experiments.report.results import Cell

__all__ = ["Fit", "Reason", "fits", "reasons"]

_NOTABLE = 1.25  # a term is named as a cause from a quarter above its calibrated value on
_FEWEST = 12  # cells, for a fit of three terms to say anything
_AGREE = 0.02  # simulator and closed form are called equal below this relative difference


@dataclass(frozen=True, slots=True)
class Fit:
    """Three terms fitted to the measured collectives of one rank count, beside what theory used.

    Seconds for a ``call`` and a ``message``; ``data`` is how many times the calibrated β and γ the bytes cost (moved
    and reduced together: a schedule that moves more reduces more, so times cannot tell the two apart). ``error`` is
    the median relative error with these terms and ``theory_error`` the one without. This describes the measurements
    and predicts nothing: it has seen them.
    """

    ranks: int
    oversubscribed: bool
    call: float
    message: float
    data: float
    error: float
    theory_error: float
    profile: Profile


@dataclass(frozen=True, slots=True)
class Reason:
    """One statement: the key of its text, and the numbers in it; one set for each rank count that it is true of."""

    key: str
    values: Sequence[Mapping[str, float]]


def fits(cells: Iterable[Cell], profiles: Mapping[int, Profile]) -> list[Fit]:
    """One fit for each rank count that has a measured profile and enough cells."""
    groups: dict[int, list[tuple[Cell, Cost]]] = {}
    for cell in ours(cells):
        profile, algorithm = profiles.get(cell.ranks), algorithm_of(cell, cell.ranks)
        if cell.theory and profile and profile.measured and algorithm:
            groups.setdefault(cell.ranks, []).append((cell, algorithm.cost(cell.ranks)))
    return [_fit(group, profiles[ranks]) for ranks, group in sorted(groups.items()) if len(group) >= _FEWEST]


def reasons(cells: Iterable[Cell], fitted: Sequence[Fit]) -> list[Reason]:
    """What can be said of the gap between theory and measurement, the general first."""
    priced = [cell for cell in ours(cells) if cell.theory]
    if not priced:
        return []
    found = [_direction(priced), _arithmetic(priced), _crowding(priced)]
    found += [
        _each("call", (_call(fit) for fit in fitted)),
        _each("message", (_message(fit) for fit in fitted)),
        _each("data", (_data(fit) for fit in fitted)),
        _each("duplex", (_duplex(fit.profile) for fit in fitted)),
    ]
    return [reason for reason in (*found, _noise(priced)) if reason is not None]


def _fit(priced: Sequence[tuple[Cell, Cost]], profile: Profile) -> Fit:
    """Least squares on the logarithm of the times, so that 8 bytes weigh as much as 4 MiB; an outlier weighs little."""
    cells = [cell for cell, _ in priced]
    terms = np.array([_terms(cell, cost, profile) for cell, cost in priced])
    measured = np.array([cell.seconds for cell in cells])

    def misfit(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(terms @ weights / measured)

    solution = least_squares(misfit, np.ones(3), bounds=(1e-9, np.inf), loss="soft_l1")
    call, message, data = (float(weight) for weight in solution.x)
    error = float(np.median(np.abs(np.expm1(misfit(solution.x)))))
    theory_error = median(known for cell in cells if (known := cell.error("theory")) is not None)
    crowded = any(cell.oversubscribed for cell in cells)
    return Fit(
        cells[0].ranks, crowded, call * _unit(profile), message * profile.alpha, data, error, theory_error, profile
    )


def _each(key: str, values: Iterable[Mapping[str, float] | None]) -> Reason | None:
    """The statement for those rank counts of which it is true, or None."""
    true = [value for value in values if value is not None]
    return Reason(key, true) if true else None


def _terms(cell: Cell, cost: Cost, profile: Profile) -> list[float]:
    """What one call, the messages and the bytes cost in the cell: the columns of the fit, in seconds."""
    bytes_ = float(cost.volume) * profile.beta + float(cost.reductions) * profile.gamma
    return [_unit(profile), float(cost.messages) * profile.alpha, bytes_ * cell.nbytes]


def _unit(profile: Profile) -> float:
    """A time of the order of a call, so that the fit's weights are of one order."""
    return profile.alpha or 1e-6


def _direction(cells: Sequence[Cell]) -> Reason:
    """Which way theory errs."""
    factors = [cell.factor for cell in cells if cell.factor]
    return Reason("direction", [{"share": sum(f > 1 for f in factors) / len(factors), "factor": median(factors)}])


def _arithmetic(cells: Sequence[Cell]) -> Reason | None:
    """Whether the simulator, which plays every message, says the same as the closed form."""
    gaps = [abs(cell.simulated - cell.theory) / cell.theory for cell in cells if cell.theory and cell.simulated]
    if not gaps or any(cell.explained for cell in cells):  # where the terms are told one by one, they say it better
        return None
    return Reason("simulator_agrees" if max(gaps) < _AGREE else "simulator_differs", [{"gap": max(gaps)}])


def _crowding(cells: Sequence[Cell]) -> Reason | None:
    """What more ranks than cores did to the factor between measurement and theory."""
    fitting = [cell.factor for cell in cells if cell.factor and not cell.oversubscribed]
    crowded = [cell.factor for cell in cells if cell.factor and cell.oversubscribed]
    if not fitting or not crowded:
        return None
    values = {"fitting": median(fitting), "crowded": median(crowded)}
    notable = values["crowded"] > _NOTABLE * values["fitting"]
    return Reason("crowding_matters" if notable else "crowding_small", [values])


def _call(fit: Fit) -> Mapping[str, float] | None:
    """A cost of the call itself, which the closed form does not have."""
    return {"ranks": fit.ranks, "cost": fit.call} if fit.call > 0.5 * fit.profile.alpha else None


def _message(fit: Fit) -> Mapping[str, float] | None:
    """Messages that cost more in the collectives than in the calibration."""
    alpha = fit.profile.alpha
    if alpha <= 0 or fit.message < _NOTABLE * alpha:
        return None
    return {"ranks": fit.ranks, "found": fit.message, "calibrated": alpha, "factor": fit.message / alpha}


def _data(fit: Fit) -> Mapping[str, float] | None:
    """Bytes that cost more in the collectives than in the calibration."""
    return {"ranks": fit.ranks, "factor": fit.data} if fit.data >= _NOTABLE else None


def _duplex(profile: Profile) -> Mapping[str, float] | None:
    """Links that carry less when used both ways at once, which the closed forms take for free."""
    factors = [factor for _, factor in profile.duplex]
    if not factors or max(factors) < _NOTABLE:
        return None
    nbytes, worst = max(profile.duplex, key=lambda point: point[1])
    return {"ranks": profile.ranks, "typical": median(factors), "worst": worst, "nbytes": nbytes}


def _noise(cells: Sequence[Cell]) -> Reason | None:
    """How wide the intervals are: an error smaller than that cannot be told from chance."""
    widths = [(cell.high - cell.low) / 2 / cell.seconds for cell in cells if cell.high > cell.low]
    return Reason("noise", [{"width": median(widths)}]) if widths else None
