"""`ciranda simulate`: how long algorithms take on a network, beside theory and the lower bound."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from collectives import catalogue
from collectives.contract import CONTRACTS
from experiments import network
from experiments.arguments import algorithm
from experiments.environment import collect
from experiments.errors import UsageFault
from experiments.network import Costs, costs
from experiments.records import Record, bandwidths, document
from experiments.units import format_bytes, format_rate, format_seconds, parse_ranks, parse_sizes

if TYPE_CHECKING:
    from simulator import Run

__all__ = ["Outcome", "command", "outcomes"]

EXECUTOR = "simulator"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One simulation and what the closed form says in seconds; ``dtype`` is that of the vector's elements."""

    run: Run
    theory: float
    dtype: str

    def record(self) -> Record:
        """The flat record that ``--json`` prints."""
        run = self.run
        entry, size, seconds = run.algorithm, run.size, run.seconds
        moved = run.bytes and seconds  # a barrier, or a single rank, has no bandwidth
        algbw, busbw = bandwidths(entry.collective, size, run.nbytes, seconds) if moved else (None, None)
        return Record(
            algorithm=entry.label,
            collective=entry.collective,
            executor=EXECUTOR,
            library="",
            ranks=size,
            nbytes=run.nbytes,
            dtype=self.dtype,
            op="sum" if CONTRACTS[entry.collective].reduces else "",
            simulated_seconds=seconds,
            theory_seconds=self.theory,
            bound_seconds=run.bound,
            algbw=algbw,
            busbw=busbw,
        )


def command(
    algorithms: Annotated[
        list[str] | None,
        typer.Argument(help="Such as ring or chain:segments=16; every allreduce if none.", show_default=False),
    ] = None,
    ranks: Annotated[str, typer.Option("-n", "--ranks", help="Ranks: 8, 2-8 or 2:64 (doubling).")] = "8",
    size: Annotated[str, typer.Option(help="Bytes of the vector: 1MiB, or 8:16MiB (doubling).")] = "1MiB",
    latency: network.Latency = None,
    bandwidth: network.Bandwidth = None,
    gamma: network.Gamma = None,
    profile: network.Measured = None,
    dtype: Annotated[str, typer.Option(help="Elements between which chunks end.")] = "uint8",
    as_json: Annotated[bool, typer.Option("--json", help="Print records, for machines.")] = False,
) -> None:
    """Simulate algorithms on a network without contention, beside their closed form and the lower bound.

    Options beside --profile replace what the profile says. Nothing is measured, and MPI is not needed.

    Example: ciranda simulate ring halving_doubling -n 16 --size 1MiB --latency 5us --bandwidth 10Gbit/s
    """
    chosen = [algorithm(text) for text in algorithms or catalogue.names("allreduce")]
    prices = costs(latency, bandwidth, gamma, profile)
    found = list(outcomes(chosen, parse_ranks(ranks), parse_sizes(size), prices, dtype))
    if not found:
        raise UsageFault(f"{', '.join(entry.label for entry in chosen)}: none works for {ranks} ranks")
    if as_json:
        _print_json(found, prices)
    else:
        _print_tables(found, prices)


def outcomes(
    algorithms: Sequence[catalogue.Algorithm], ranks: Iterable[int], sizes: Sequence[int], prices: Costs, dtype: str
) -> Iterable[Outcome]:
    """Simulate every algorithm for every number of ranks that it supports and every size, the fastest first."""
    from experiments import payload
    from simulator import simulate, theory

    itemsize = payload.dtype(dtype).itemsize
    for count in ranks:
        for nbytes in sizes:
            if nbytes % itemsize:
                raise UsageFault(f"{nbytes} bytes are no whole number of {dtype} elements, {itemsize} bytes each")
            found = [
                Outcome(
                    simulate(entry, count, nbytes, prices.network(count), itemsize=itemsize),
                    theory.seconds(entry, count, nbytes, prices.alpha, prices.beta, prices.gamma),
                    dtype,
                )
                for entry in algorithms
                if entry.supports(count)
            ]
            yield from sorted(found, key=lambda outcome: (_heading(outcome), outcome.run.seconds))


def _print_json(found: Sequence[Outcome], prices: Costs) -> None:
    environment = {**collect(), "alpha": prices.alpha, "beta": prices.beta, "gamma": prices.gamma}
    json.dump(document((outcome.record() for outcome in found), environment), sys.stdout, indent=1, allow_nan=False)
    print()


def _print_tables(found: Sequence[Outcome], prices: Costs) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    gap = 1 if console.width >= 100 else 0  # the columns fit into 80 without it
    for heading, group in groupby(found, key=_heading):
        rows = list(group)
        table = Table(box=box.SIMPLE_HEAD, title=heading, title_justify="left", show_edge=False, padding=(0, gap))
        table.add_column("algorithm", overflow="fold")
        for column in ("simulated", "theory", "× bound", "rounds", "messages", "algbw", "busbw"):
            table.add_column(column, justify="right", no_wrap=True)
        for outcome in rows:
            table.add_row(*_row(outcome))
        console.print(table, "")
    console.print(f"No contention; {prices}", markup=False, highlight=False)


def _heading(outcome: Outcome) -> str:
    run = outcome.run
    what = f"{run.algorithm.collective}, {run.size} {'rank' if run.size == 1 else 'ranks'}, {format_bytes(run.nbytes)}"
    return f"{what}: no algorithm can take less than {format_seconds(run.bound)}"


def _row(outcome: Outcome) -> list[str]:
    run, record = outcome.run, outcome.record()
    return [
        run.algorithm.label,
        *(format_seconds(seconds) for seconds in (run.seconds, outcome.theory)),
        f"{run.seconds / run.bound:.2f}" if run.bound else "",
        str(run.rounds),
        str(run.messages),
        *("" if rate is None else format_rate(rate, digits=3) for rate in (record.algbw, record.busbw)),
    ]
