"""`ciranda step`: a data-parallel training step, and how much of its communication hides behind computing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collectives import catalogue
from experiments.arguments import algorithm, factors
from experiments.conditions import ConditionOptions
from experiments.environment import collect
from experiments.errors import UsageFault
from experiments.network import NetworkOptions
from experiments.option_groups import grouped
from experiments.records import SCHEMA
from experiments.tables import show
from experiments.units import format_seconds, parse_bytes, parse_ranks, parse_seconds

if TYPE_CHECKING:
    from simulator.architectures import Architecture
    from simulator.training import Layer, Step

__all__ = ["ComputeOptions", "command"]

RANKS = 8
"""How many there are where neither the command line nor the network says it."""

PANEL = "Computing"


@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """What a command line says of a step's computing: its time, or the work and the speed."""

    compute: Annotated[
        str | None,
        typer.Option(
            help="Time of forward and backward pass, such as 90ms; a third of it is forward.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Samples of each worker, with --tflops.", show_default=False, rich_help_panel=PANEL),
    ] = None
    tflops: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Speed of each worker as it is reached, in 10^12 operations per second.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    slow: Annotated[
        list[str] | None,
        typer.Option(
            help="WORKER=FACTOR: it computes FACTOR times as long.", show_default=False, rich_help_panel=PANEL
        ),
    ] = None
    update: Annotated[str, typer.Option(help="Time of the optimiser after the last sum.", rich_help_panel=PANEL)] = "0s"

    def forward(self, architecture: Architecture) -> float:
        """Seconds of the forward pass; the backward pass takes twice as long."""
        given = self.batch is not None, self.tflops is not None
        if self.compute is not None and not any(given):
            return parse_seconds(self.compute) / 3
        if self.compute is None and all(given) and self.batch and self.tflops:
            return architecture.forward_seconds(self.batch, self.tflops * 1e12)
        raise UsageFault("say how long a step computes: --compute 90ms, or both --batch 32 and --tflops 15 (above 0)")


@grouped
def command(
    model: Annotated[str, typer.Argument(help="resnet50, bert-large or gpt2-xl.", show_default=False)],
    algorithms: Annotated[
        list[str] | None, typer.Argument(help="What sums the gradients; ring if none.", show_default=False)
    ] = None,
    *,
    ranks: Annotated[
        str | None,
        typer.Option(
            "-n", "--ranks", help=f"Ranks: 8, 2-8 or 2:64 (doubling); all hosts of a network with a size, else {RANKS}."
        ),
    ] = None,
    computing: ComputeOptions,
    bucket: Annotated[str, typer.Option(help="Bytes at which a bucket of gradients is full.")] = "25MiB",
    dtype: Annotated[str, typer.Option(help="Of a gradient.")] = "float32",
    buckets: Annotated[bool, typer.Option("--buckets", help="Print when each bucket is ready and summed.")] = False,
    place: NetworkOptions,
    contention: Annotated[
        bool, typer.Option("--contention/--no-contention", help="Whether messages on one link share its bandwidth.")
    ] = True,
    disturbance: ConditionOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print records, for machines.")] = False,
) -> None:
    """Simulate a step of data-parallel training: buckets of gradients are summed while the backward pass goes on.

    Step time, the communication that computing does not hide, and the efficiency beside one worker alone. With
    parameter_server_separate the last ranks only serve. Nothing is measured, and MPI is not needed.

    Example: ciranda step resnet50 ring hierarchical -n 2:64 --batch 32 --tflops 10 --bandwidth 10Gbit/s
    """
    from experiments import payload
    from simulator import training

    architecture = _architecture(model)
    itemsize = payload.dtype(dtype).itemsize
    forward = computing.forward(architecture)
    layers = training.layers(architecture, forward, 2 * forward, itemsize)
    chosen = [algorithm(text) for text in algorithms or ["ring"]]
    counts = parse_ranks(ranks) if ranks else [place.size() or RANKS]
    size = parse_bytes(bucket)
    found = list(_steps(layers, chosen, counts, size, itemsize, computing, place, disturbance, contention=contention))
    if not found:
        raise UsageFault(f"{', '.join(entry.label for entry in chosen)}: none works for {ranks or counts[0]} ranks")
    if as_json:
        around = {"model": model, "network": place.network or "star", "disturbed": disturbance.describe()}
        records = [{**_record(one), "model": model, **({"buckets": _buckets(one)} if buckets else {})} for one in found]
        document = {"schema": SCHEMA, "environment": {**collect(), **around}, "records": records}
        json.dump(document, sys.stdout, indent=1, allow_nan=False)
        print()
        return
    _print_steps(f"{model}, {_megabytes(sum(layer.nbytes for layer in layers))} of gradients", found)
    for one in found if buckets else ():
        _print_buckets(one)
    typer.echo(f"A sample is {architecture.sample}. Shape: {architecture.source}")
    typer.echo(place.describe(found[0].network))


def _architecture(name: str) -> Architecture:
    from simulator import architectures

    try:
        return architectures.get(name)
    except KeyError as fault:
        raise UsageFault(str(fault.args[0])) from fault


def _steps(
    layers: Sequence[Layer],
    algorithms: Sequence[catalogue.Algorithm],
    ranks: Sequence[int],
    bucket: int,
    itemsize: int,
    computing: ComputeOptions,
    place: NetworkOptions,
    disturbance: ConditionOptions,
    *,
    contention: bool,
) -> Iterator[Step]:
    from simulator import training

    slow = factors(computing.slow, "--slow")
    for count in ranks:
        network = place.build(count)
        conditions = disturbance.build(network)
        stragglers = conditions.slow_ranks
        pace = {rank: slow.get(rank, 1.0) * stragglers.get(rank, 1.0) for rank in {*slow, *stragglers}}
        for entry in algorithms:
            if not entry.supports(count):
                continue
            try:
                yield training.step(
                    layers, network, entry, bucket=bucket, itemsize=itemsize, update=parse_seconds(computing.update),
                    slow=pace, contention=contention, conditions=conditions,
                )  # fmt: skip
            except ValueError as problem:
                raise UsageFault(f"{entry.label}: {problem}") from problem


def _record(step: Step) -> Mapping[str, Any]:
    return {
        "algorithm": step.algorithm.label,
        "collective": step.algorithm.collective,
        "ranks": step.network.size,
        "workers": step.workers,
        "nbytes": sum(bucket.nbytes for bucket in step.buckets),
        "simulated_seconds": step.seconds,
        "compute_seconds": step.compute,
        "communication_seconds": step.communication,
        "exposed_seconds": step.exposed,
        "overlap": step.overlap,
        "efficiency": step.efficiency,
    }


def _buckets(step: Step) -> list[Mapping[str, Any]]:
    return [
        {
            "layers": list(bucket.layers),
            "nbytes": bucket.nbytes,
            "ready_seconds": bucket.ready,
            "began_seconds": bucket.began,
            "done_seconds": bucket.done,
        }
        for bucket in step.buckets
    ]


def _print_steps(title: str, found: Sequence[Step]) -> None:
    rows = [
        [
            step.algorithm.label,
            str(step.workers),
            *(format_seconds(seconds) for seconds in (step.seconds, step.communication, step.exposed)),
            f"{step.overlap:.0%}",
            f"{step.efficiency:.1%}",
        ]
        for step in found
    ]
    show(title, ("algorithm", "workers", "step", "communication", "exposed", "hidden", "efficiency"), rows)


def _print_buckets(step: Step) -> None:
    rows = [
        [
            bucket.layers[0] if len(bucket.layers) == 1 else f"{bucket.layers[0]} to {bucket.layers[-1]}",
            _megabytes(bucket.nbytes),
            *(format_seconds(seconds) for seconds in (bucket.ready, bucket.began, bucket.done)),
        ]
        for bucket in step.buckets
    ]
    show(f"{step.algorithm.label}, {step.workers} workers", ("bucket", "size", "ready", "began", "done"), rows)


def _megabytes(nbytes: int) -> str:
    return f"{nbytes / 1e6:.4g}MB"
