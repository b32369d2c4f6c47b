"""How many steps each contestant trains, so that all together fit the time: about the same time for each of them.

The same time, and not the same number of steps, because accuracy after so many seconds is what the comparison asks.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from experiments.training.comparison.contestants import Contestant
from experiments.training.comparison.findings import RIVAL

__all__ = ["LEAST", "WARMUP", "planned", "shuffled"]

WARMUP = 2
"""Steps before the first that counts: connections are made, caches filled, asynchronous workers out of step."""

LEAST = 8
"""Fewer steps than these, warm-up included, have no interval of their median (it needs six)."""

_SETUP = 0.25  # seconds to make a strategy, to judge its models, and to end it
_HALVINGS = 40


def planned(expected: Mapping[Contestant, float], budget: float, most: int) -> dict[Contestant, int]:
    """Steps of each contestant, whose step is ``expected`` to take so many seconds, within ``budget`` seconds; at most
    ``most``.

    Where the least number of steps of all is too much, the dearest are left out: they are not in what is returned.
    """
    kept = dict(sorted(expected.items(), key=lambda item: item[1]))
    while kept and _cost(kept, _steps(kept, 0.0, most)) > budget:
        kept.popitem()
    low, high = 0.0, budget
    for _ in range(_HALVINGS if kept else 0):
        middle = (low + high) / 2
        fits = _cost(kept, _steps(kept, middle, most)) <= budget
        low, high = (middle, high) if fits else (low, middle)
    found = _steps(kept, low, most)
    return {one: found[one] for one in expected if one in found}


def shuffled(steps: Mapping[Contestant, int], seed: int) -> list[Contestant]:
    """All contestants in an order that the seed decides, but first those with which the others are compared.

    So where time runs out, what is missing is spread over all numbers of ranks, and the rest can still be judged.
    """
    found = list(steps)
    random.Random(seed).shuffle(found)
    return sorted(found, key=lambda one: one.ranks > 1 and one.algorithm != RIVAL)


def _steps(expected: Mapping[Contestant, float], seconds: float, most: int) -> dict[Contestant, int]:
    return {one: max(LEAST, min(most, int(seconds / each))) for one, each in expected.items()}


def _cost(expected: Mapping[Contestant, float], steps: Mapping[Contestant, int]) -> float:
    return sum(_SETUP + steps[one] * each for one, each in expected.items())
