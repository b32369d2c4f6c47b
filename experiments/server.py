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
    from collectives.parameter_server.consistency import Consistency
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
    replicas: Annotated[int, typer.Option(min=1, help="Servers that hold each part.")] = 1
    encoding: Annotated[
        str | None, typer.Option(help="How gradients travel, such as int8 or fp16.", show_default=False)
    ] = None

    @property
    def nbytes(self) -> int:
        """Of the parameters."""
        return parse_bytes(self.size)

    def build(self, consistency: Consistency) -> Setup:
        """The setup: the model is one layer. UsageFault names what cannot be."""
        from collectives.parameter_server import Configuration
        from simulator.compute_times import ComputeTime
        from simulator.parameter_server import Setup
        from simulator.training import Layer

        try:
            partition = -(-self.nbytes // (self.servers * self.slices))
            configuration = Configuration(
                self.workers, self.servers, self.colocated, consistency, partition, self.replicas, self.encoding
            )
            model = Layer("model", self.nbytes, 0.0, parse_seconds(self.compute))
            noise = ComputeTime(1.0, self.distribution, self.variation)
            return Setup(configuration, (model,), noise, factors(self.slow, "--slow"))
        except ValueError as problem:
            raise UsageFault(str(problem)) from problem


@grouped
def command(
    modes: Annotated[
        list[str] | None,
        typer.Argument(
            help="bsp, ssp:STEPS, async:fetch=N,push=M (or asp), backup:WORKERS, easgd:period=N; "
            + ", ".join(MODES)
            + " if none.",
            show_default=False,
        ),
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
    """Simulate training with parameter servers: in lockstep (bsp), at most STEPS ahead (ssp:STEPS), free (async) ...

    Steps per second of all workers, step times, how stale gradients are, and how busy the servers; beside them workers
    that sum their gradients over a ring, and what the closed forms say. Nothing is measured, and MPI is not needed.

    Example: ciranda server bsp ssp:4 asp -w 16 -k 4 --size 100MiB --compute 80ms --slow 0=3 --bandwidth 25Gbit/s
    """
    from simulator import parameter_server

    setups = {mode: arrangement.build(_consistency(mode)) for mode in modes or MODES}
    setup = next(iter(setups.values()))
    network = place.build(setup.configuration.ranks)
    try:
        found = {
            mode: parameter_server.simulate(one, network, steps=steps, contention=contention, seed=seed)
            for mode, one in setups.items()
        }
    except ValueError as problem:
        raise UsageFault(str(problem)) from problem
    lockstep = _lockstep(setup, place.build(setup.configuration.workers), steps, seed, contention=contention)
    bound = _bound(list(setups.values()), arrangement.slices, network)
    if as_json:
        environment = {**collect(), "network": place.network or "star", "ring_steps_per_second": lockstep}
        environment |= {"bound_steps_per_second": bound, "seed": seed, "contention": contention}
        document = {
            "schema": SCHEMA,
            "environment": environment,
            "records": [_record(mode, one, arrangement.slices) for mode, one in found.items()],
        }
        json.dump(document, sys.stdout, indent=1, allow_nan=False)
        print()
        return
    _print(found)
    typer.echo(f"A ring over the workers, in lockstep: {lockstep:.4g} steps/s")
    if bound is not None:
        typer.echo(f"No parameter server can do more than {bound:.4g} steps/s here")
    for line in (_against_ring(setup, arrangement.slices, network), place.describe(network)):
        typer.echo(line)


def _consistency(mode: str) -> Consistency:
    from collectives.parameter_server import consistency

    try:
        return consistency.get(mode)
    except ValueError as problem:
        raise UsageFault(str(problem)) from problem


def _lockstep(setup: Setup, network: Network, steps: int, seed: int, *, contention: bool) -> float:
    """Steps per second of all workers when each step takes the slowest worker's computing, and a ring."""
    from collectives import catalogue
    from simulator import simulate

    (model,), workers = setup.layers, setup.configuration.workers
    times = [_times(setup.noise, seed, worker, steps) for worker in range(workers)]
    slowest = model.backward * sum(
        max(factor * setup.slow.get(worker, 1.0) for worker, factor in enumerate(together))
        for together in zip(*times, strict=True)
    )
    ring = simulate(catalogue.get("ring"), workers, model.nbytes, network, contention=contention).seconds
    return _finite(workers * steps / (slowest + steps * ring) if slowest + ring else math.inf) or 0.0


def _times(compute: ComputeTime, seed: int, worker: int, steps: int) -> list[float]:
    return list(islice(compute.draw(seed, worker), steps))


def _bound(setups: Sequence[Setup], slices: int, network: Network) -> float | None:
    """What constant times allow where every step pushes and pulls; there is no closed form for anything else."""
    from simulator import server_theory

    setup = setups[0]
    configuration, (model,) = setup.configuration, setup.layers
    rare = any(one.periods != (1, 1) for one in setups)
    if rare or configuration.colocated or configuration.encoding or setup.noise.distribution != "constant":
        return None
    computing = [model.backward * setup.slow.get(worker, 1.0) for worker in range(configuration.workers)]
    alpha = network.nearest + network.model.alpha
    beta = max(1 / float(network.topology.bandwidth.max()), network.model.beta)
    return _finite(
        server_theory.asynchronous_bound(
            computing, configuration.servers, model.nbytes, alpha, beta, network.gamma, slices
        )
    )


def _against_ring(setup: Setup, slices: int, network: Network) -> str:
    from simulator import server_theory

    configuration = setup.configuration
    below = server_theory.crossover_bytes(
        configuration.workers, configuration.servers, network.alpha, network.beta, network.gamma, slices=slices,
        colocated=configuration.colocated,
    )  # fmt: skip
    against = {0.0: "never faster than a ring", math.inf: "never slower than a ring"}.get(
        below, f"faster than a ring below {below:.4g} bytes"
    )
    return f"By the closed forms one push and pull of all workers is {against}"


def _record(mode: str, found: Outcome, slices: int) -> Mapping[str, Any]:
    configuration, (model,), servers = found.setup.configuration, found.setup.layers, found.servers
    return {
        "mode": mode,
        "workers": configuration.workers,
        "servers": configuration.servers,
        "colocated": configuration.colocated,
        "replicas": configuration.replicas,
        "encoding": configuration.encoding,
        "nbytes": model.nbytes,
        "slices": slices,
        "steps": len(found.worker),
        "updates": found.updates,
        "late": found.late,
        "simulated_seconds": found.seconds,
        "steps_per_second": _finite(found.throughput),
        "step_mean_seconds": float(found.step_seconds.mean()),
        **{f"step_p{percent}_seconds": found.percentile(percent) for percent in (50, 95, 99)},
        "lead_max": int(found.lead.max()),
        "staleness_mean": float(found.staleness.mean()) if found.staleness.size else 0.0,
        "staleness_max": int(found.staleness.max(initial=0)),
        "staleness_histogram": {str(stale): pushes for stale, pushes in found.histogram.items()},
        "sent_bytes": list(found.sent_bytes),
        **{
            f"server_{name}": [getattr(server, name) for server in servers]
            for name in (
                "busy", "receiving", "sending", "waited", "queue", "longest", "received_bytes", "sent_bytes",
            )
        },
    }  # fmt: skip


def _print(found: Mapping[str, Outcome]) -> None:
    setup = next(iter(found.values())).setup
    configuration, (model,) = setup.configuration, setup.layers
    where = "beside them" if configuration.colocated else "of their own"
    title = f"{configuration.workers} workers, {configuration.servers} servers {where}, {format_bytes(model.nbytes)}"
    columns = ("mode", "steps/s", "median", "95 %", "stale", "most", "ahead", "port", "busy", "wait")
    rows = [
        [
            mode,
            f"{one.throughput:.4g}",
            *(format_seconds(one.percentile(percent)) for percent in (50, 95)),
            f"{one.staleness.mean() if one.staleness.size else 0.0:.1f}",
            str(one.staleness.max(initial=0)),
            str(one.lead.max()),
            f"{max(max(server.receiving, server.sending) for server in one.servers):.0%}",
            f"{max(server.busy for server in one.servers):.0%}",
            format_seconds(max(server.waited for server in one.servers)),
        ]
        for mode, one in found.items()
    ]
    show(title, columns, rows)
    typer.echo(
        "stale, most: updates by others that a gradient missed, on average and at most. ahead: steps, of the slowest. "
        "port, busy, wait: the busiest server's network, its processor, and a message's mean wait for that."
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
