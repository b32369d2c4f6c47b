"""`ciranda simulate`: how long algorithms take on a network, beside theory and the lower bound."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from collectives import catalogue, proof
from collectives.contract import CONTRACTS
from collectives.schedule import ScheduleError
from experiments.arguments import algorithm
from experiments.conditions import ConditionOptions
from experiments.environment import collect
from experiments.errors import UsageFault
from experiments.network import NetworkOptions
from experiments.option_groups import grouped
from experiments.records import Record, bandwidths, document
from experiments.units import format_bytes, format_rate, format_seconds, parse_ranks, parse_sizes
from experiments.ways import WayOptions, look, print_json, print_table

if TYPE_CHECKING:
    from simulator import Conditions, Network, Run

__all__ = ["Outcome", "Setting", "command", "outcomes"]

EXECUTOR = "simulator"

RANKS = 8
"""How many there are where neither the command line nor the network says it."""

_EXPLAINED = 500_000
"""Messages of a run that may be explained: all of them are kept for it, about 1 kB each."""

_PROVEN_TO = 32
"""Up to so many ranks a proof takes no time worth mentioning."""


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


@grouped
def command(
    algorithms: Annotated[
        list[str] | None,
        typer.Argument(help="Such as ring or chain:segments=16; every allreduce if none.", show_default=False),
    ] = None,
    *,
    ranks: Annotated[
        str | None,
        typer.Option(
            "-n", "--ranks", help=f"Ranks: 8, 2-8 or 2:64 (doubling); all hosts of a network with a size, else {RANKS}."
        ),
    ] = None,
    size: Annotated[str, typer.Option(help="Bytes of the vector: 1MiB, or 8:16MiB (doubling).")] = "1MiB",
    place: NetworkOptions,
    contention: Annotated[
        bool, typer.Option("--contention/--no-contention", help="Whether messages on one link share its bandwidth.")
    ] = True,
    disturbance: ConditionOptions,
    across: WayOptions,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Elements between which chunks end; uint8 if not given, float32 with --encoding.", show_default=False
        ),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what the time of each run was spent on.")] = False,
    show_route: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="RANK RANK", help="Print what a message passes from one rank to another, and stop."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print records, for machines.")] = False,
) -> None:
    """Simulate algorithms on a network, beside their closed form and the lower bound.

    Closed forms know the farthest message alone, and neither contention nor disturbances. Options beside --profile
    replace what the profile says. Nothing is measured, and MPI is not needed.

    What would GPUDirect give me? --device-path staged,gpudirect runs each algorithm both ways, and says which link and
    which term the difference is. Closed forms do not know pieces, launches and waits for devices.

    Example: ciranda simulate ring halving_doubling -n 64 --network torus:4x4x4 --size 16MiB
    """
    chosen = [algorithm(text) for text in algorithms or catalogue.names("allreduce")]
    counts = parse_ranks(ranks) if ranks else [place.size() or RANKS]
    ways = across.ways()
    if show_route is not None:
        _print_route(place.build(counts[0], ways[0]), *show_route)
        return
    elements = dtype or ("float32" if across.encoding else "uint8")
    settings = [Setting(partial(place.build, way=way), disturbance.build, contention=contention) for way in ways]
    from rich.console import Console

    with Console(stderr=True).status("Simulating (after an update, the first time compiles for some 20 s)"):
        sizes = parse_sizes(size)
        each = [list(outcomes(chosen, counts, sizes, setting, elements)) for setting in settings]
        found = each[0]
        seen = [look(way, outcome) for way, some in zip(ways, each, strict=True) for outcome in some if across.given]
    if not found:
        raise UsageFault(f"{', '.join(entry.label for entry in chosen)}: none works for {ranks or counts[0]} ranks")
    around = {"network": place.network or "star", "disturbed": disturbance.describe()}
    note = "; ".join(filter(None, ("Messages share links" if contention else "No contention", disturbance.describe())))
    if across.given and as_json:
        print_json(seen, {**around, "contention": contention})
    elif across.given:
        print_table(seen, [note], explain=explain)
    elif as_json:
        _print_json(found, around)
    else:
        _print_tables(found, [place.describe(found[0].run.network), note], explain=explain)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how algorithms run: the network of so many ranks, and the conditions on it."""

    network: Callable[[int], Network]
    conditions: Callable[[Network], Conditions] | None = None
    contention: bool = True


def outcomes(
    algorithms: Sequence[catalogue.Algorithm], ranks: Iterable[int], sizes: Sequence[int], setting: Setting, dtype: str
) -> Iterable[Outcome]:
    """Simulate every algorithm for every number of ranks that it supports and every size, the fastest first.

    Up to 32 ranks each schedule is proven first. UsageFault for what the network or the conditions do not allow.
    """
    from experiments import payload
    from simulator import theory

    itemsize = payload.dtype(dtype).itemsize
    for count in ranks:
        network = setting.network(count)
        conditions = setting.conditions(network) if setting.conditions else None
        prices = network.alpha, network.beta, network.gamma
        fitting = [entry for entry in algorithms if entry.supports(count)]
        if count <= _PROVEN_TO:
            _prove(fitting, count)
        for nbytes in sizes:
            if nbytes % itemsize:
                raise UsageFault(f"{nbytes} bytes are no whole number of {dtype} elements, {itemsize} bytes each")
            found = [
                Outcome(
                    _simulated(entry, nbytes, itemsize, network, conditions, contention=setting.contention),
                    theory.seconds(entry, count, nbytes, *prices, encoding=network.model.encoding),
                    dtype,
                )
                for entry in fitting
            ]
            yield from sorted(found, key=lambda outcome: (_heading(outcome), outcome.run.seconds))


def _prove(algorithms: Iterable[catalogue.Algorithm], ranks: int) -> None:
    for entry in algorithms:
        try:
            proof.prove(entry, ranks)
        except ScheduleError as problem:
            raise UsageFault(f"{entry.label} is not simulated, for it does not prove: {problem}") from problem


def _simulated(
    entry: catalogue.Algorithm,
    nbytes: int,
    itemsize: int,
    network: Network,
    conditions: Conditions | None,
    *,
    contention: bool,
) -> Run:
    from simulator import simulate

    try:
        return simulate(
            entry, network.size, nbytes, network, itemsize=itemsize, contention=contention, conditions=conditions
        )
    except ValueError as problem:  # a run that cannot end, because of a link that failed
        raise UsageFault(f"{entry.label}: {problem}") from problem


def _print_route(network: Network, source: int, dest: int) -> None:
    try:
        hops = network.route(source, dest)
    except ValueError as problem:
        raise UsageFault(str(problem)) from problem
    typer.echo(f"rank {source} to rank {dest} on {network.name}: {len(hops)} {'link' if len(hops) == 1 else 'links'}")
    for hop in hops:
        rate = "infinite" if math.isinf(hop.bandwidth) else format_rate(hop.bandwidth)
        typer.echo(f"link {hop.link}: {hop.name} ({format_seconds(hop.latency)}, {rate})")


def _print_json(found: Sequence[Outcome], around: Mapping[str, str]) -> None:
    network, contention = found[0].run.network, found[0].run.contention
    prices = {"alpha": network.alpha, "beta": network.beta, "gamma": network.gamma}
    environment = {**collect(), **prices, "contention": contention, **around}
    json.dump(document((outcome.record() for outcome in found), environment), sys.stdout, indent=1, allow_nan=False)
    print()


def _print_tables(found: Sequence[Outcome], notes: Iterable[str], *, explain: bool) -> None:
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
        for outcome in rows if explain else ():
            console.print(_words(outcome.run), "", markup=False, highlight=False)
        for run in (outcome.run for outcome in rows if outcome.run.symmetric):
            one = f"{run.algorithm.label}: one rank stands for all of them ({run.symmetric})"
            console.print(one, markup=False, highlight=False)
    for note in notes:
        console.print(note, markup=False, highlight=False)


def _words(run: Run) -> str:
    from simulator.explanation import explain

    if run.messages > _EXPLAINED:
        return f"{run.algorithm.label}: {run.messages} messages are too many to explain; up to {_EXPLAINED} are"
    return " ".join(explain(run).words())


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
