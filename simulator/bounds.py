"""What no algorithm can beat on a network: latency, bytes through ports and through cuts, reduction work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collectives.catalogue import Algorithm
from collectives.contract import CONTRACTS
from simulator import theory
from simulator.networks import Network

__all__ = ["Bound", "lower_bound"]


@dataclass(frozen=True, slots=True)
class Bound:
    """Lower bounds in seconds, each proven on its own: ``seconds`` is the largest.

    ``latency``: what all must hear of spreads one message after another. ``ports``: bytes through the ranks' own links.
    ``cut``: bytes over the slowest cut of the network. ``reduction``: folding, shared by all ranks. ``work``: ports and
    reduction together, where no rank folds while it communicates, else the larger one.
    """

    latency: float
    ports: float
    cut: float
    reduction: float
    work: float

    @property
    def seconds(self) -> float:
        """The largest."""
        return max(self.latency, self.cut, self.work)

    def __str__(self) -> str:
        return (
            f"latency {self.latency:.3g} s, ports {self.ports:.3g} s, slowest cut {self.cut:.3g} s, "
            f"reduction {self.reduction:.3g} s"
        )


def lower_bound(
    algorithm: Algorithm, nbytes: int, network: Network, *, fan: int, eager: bool, contention: bool
) -> Bound:
    """The bounds of the collective that ``algorithm`` carries out, for a vector of ``nbytes`` bytes on ``network``.

    ``fan``: into or out of how many messages at once a rank falls in one round. ``eager``: whether messages go before
    their receiver is ready, so that one rank may inform any number of others in one latency, and fold meanwhile.
    ``contention=False``: links carry any number of messages at once, so cuts do not hold. Where vectors travel encoded,
    they are as many bytes as a message without end would make of them: those of any algorithm are no fewer.
    Source: Chan et al., "Collective communication: theory, practice, and experience" (2007), section 2; Patarasuk and
    Yuan (2009), section 3.
    """
    size = network.size
    active = size - algorithm.parameters["servers"] if algorithm.collective == "push_pull" else size
    if size == 1 or (active == 1 and algorithm.collective == "push_pull"):
        return Bound(0.0, 0.0, 0.0, 0.0, 0.0)
    model = network.model
    latency, per_byte = model.message.least
    hops = 1 if eager else theory.hops(active, fan)
    # A sender goes on when its message has arrived, which does not wait for the receiver's processor.
    heard = hops * (network.nearest + latency + model.message.overhead) + model.message.overhead
    heard += model.synchronise  # ranks wait for their devices side by side
    # When the last message is there, the gap that it leaves is still to come.
    spare = model.message.longest_gap(nbytes)
    moved = nbytes if model.encoding is None else nbytes * model.encoding.ratio
    ports, together = (max(0.0, port - spare) for port in _ports(algorithm, moved, network, per_byte))
    share = (
        (size - 1) / size if CONTRACTS[algorithm.collective].reduces and algorithm.collective != "push_pull" else 0.0
    )
    fused = None if model.encoding is None else model.encoding.add
    gammas = (gamma for _, gamma in model.reduction.levels) if fused is None else (fused.per_byte,)
    reduction = share * nbytes * min(gammas)
    # Staged pieces and decoded messages are folded while others are on their way.
    aside = eager or bool(network.topology.relays) or fused is not None
    work = max(ports, reduction) if aside else max(ports, together + reduction)
    return Bound(heard, ports, _cut(algorithm, moved, network) if contention else 0.0, reduction, work)


def _ports(algorithm: Algorithm, nbytes: float, network: Network, per_byte: float) -> tuple[float, float]:
    """Seconds for the bytes through ports: of the slowest rank or of all, and if all were as fast as the fastest."""
    size, collective = network.size, algorithm.collective
    share = (size - 1) / size
    each, average = {
        "allreduce": (1.0, 2 * share),
        "reduce_scatter": (share, share),
        "allgather": (share, share),
        "alltoall": (share, share),
        "broadcast": (1.0, share),
        "reduce": (1.0, share),
        "push_pull": (0.0, 0.0),
        "barrier": (0.0, 0.0),
    }[collective]
    port = np.inf if not per_byte else 1.0 / per_byte
    out, into = (np.minimum(rates, port) for rates in (network.out_rate, network.in_rate))
    if collective in ("broadcast", "reduce"):
        slowest = np.delete(into if collective == "broadcast" else out, algorithm.parameters.get("root", 0)).min()
    else:
        slowest = min(out.min(), into.min())
    fastest = max(out.max(), into.max())
    if collective == "push_pull":
        # Every worker's n bytes leave it; which ranks are workers does not matter for the fastest.
        return nbytes / fastest, nbytes / fastest
    together = max(nbytes * average * size / rates.sum() for rates in (out, into))
    return max(nbytes * each / slowest, together), nbytes * max(average, each) / fastest


def _cut(algorithm: Algorithm, nbytes: float, network: Network) -> float:
    """Seconds for the bytes that must cross the slowest cut."""
    size, root = network.size, algorithm.parameters.get("root", 0)
    slowest = 0.0
    for cut in network.cut_capacities():
        inside = len(cut.ranks)
        holds_root = bool((cut.ranks == root).any())
        out, into = _crossing(algorithm.collective, inside, size, holds_root=holds_root)
        slowest = max(slowest, nbytes * out / cut.outward, nbytes * into / cut.inward)
    return float(slowest)


def _crossing(collective: str, inside: int, size: int, *, holds_root: bool) -> tuple[float, float]:
    """How many vectors must leave ``inside`` of ``size`` ranks, and how many must come in."""
    outside = size - inside
    if collective == "allreduce":
        return 1.0, 1.0  # each side has to learn the other's part of every sum
    if collective == "reduce_scatter":
        return outside / size, inside / size
    if collective == "allgather":
        return inside / size, outside / size
    if collective == "alltoall":
        return inside * outside / size, inside * outside / size
    if collective == "broadcast":
        return (1.0, 0.0) if holds_root else (0.0, 1.0)
    if collective == "reduce":
        return (0.0, 1.0) if holds_root else (1.0, 0.0)
    return 0.0, 0.0
