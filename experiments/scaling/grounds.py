"""On which ground the experiment stands: the emulated cluster that is up, one of its own, or local ranks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from experiments import cluster, places
from experiments.errors import Failure, UsageFault
from experiments.machine import cores
from experiments.units import format_rate

__all__ = ["AUTO", "Ground", "chosen", "fitting"]

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Ground:
    """A place, why it was taken, and what a person should know before."""

    place: places.Place
    reason: str
    notes: tuple[str, ...] = ()


@contextmanager
def chosen(on: str, ranks: Sequence[int]) -> Generator[Ground]:
    """The place that ``on`` names; for ``auto`` the best that this machine can do for so many ranks.

    A cluster of its own is gone on leaving. Raises UsageFault for a place that is not known or not ready.
    """
    if on != AUTO:
        yield Ground(places.parse(on), f"asked for by --on {on}")
        return
    found = cluster.current()
    if found is not None:
        yield Ground(found, "an emulated cluster is up")
        return
    missing = cluster.available()
    with ExitStack() as made:
        if missing is None:
            try:
                ground = made.enter_context(_own(max(ranks)))
            except Failure as fault:
                missing = str(fault)
            else:
                yield ground
                return
    crowded = f"; {max(ranks)} ranks share {cores()} cores, so times are mostly the scheduler's"
    note = f"no cluster can be made here ({missing}): measuring local ranks instead"
    yield Ground(places.Local(), f"no cluster can be made here: {missing}", (note + crowded * (max(ranks) > cores()),))


@contextmanager
def _own(hosts: int) -> Generator[Ground]:
    """A cluster for this run, at the usual rate if this machine carries it for all hosts at once, else at less."""
    from experiments.cluster import rates

    reason = "no cluster was up, so one was made for this run"
    with ExitStack() as made:
        place = made.enter_context(cluster.temporary(hosts=hosts))
        found = rates.carried(place)
        warning = rates.warning(place.shape, found)
        if not found.holds:
            made.close()
            shape = rates.choose(place.shape)
            place = made.enter_context(cluster.temporary(hosts=hosts, rate=shape.rate))
            reason += f", at {format_rate(shape.rate, bits=True)}, for these cores carry no more"
        yield Ground(place, reason, (warning,) if warning else ())


def fitting(ranks: Sequence[int], place: places.Place) -> tuple[int, ...]:
    """The rank counts for which an emulated cluster has a host for each rank; all, elsewhere.

    Raises UsageFault if none is left.
    """
    hosts = place.hosts() if place.name == places.Cluster.name else None
    kept = tuple(count for count in ranks if hosts is None or count <= hosts)
    if not kept:
        raise UsageFault(
            f"the cluster has {hosts} hosts, too few for {min(ranks)} ranks; "
            f"bring up a larger one: ciranda cluster down && ciranda cluster up --hosts {max(ranks)}"
        )
    return kept
