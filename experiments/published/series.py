"""What a published series is: measurements at several scales, and the structure that predicts them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from experiments.network import Costs

if TYPE_CHECKING:
    from simulator import Network

__all__ = ["Measurement", "Series", "rows"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """An allreduce of ``nbytes`` bytes that took ``seconds`` on ``ranks`` ranks.

    ``scale``: what the ranks were on, such as ``4x4x4``. ``theirs``: the algorithm as its authors call it.
    ``ours``: the algorithms of the catalogue that it may be; the fastest of several is compared where a library does
    not say which it took, and an empty tuple means that none of them is the same algorithm.
    """

    scale: str
    ranks: int
    nbytes: int
    seconds: float
    theirs: str
    ours: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One machine and one library at several scales.

    ``fitted``: which of alpha, beta and gamma are fitted on the smallest scale; the others are those of ``known``.
    ``network(measurement, costs)``: the network that the ranks were on, at these costs. ``itemsize``: bytes of an
    element. ``source``: who published it. ``assumed``: what is not known and was assumed, ``missing``: which effects
    the structure does not have, and what they do to its predictions. ``absent``: algorithms that are not in the
    catalogue, with the reason.
    """

    name: str
    title: str
    source: str
    measurements: tuple[Measurement, ...]
    fitted: tuple[str, ...]
    known: Costs
    network: Callable[[Measurement, Costs], Network]
    itemsize: int
    assumed: tuple[str, ...]
    missing: tuple[str, ...]
    absent: Mapping[str, str]

    @property
    def comparable(self) -> list[Measurement]:
        """The measurements of algorithms that the catalogue has, the smallest scale first."""
        return sorted((one for one in self.measurements if one.ours), key=lambda one: one.ranks)

    @property
    def scales(self) -> list[str]:
        """The scales at which there is something to compare, the smallest first."""
        return list(dict.fromkeys(one.scale for one in self.comparable))

    @property
    def on_which_fitted(self) -> str:
        """The smallest scale, or nothing where all costs are known."""
        return self.scales[0] if self.fitted else ""


def rows(name: str) -> Sequence[Mapping[str, str]]:
    """The lines of one of the data files."""
    text = (resources.files("experiments.published") / name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))
