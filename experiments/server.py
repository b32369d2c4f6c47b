"""`ciranda server`: workers and parameter servers at work, in step or not, beside a ring in lockstep."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.arguments import factors
from experiments.environment import collect
from experiments.errors import UsageFault
from experiments.network import NetworkOptions
from experiments.option_groups import grouped
from experiments.records import SCHEMA
from experiments.tables import show
from experiments.units import format_bytes, format_seconds, parse_bytes, parse_seconds

if TYPE_CHECKING:
    from simulator import Network
    from simulator.compute_times import ComputeTime
    from simulator.parameter_server import Outcome, Setup

__all__ = ["SetupOptions", "command"]

MODES = "bsp", "ssp:3", "asp"


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """What a command line says of workers and servers; ``build`` makes the setup."""

    workers: Annotated[int, typer.Option("-w", "--workers", min=1, help="They compute gradients.")] = 8
    servers: Annotated[int, typer.Option("-k", "--servers", min=1, help="They share the parameters.")] = 2
    colocated: Annotated[bool, typer.Option("--colocated", help="Servers sit beside the first workers.")] = False
    size: Annotated[str, typer.Option(help="Bytes of the parameters.")] = "100MiB"
    slices: Annotated[int, typer.Option(min=1, help="Messages into which a server's share is cut.")] = 1
    compute: Annotated[str, typer.Option(help="Mean time in which a worker computes a gradient.")] = "100ms"
    distribution: Annotated[
        str, typer.Option(help="Of that time: constant, exponential, gamma, lognormal or uniform.")
    ] = "constant"
    variation: Annotated[
        float, typer.Option(help="Its standard deviation over its mean, of gamma, lognormal and uniform.")
    ] = 0.0
    slow: Annotated[
        list[str] | None, typer.Option(help="WORKER=FACTOR: it computes FACTOR times as long.", show_default=False)
    ] = None

    def build(self) -> Setup:
        """The setup. UsageFault names what cannot be."""
        from simulator.compute_times import ComputeTime
        from simulator.parameter_server import Setup

        try:
            time = ComputeTime(parse_seconds(self.compute), self.distribution, self.variation)
            return Setup(
                self.workers, self.servers, parse_bytes(self.size), time,
                colocated=self.colocated, slow=factors(self.slow, "--slow"), slices=self.slices,
            )  # fmt: skip
        except ValueError as problem:
            raise UsageFault(str(problem)) from problem


@grouped
def command(
    modes: Annotated[
        list[str] | None,
        typer.Argument(help="bsp, ssp:STEPS or asp; " + ", ".join(MODES) + " if none.", show_default=False),
    ] = None,
    *,
    arrangement: SetupOptions,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="Steps of each worker, on average.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Of the computing times.")] = 0,
    place: NetworkOptions,
    contention: Annotated[
        bool, typer.Option("--contention/--no-contention", help="Whether messages on one link share its bandwidth.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print records, for machines.")] = False,
) -> None:
    """Simulate training with parameter servers: in lockstep (bsp), at most STEPS ahead (ssp:STEPS), or free (asp).

    Steps per second of all workers, step times, how stale gradients are, and how busy the servers; beside them workers
    that sum their gradients over a ring, and what the closed forms say. Nothing is measured, and MPI is not needed.

    Example: ciranda server bsp ssp:4 asp -w 16 -k 4 --size 100MiB --compute 80ms --slow 0=3 --bandwidth 25Gbit/s
    """
    from simulator import parameter_server

    setup = arrangement.build()
    network = place.build(setup.ranks)
    try:
        found = [
            parameter_server.simulate(setup, network, mode=mode, steps=steps, contention=contention, seed=seed)
            for mode in modes or MODES
        ]
    except ValueError as problem:
        raise UsageFault(str(problem)) from problem
    lockstep = _lockstep(setup, place.build(setup.workers), steps, seed, contention=contention)
    if as_json:
        environment = {**collect(), "network": place.network or "star", "ring_steps_per_second": lockstep}
        environment |= {"bound_steps_per_second": _bound(setup, network), "seed": seed, "contention": contention}
        document = {"schema": SCHEMA, "environment": environment, "records": [_record(one) for one in found]}
        json.dump(document, sys.stdout, indent=1, allow_nan=False)
        print()
        return
    _print(found)
    typer.echo(f"A ring over the workers, in lockstep: {lockstep:.4g} steps/s")
    for line in (*_closed_forms(setup, network), place.describe(network)):
        typer.echo(line)


def _lockstep(setup: Setup, network: Network, steps: int, seed: int, *, contention: bool) -> float:
    """Steps per second of all workers when each step takes the slowest worker's computing, and a ring."""
    from collectives import catalogue
    from simulator import simulate

    times = [_times(setup.compute, seed, worker, steps) for worker in range(setup.workers)]
    slowest = sum(
        max(seconds * setup.slow.get(worker, 1.0) for worker, seconds in enumerate(together))
        for together in zip(*times, strict=True)
    )
    ring = simulate(catalogue.get("ring"), setup.workers, setup.nbytes, network, contention=contention).seconds
    return _finite(setup.workers * steps / (slowest + steps * ring) if slowest + ring else math.inf) or 0.0


def _times(compute: ComputeTime, seed: int, worker: int, steps: int) -> list[float]:
    return list(islice(compute.draw(seed, worker), steps))


def _bound(setup: Setup, network: Network) -> float | None:
    """What constant times allow; there is no closed form where times vary, or servers sit beside workers."""
    from simulator import server_theory

    if setup.colocated or setup.compute.distribution != "constant":
        return None
    computing = [setup.compute.mean * setup.slow.get(worker, 1.0) for worker in range(setup.workers)]
    alpha = network.nearest + network.model.alpha
    beta = max(1 / float(network.topology.bandwidth.max()), network.model.beta)
    return _finite(
        server_theory.asynchronous_bound(
            computing, setup.servers, setup.nbytes, alpha, beta, network.gamma, setup.slices
        )
    )


def _closed_forms(setup: Setup, network: Network) -> list[str]:
    from simulator import server_theory

    prices = network.alpha, network.beta, network.gamma
    below = server_theory.crossover_bytes(
        setup.workers, setup.servers, *prices, slices=setup.slices, colocated=setup.colocated
    )
    against = {0.0: "never faster than a ring", math.inf: "never slower than a ring"}.get(
        below, f"faster than a ring below {below:.4g} bytes"
    )
    bound = _bound(setup, network)
    limit = [] if bound is None else [f"No parameter server can do more than {bound:.4g} steps/s here"]
    return [*limit, f"By the closed forms one push and pull of all workers is {against}"]


def _record(found: Outcome) -> Mapping[str, Any]:
    setup, servers = found.setup, found.servers
    return {
        "mode": found.mode,
        "workers": setup.workers,
        "servers": setup.servers,
        "colocated": setup.colocated,
        "nbytes": setup.nbytes,
        "slices": setup.slices,
        "steps": len(found.worker),
        "simulated_seconds": found.seconds,
        "steps_per_second": _finite(found.throughput),
        "step_mean_seconds": float(found.step_seconds.mean()),
        **{f"step_p{percent}_seconds": found.percentile(percent) for percent in (50, 95, 99)},
        "lead_max": int(found.lead.max()),
        "staleness_mean": float(found.staleness.mean()),
        "staleness_max": int(found.staleness.max()),
        **{
            f"server_{name}": [getattr(server, name) for server in servers]
            for name in ("busy", "receiving", "sending", "waited", "queue", "longest")
        },
    }


def _print(found: Sequence[Outcome]) -> None:
    setup = found[0].setup
    where = "beside them" if setup.colocated else "of their own"
    title = f"{setup.workers} workers, {setup.servers} servers {where}, {format_bytes(setup.nbytes)}"
    columns = ("mode", "steps/s", "median", "95 %", "stale", "most", "ahead", "port", "busy", "wait")
    rows = [
        [
            one.mode,
            f"{one.throughput:.4g}",
            *(format_seconds(one.percentile(percent)) for percent in (50, 95)),
            f"{one.staleness.mean():.1f}",
            str(one.staleness.max()),
            str(one.lead.max()),
            f"{max(max(server.receiving, server.sending) for server in one.servers):.0%}",
            f"{max(server.busy for server in one.servers):.0%}",
            format_seconds(max(server.waited for server in one.servers)),
        ]
        for one in found
    ]
    show(title, columns, rows)
    typer.echo(
        "stale, most: updates by others that a gradient missed, on average and at most. ahead: steps, of the slowest. "
        "port, busy, wait: the busiest server's network, its processor, and a push's mean wait for that."
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
