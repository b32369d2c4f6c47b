"""The learning rate of each step: scaled with the batch, warmed up, and lowered towards the end.

Sources: Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour" (2017), section 2.1 (linear scaling)
and 2.2 (gradual warm-up), section 5.1 (a tenth after 30, 60 and 80 of 90 epochs); Loshchilov and Hutter, "SGDR"
(ICLR 2017), equation 5, for the cosine, here without restarts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

__all__ = ["DECAYS", "Rates", "Schedule", "get"]


def _constant(_share: float, _factor: float) -> float:
    return 1.0


def _steps(share: float, factor: float) -> float:
    return factor ** sum(share >= end for end in (30 / 90, 60 / 90, 80 / 90))


def _cosine(share: float, _factor: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


DECAYS: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {"constant": _constant, "step": _steps, "cosine": _cosine}
)
"""By name: share of the run that is over, and the factor of a step, to the share of the rate that is left."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """``decay`` (of ``DECAYS``) after ``warm_up`` epochs of a rate that rises by the same amount each step.

    ``reference``: the batch for which learning rates are given; the rate for a batch of B samples is B / ``reference``
    times that, and warm-up begins at the rate as given. Without a reference (0) nothing is scaled, and warm-up begins
    at nothing. ``factor``: of each step down. Raises ValueError for what cannot be.
    """

    decay: str = "constant"
    warm_up: float = 0.0
    reference: int = 0
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.decay not in DECAYS:
            raise ValueError(f"no schedule of learning rates is called {self.decay!r}; known: {', '.join(DECAYS)}")
        if not (0 <= self.warm_up < math.inf and self.reference >= 0 and 0 < self.factor <= 1):
            raise ValueError(
                f"{self.decay}: warm_up and reference must be at least 0 and factor above 0 and at most 1, "
                f"got {self.warm_up}, {self.reference} and {self.factor}"
            )

    def over(self, learning_rate: float, *, batch: int, an_epoch: int, steps: int) -> Rates:
        """The rates of a run of so many ``steps``, ``an_epoch`` of them an epoch, with batches of ``batch`` samples."""
        scale = batch / self.reference if self.reference else 1.0
        first = learning_rate if self.reference else 0.0
        return Rates(first, learning_rate * scale, round(self.warm_up * an_epoch), steps, self.decay, self.factor)


@dataclass(frozen=True, slots=True)
class Rates:
    """From ``first`` to ``peak`` in ``rising`` steps, then down by ``decay`` until the last of ``steps``."""

    first: float
    peak: float
    rising: int
    steps: int
    decay: str
    factor: float

    def at(self, step: int) -> float:
        """The rate of step 1, 2, ...; after the last it stays as it was there."""
        if step <= self.rising:
            return self.first + (self.peak - self.first) * step / self.rising
        length = max(1, self.steps - self.rising)
        share = min(step - self.rising - 1, length - 1) / length
        return self.peak * DECAYS[self.decay](share, self.factor)


def get(text: str) -> Schedule:
    """The schedule that ``text`` spells: "constant", "cosine:warm_up=5,reference=64", "step:factor=0.2".

    ValueError for what is not known, or what a parameter cannot be.
    """
    decay, _, rest = text.partition(":")
    known = {each.name: int if each.type == "int" else float for each in fields(Schedule) if each.name != "decay"}
    given: dict[str, float] = {}
    for item in rest.split(",") if rest else []:
        key, _, value = item.partition("=")
        if key not in known:
            raise ValueError(f"{decay} has no parameter {key!r}; known: {', '.join(known)}")
        try:
            given[key] = known[key](value)
        except ValueError:
            raise ValueError(f"{decay}: {key} must be a number, got {value!r}") from None
    warm_up, reference, factor = given.get("warm_up", 0.0), given.get("reference", 0), given.get("factor", 0.1)
    return Schedule(decay, warm_up, int(reference), factor)
