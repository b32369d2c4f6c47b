"""Why a measured time differs from theory: what each term of the simulator adds, one switched on after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from collectives import catalogue
from collectives.profile import Profile
from experiments import payload
from experiments.records import Record
from simulator import networks, simulate

__all__ = ["SCHEDULE", "UNEXPLAINED", "WORDS", "explain", "explained", "reason"]

SCHEDULE, UNEXPLAINED = "schedule", "unexplained"

WORDS: Mapping[str, str] = MappingProxyType({
    SCHEDULE: "unequal chunks, and ranks that wait less or more than the closed form says",
    "start": "ranks that paused wake up first",
    "curve": "a message of this size does not cost what one straight line says",
    "duplex": "the exchange with one partner is not full duplex",
    "processor": "messages cost CPU time, and ranks share the cores",
    "contention": "messages share a link or a port",
    "reduction": "adding costs another price at this buffer size",
    UNEXPLAINED: "no term says it",
})  # fmt: skip
"""Each term in plain words, by the key that texts in other languages use too."""


def explain(record: Record, profile: Profile) -> dict[str, float]:
    """Seconds that each term adds to ``record.theory_seconds``, up to the measured time; empty without a prediction.

    ``schedule`` is what the simulator says beyond the closed form at the same costs; then come the terms of
    ``networks.TERMS`` in that order, and last ``unexplained``, measured − simulated, if it was measured. Theory and all
    values together are the measured (else the simulated) time. Cost: a simulation for each term.
    """
    if record.is_native or record.theory_seconds is None:
        return {}
    algorithm, itemsize = catalogue.parse(record.algorithm), payload.dtype(record.dtype).itemsize
    found: dict[str, float] = {}
    before = record.theory_seconds
    for count in range(len(networks.TERMS) + 1):
        network = networks.from_profile(profile, record.ranks, networks.TERMS[:count])
        seconds = simulate(algorithm, record.ranks, record.nbytes, network, itemsize=itemsize).seconds
        found[networks.TERMS[count - 1] if count else SCHEDULE] = seconds - before
        before = seconds
    if record.measured_seconds is not None:
        found[UNEXPLAINED] = record.measured_seconds - before
    return found


def explained(record: Record, profile: Profile) -> Record:
    """The record with ``explained`` and ``reason`` filled in, where it has a prediction."""
    terms = explain(record, profile)
    return replace(record, explained=terms or None, reason=reason(terms))


def reason(terms: Mapping[str, float]) -> str:
    """The term that adds or takes away most, empty if there is none."""
    return max(terms, key=lambda term: abs(terms[term]), default="")
