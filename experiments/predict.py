"""Predictions beside measurements: closed form, simulation and lower bound of each record, from a profile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from collectives import catalogue
from collectives.profile import Profile
from experiments import payload
from experiments.records import NATIVE, Record
from simulator import networks, simulate, theory

__all__ = ["predicted", "predictions"]


def predicted(record: Record, profile: Profile) -> Record:
    """The record with ``theory_seconds``, ``simulated_seconds`` and ``bound_seconds`` filled in.

    Theory and bound are those of a textbook: α, β of one pair at work alone. The simulation has all terms of the
    profile for this number of ranks. The native library's algorithm is not known to us, so it gets the bound alone.
    Cost: one simulation, which grows with the messages of the schedule.
    """
    alone = profile.at(2)
    costs = alone.alpha, alone.beta, alone.gamma
    bound = theory.bound(record.collective, record.ranks, record.nbytes, *costs)
    if record.is_native or record.algorithm == NATIVE:
        return replace(record, bound_seconds=bound)
    algorithm = catalogue.parse(record.algorithm)
    network = networks.from_profile(profile, record.ranks)
    itemsize = payload.dtype(record.dtype).itemsize
    return replace(
        record,
        bound_seconds=bound,
        theory_seconds=theory.seconds(algorithm, record.ranks, record.nbytes, *costs),
        simulated_seconds=simulate(algorithm, record.ranks, record.nbytes, network, itemsize=itemsize).seconds,
    )


def predictions(records: Iterable[Record], profiles: Mapping[int, Profile]) -> list[Record]:
    """All records; those whose number of ranks has a profile are predicted from it."""
    return [predicted(record, profiles[record.ranks]) if record.ranks in profiles else record for record in records]
