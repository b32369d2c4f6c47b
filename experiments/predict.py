"""Predictions beside measurements: closed form, simulation and lower bound of each record, from a profile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from collectives.profile import Profile
from experiments import contestants, payload
from experiments.records import NATIVE, Record
from simulator import encodings, networks, simulate, theory

__all__ = ["predicted", "predictions"]


def predicted(record: Record, profile: Profile) -> Record:
    """The record with ``theory_seconds``, ``simulated_seconds`` and ``bound_seconds`` filled in.

    Theory and bound are those of a textbook: α, β of one pair at work alone. The simulation has all terms of the
    profile for this number of ranks. The native library's algorithm is not known to us, so it gets the bound alone.
    Where vectors travel encoded, their bytes are priced, and neither encoding nor decoding.
    Cost: one simulation, which grows with the messages of the schedule.
    """
    alone = profile.at(2)
    costs = alone.alpha, alone.beta, alone.gamma
    bound = theory.bound(record.collective, record.ranks, record.nbytes, *costs)
    if record.is_native or record.algorithm == NATIVE:
        return replace(record, bound_seconds=bound)
    one, network = contestants.parse(record.algorithm), networks.from_profile(profile, record.ranks)
    algorithm = one.algorithm
    encoding = None if one.encoding is None else encodings.get(one.encoding)
    network = replace(network, model=replace(network.model, encoding=encoding))
    itemsize = payload.dtype(record.dtype).itemsize
    return replace(
        record,
        bound_seconds=bound if encoding is None else None,  # which holds for vectors that travel as they are
        theory_seconds=theory.seconds(algorithm, record.ranks, record.nbytes, *costs, encoding=encoding),
        simulated_seconds=simulate(algorithm, record.ranks, record.nbytes, network, itemsize=itemsize).seconds,
    )


def predictions(records: Iterable[Record], profiles: Mapping[int, Profile]) -> list[Record]:
    """All records; those whose number of ranks has a profile are predicted from it."""
    return [predicted(record, profiles[record.ranks]) if record.ranks in profiles else record for record in records]
