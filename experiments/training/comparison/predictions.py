"""The closed forms of a training step, C + what the network needs, with nothing of it hidden behind computing.

Allreduce costs what its algorithm does, such as 2(p−1)/p·nβ of the ring. In lockstep, k servers of their own need
(max(1, w/k) + w/(ks))·nβ, and servers beside the workers 2(w−1)/k·nβ. Without lockstep a step takes as long as alone,
or as long as the busiest port needs for everybody's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from collectives import catalogue
from collectives.profile import Profile
from experiments.training.comparison.contestants import Contestant
from simulator import server_theory, theory

__all__ = ["Workload", "theory_seconds"]


@dataclass(frozen=True, slots=True)
class Workload:
    """A step of one worker: ``nbytes`` bytes of gradients, of ``batch`` samples, computed in ``compute`` seconds.

    ``partition``: most bytes of a message to or from a server.
    """

    nbytes: int
    batch: int
    compute: float
    partition: int

    def slices(self, servers: int) -> int:
        """Into how many messages a server's share is cut."""
        return max(1, -(-self.nbytes // (servers * self.partition)))


def theory_seconds(contestant: Contestant, workload: Workload, profile: Profile) -> float:
    """Seconds of a step by the closed form, from α, β and γ of one pair at work alone."""
    alone = profile.at(2)
    costs = alone.alpha, alone.beta, alone.gamma
    nbytes, compute = workload.nbytes, workload.compute
    if contestant.ranks == 1:
        return compute
    if not contestant.servers:
        return compute + theory.seconds(catalogue.parse(contestant.algorithm), contestant.ranks, nbytes, *costs)
    workers, servers = contestant.workers, contestant.servers
    slices = workload.slices(servers)
    if contestant.colocated:
        return _beside(contestant, workload, costs)
    if contestant.synchronous:
        return compute + server_theory.separate_seconds(workers, servers, nbytes, *costs, slices)
    return workers / server_theory.asynchronous_bound([compute] * workers, servers, nbytes, *costs, slices)


def _beside(contestant: Contestant, workload: Workload, costs: tuple[float, float, float]) -> float:
    """One server beside each worker: of n bytes 1/w stays on the host."""
    workers, nbytes, compute = contestant.workers, workload.nbytes, workload.compute
    if contestant.synchronous:
        return compute + server_theory.colocated_seconds(workers, contestant.servers, nbytes, *costs)
    alpha, beta, gamma = costs
    away = (workers - 1) / workers * nbytes
    last = nbytes / (contestant.servers * workload.slices(contestant.servers))
    alone = compute + 2 * alpha + away * beta + last * (beta + gamma)
    return max(alone, 2 * away * beta)
