"""What no algorithm can beat on a network: latency, bytes through ports and cuts, reduction work."""

from __future__ import annotations

from dataclasses import dataclass

from collectives.catalogue import Algorithm
from simulator import theory
from simulator.networks import Network

__all__ = ["Bound", "lower_bound"]


@dataclass(frozen=True, slots=True)
class Bound:
    """Lower bounds in seconds."""

    seconds: float


def lower_bound(
    algorithm: Algorithm, nbytes: int, network: Network, *, fan: int, eager: bool, contention: bool
) -> Bound:
    """Draft."""
    return Bound(theory.bound_of(algorithm, network.size, nbytes, network.alpha, network.beta, network.gamma, fan=fan))
