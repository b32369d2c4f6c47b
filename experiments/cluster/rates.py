"""Which rate can this machine's cores carry honestly, for every host at once?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from experiments.cluster import check, lifetime
from experiments.cluster.shape import Shape
from experiments.errors import Failure
from experiments.places import Cluster
from experiments.units import format_rate

__all__ = ["LADDER", "carried", "choose", "warning"]

LADDER = tuple(megabits * 125e3 for megabits in (10, 25, 50, 100, 200, 400, 800, 1600, 3200))
"""Rates to choose from, in bytes/s."""

MOST_CPU = 0.25
"""The part of the cores that plain streams may take: MPI and the ranks' own work on the same bytes cost more."""

_SECONDS = 0.4  # of a trial
_FIRST = 3  # where on the ladder the search begins


def choose(shape: Shape, trial: Callable[[Shape], check.Finding] | None = None) -> Shape:
    """``shape`` with the highest rate of the ladder at which all hosts stream at once by at most MOST_CPU of the cores.

    ``trial`` measures that; by default on a cluster of its own, which takes about a second. Two to four are made.
    Raises Failure where not even the lowest rate is carried.
    """
    measure = trial or _tried

    def good(step: int) -> bool:
        found = measure(replace(shape, rate=LADDER[step]))
        return found.holds and found.cpu <= MOST_CPU

    first = measure(replace(shape, rate=LADDER[_FIRST]))
    if first.holds and first.cpu <= MOST_CPU:
        step = next((step for step in range(_promising(_FIRST, first.cpu), _FIRST, -1) if good(step)), _FIRST)
    else:
        step = next((step for step in range(_FIRST - 1, -1, -1) if good(step)), -1)
    if step < 0:
        raise Failure(
            f"this machine carries no cluster of {shape.hosts} hosts, not even at "
            f"{format_rate(LADDER[0], bits=True)}: is it busy? Fewer hosts may do"
        )
    return replace(shape, rate=LADDER[step])


def _tried(shape: Shape) -> check.Finding:
    with lifetime.raised(shape) as place:
        return carried(place)


def carried(place: Cluster) -> check.Finding:
    """All hosts stream to the next one at once."""
    with check.stations(place) as ready:
        return check.all_at_once(ready, place.shape, _SECONDS)


def warning(shape: Shape, found: check.Finding) -> str | None:
    """What is wrong with the rate of ``shape``, for the person who asked for it; None where nothing is."""
    rate = format_rate(shape.rate, bits=True)
    if not found.holds:
        return (
            f"this machine does not carry {shape.hosts} hosts at {rate}: with all of them streaming, one gets "
            f"{found.lowest:.0%} of it; ask for less, or leave --rate away"
        )
    if found.cpu > MOST_CPU:
        return (
            f"{shape.hosts} hosts at {rate} take {found.cpu:.0%} of the cores, and ranks need some too; timings will "
            f"tell more of the cores than of the network. Ask for less, or leave --rate away"
        )
    return None


def _promising(step: int, cpu: float) -> int:
    """The highest step at which the cores may suffice, if their work grows as the rate does."""
    room = MOST_CPU / max(cpu, 0.01)
    return max((place for place, rate in enumerate(LADDER) if rate <= LADDER[step] * room), default=-1)
