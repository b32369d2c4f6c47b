"""Which algorithm: every candidate's closed form, priced with the numbers of a profile.

All ranks must choose alike, so a choice depends on nothing but its arguments, and the profile is the one of rank 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from collectives import catalogue, proof
from collectives.catalogue import Algorithm
from collectives.schedule import ScheduleError

__all__ = ["Candidate", "Prices", "allowed", "candidates", "choose", "excluded", "resolve"]

LARGEST_PIPELINE = 256  # segments; beyond this the closed forms gain less than one part in a hundred
SMALLEST_SEGMENT = 1024  # bytes


@dataclass(frozen=True, slots=True)
class Prices:
    """``alpha`` seconds per message, ``beta`` per byte, ``gamma`` per reduced byte; ``measured`` or only guessed."""

    alpha: float
    beta: float
    gamma: float
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """An algorithm and the seconds that its closed form predicts."""

    algorithm: Algorithm
    seconds: float


@lru_cache(maxsize=1024)
def candidates(
    collective: str, size: int, nbytes: int, prices: Prices, *, ordered: bool = False, root: int = 0
) -> tuple[Candidate, ...]:
    """Every algorithm for the collective that works for ``size`` ranks, the fastest by its closed form first.

    ``nbytes`` is the whole vector (for alltoall one rank's buffer). ``ordered`` keeps only algorithms that keep rank
    order for every size, as an operation that does not commute needs. Pipelined algorithms stand with their best
    number of segments. Equal times are settled by name, so that all ranks settle them alike.
    Raises KeyError for an unknown collective.
    """
    found: list[Candidate] = []
    for name in catalogue.names(collective):
        variants = [entry for entry in _variants(name, nbytes, root) if entry.supports(size)]
        usable = [entry for entry in variants if not (ordered and entry.commutative)]
        priced = [Candidate(entry, _seconds(entry, size, nbytes, prices)) for entry in usable]
        found += sorted(priced, key=_rank)[:1]
    return tuple(sorted(found, key=_rank))


def choose(
    collective: str, size: int, nbytes: int, prices: Prices, *, ordered: bool = False, root: int = 0
) -> Algorithm:
    """The first of ``candidates``; LookupError if there is none."""
    found = candidates(collective, size, nbytes, prices, ordered=ordered, root=root)
    if not found:
        raise LookupError(f"no algorithm in the catalogue does {collective} for {size} ranks")
    return found[0].algorithm


def excluded(collective: str, size: int, *, ordered: bool = False, root: int = 0) -> dict[str, str]:
    """The algorithms for the collective that ``candidates`` leaves out, each with the reason."""
    entries = (_rooted(catalogue.get(name), root) for name in catalogue.names(collective))
    reasons: dict[str, str] = {}
    for entry in entries:
        if not entry.supports(size):
            reasons[entry.name] = f"does not work for {size} ranks"
        elif ordered and entry.commutative:
            reasons[entry.name] = "does not keep rank order, which this operation needs"
    return reasons


@lru_cache(maxsize=1024)
def resolve(
    algorithm: str | Algorithm, collective: str, size: int, *, ordered: bool = False, root: int = 0
) -> Algorithm:
    """The algorithm that a caller asked for, its root set; ValueError says why it can't serve this call."""
    try:
        entry = catalogue.parse(algorithm) if isinstance(algorithm, str) else algorithm
    except KeyError as unknown:
        raise ValueError(str(unknown.args[0])) from None
    if entry.collective != collective:
        raise ValueError(
            f"{entry.label} does {entry.collective}, and this call is {collective}; "
            f"choose one of: {', '.join(catalogue.names(collective))}"
        )
    entry = _rooted(entry, root)
    if not entry.supports(size):
        raise ValueError(f"{entry.label} does not work for {size} ranks")
    if ordered and not allowed(entry, size):
        fit = [name for name in catalogue.names(collective) if not _rooted(catalogue.get(name), root).commutative]
        raise ValueError(
            f"{entry.label} combines out of rank order with {size} ranks, and this operation does not commute; "
            f"choose one of: {', '.join(fit)}"
        )
    return entry


@lru_cache(maxsize=1024)
def allowed(algorithm: Algorithm, size: int) -> bool:
    """Whether the schedule combines in rank order for this size, by the catalogue for every size or else by proof."""
    if not algorithm.commutative:
        return True
    try:
        return proof.prove(algorithm, size).in_rank_order
    except ScheduleError:
        return False


def _rooted(entry: Algorithm, root: int) -> Algorithm:
    if "root" not in entry.parameters:
        return entry
    if entry.parameters["root"] not in (0, root):
        raise ValueError(f"{entry.label} has another root than this call, which has root {root}")
    return catalogue.get(entry.name, **{**entry.parameters, "root": root})


def _variants(name: str, nbytes: int, root: int) -> Iterator[Algorithm]:
    entry = _rooted(catalogue.get(name), root)
    yield entry
    if "segments" in entry.parameters:
        segments = 1
        while segments <= min(LARGEST_PIPELINE, max(1, nbytes // SMALLEST_SEGMENT)):
            if segments != entry.parameters["segments"]:
                yield catalogue.get(name, **{**entry.parameters, "segments": segments})
            segments *= 2


def _seconds(entry: Algorithm, size: int, nbytes: int, prices: Prices) -> float:
    return entry.cost(size).seconds(nbytes, prices.alpha, prices.beta, prices.gamma)


def _rank(candidate: Candidate) -> tuple[float, str]:
    return candidate.seconds, candidate.algorithm.label
