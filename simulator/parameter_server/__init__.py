"""A parameter server at work: workers compute, push gradients and pull parameters; servers queue, add and answer.

The rules and the parts are the real server's own: ``collectives.parameter_server`` has the ledgers, the sharding and
the configuration, and here messages and processors take simulated time. Each worker computes, pushes each part of its
gradient to the part's server, and goes on when what it needs has come back. A server takes messages first come, first
served, one at a time, and answers as soon as the consistency allows.

Sources: Li et al., "Scaling distributed machine learning with the parameter server" (2014); Ho et al., "More effective
distributed ML via a stale synchronous parallel parameter server" (2013); Jiang et al., "A unified architecture for
accelerating distributed DNN training in heterogeneous GPU/CPU clusters" (BytePS, 2020) for parts, priorities and
colocation; van Renesse and Schneider, "Chain replication" (2004).
"""

from __future__ import annotations

from simulator.networks import Network
from simulator.parameter_server.handling import Handling
from simulator.parameter_server.outcome import Outcome, Server
from simulator.parameter_server.run import Run
from simulator.parameter_server.serving import ServerProcess
from simulator.parameter_server.setup import Setup, Spell
from simulator.parameter_server.trains import unpaused
from simulator.parameter_server.working import WorkerProcess
from simulator.processes import World

__all__ = ["Handling", "Outcome", "Server", "Setup", "Spell", "simulate"]


def simulate(
    setup: Setup, network: Network, *, steps: int = 50, contention: bool = True, seed: int = 0, sharing: bool = False
) -> Outcome:
    """Let the workers do ``workers · steps`` steps together; the faster ones do more of them where they may.

    ``sharing``: messages share ports, as connections of TCP do, and do not take turns at them.
    The same ``seed`` gives each worker the same computing times under every consistency. Rank r of ``network`` is rank
    r of ``setup.configuration``; the network may have more. Raises ValueError for a network that is too small, or no
    steps. Cost: some 50 µs for each message.
    """
    ranks = setup.configuration.ranks
    if network.size < ranks:
        raise ValueError(f"{ranks} ranks are needed, and {network.name} has {network.size}")
    if steps < 1:
        raise ValueError(f"there must be at least one step, got {steps}")
    if seed < 0:
        raise ValueError(f"a seed must not be negative, got {seed}")
    world = World(unpaused(network), contention, seed, sharing=sharing)
    run = Run(setup, world, steps, seed)
    for server in range(setup.configuration.servers):
        ServerProcess(run, server)
    for worker in range(setup.configuration.workers):
        WorkerProcess(run, worker)
    return run.outcome(world.run(until=run.finished))
