"""`ciranda scale`: how fast the simulator itself is, against the number of ranks."""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.arguments import algorithm
from experiments.environment import collect
from experiments.errors import UsageFault
from experiments.records import SCHEMA
from experiments.tables import show
from experiments.units import format_bytes, format_seconds, parse_bytes, parse_ranks

if TYPE_CHECKING:
    from simulator import Network

__all__ = ["Case", "Speed", "command", "measure"]

LATENCY, BANDWIDTH = 1e-6, 12.5e9
"""Of each link, in s and bytes/s; what they are does not change how fast the simulator is."""

_RING_TO = 65536
"""A ring of more ranks than this has millions of rounds, and even one rank of it takes long."""

KINDS = {
    "star": "star, every message",
    "fat_tree": "2:1 fat tree, every message, contention",
    "symmetric": "star, one rank for all",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement: which algorithm, on what (one of ``KINDS``), for how many ranks and bytes."""

    kind: str
    algorithm: str
    ranks: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Speed:
    """What one run took in a process of its own.

    ``started_seconds``: from nothing until the compiled code was loaded; ``network_seconds``: making the network;
    ``generated_seconds``: all messages of the schedule alone (of the ranks compared, where one stands for all);
    ``run_seconds``: from the schedule to the result, generation included; ``peak_bytes``: memory of the process.
    """

    kind: str
    algorithm: str
    ranks: int
    nbytes: int
    messages: int
    started_seconds: float
    network_seconds: float
    generated_seconds: float
    run_seconds: float
    messages_per_second: float
    peak_bytes: int
    simulated_seconds: float


def command(
    ranks: Annotated[str, typer.Option("-n", "--ranks", help="Ranks where every message is played.")] = "64:1024",
    symmetric: Annotated[str, typer.Option(help="Ranks where one stands for all; none if empty.")] = "65536,1048576",
    size: Annotated[str, typer.Option(help="Bytes of the vector.")] = "1MiB",
    free: Annotated[str, typer.Option(help="Algorithm on a star, where nothing is shared.")] = "ring",
    contended: Annotated[str, typer.Option(help="Algorithm on a 2:1 fat tree.")] = "halving_doubling",
    as_json: Annotated[bool, typer.Option("--json", help="Print records, for machines.")] = False,
) -> None:
    """Measure the simulator: messages per second against the number of ranks, contended and not.

    Each run has a process of its own, one after the other, so that its memory is its own. Generation of the schedule
    is timed alone, and is part of the run. Load on the machine makes all of it slower.

    Example: ciranda scale -n 64:4096
    """
    nbytes = parse_bytes(size)
    cases = [
        case
        for kind, name, counts in (("star", free, parse_ranks(ranks)), ("fat_tree", contended, parse_ranks(ranks)))
        for count in counts
        if (case := _case(kind, name, count, nbytes))
    ]
    for count in parse_ranks(symmetric) if symmetric else ():
        names = ("ring", "recursive_doubling") if count <= _RING_TO else ("recursive_doubling",)
        cases += [case for name in names if (case := _case("symmetric", name, count, _even(nbytes, count)))]
    if not cases:
        raise UsageFault(f"{free} and {contended}: neither works for {ranks} ranks")
    found = list(_measured(cases))
    if as_json:
        document = {"schema": SCHEMA, "environment": collect(), "records": [asdict(speed) for speed in found]}
        json.dump(document, sys.stdout, indent=1, allow_nan=False)
        print()
    else:
        _print(found)


def measure(case: Case) -> Speed:
    """Measure one case in this process, which should be new."""
    import resource

    begin = time.perf_counter()
    _warm(case)
    started = time.perf_counter()
    network = _network(case)
    made = time.perf_counter()
    generated = _generate(case)
    between = time.perf_counter()
    messages, seconds = _run(case, network)
    took = time.perf_counter() - between
    return Speed(
        **asdict(case),
        messages=messages,
        started_seconds=started - begin,
        network_seconds=made - started,
        generated_seconds=generated,
        run_seconds=took,
        messages_per_second=messages / took,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        simulated_seconds=seconds,
    )


def _case(kind: str, name: str, count: int, nbytes: int) -> Case | None:
    return Case(kind, name, count, nbytes) if algorithm(name).supports(count) else None


def _even(nbytes: int, count: int) -> int:
    """As many bytes, or some more, that ``count`` chunks divide evenly; else no rank stands for all."""
    return -(-nbytes // count) * count


def _measured(cases: Iterable[Case]) -> Iterable[Speed]:
    from rich.console import Console
    from rich.progress import track

    context = multiprocessing.get_context("spawn")
    shown = track(list(cases), "measuring", console=Console(stderr=True), transient=True)
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as alone:
        for case in shown:
            yield alone.submit(measure, case).result()


def _warm(case: Case) -> None:
    """Load the compiled code by a run of few ranks."""
    few = Case(case.kind, case.algorithm, 8, _even(case.nbytes, 8))
    _generate(few)
    _run(few, _network(few))


def _network(case: Case) -> Network:
    from simulator import networks

    if case.kind != "fat_tree":
        return networks.star(case.ranks, LATENCY, BANDWIDTH)
    ports = next(k for k in range(4, 1 << 20, 4) if k**3 // 4 >= case.ranks)
    return networks.fat_tree(ports, LATENCY, BANDWIDTH, oversubscription=2, hosts=case.ranks)


def _generate(case: Case) -> float:
    """Seconds for the messages of the schedule alone."""
    from simulator.blocks import blocks
    from simulator.symmetry import equivariance

    begin = time.perf_counter()
    if case.kind == "symmetric":
        equivariance(algorithm(case.algorithm), case.ranks, case.nbytes)
    else:
        for _ in blocks(algorithm(case.algorithm), case.ranks, case.nbytes):
            pass
    return time.perf_counter() - begin


def _run(case: Case, network: Network) -> tuple[int, float]:
    """Messages, and when the last rank is through."""
    from simulator.playing import Phase, play
    from simulator.symmetry import Asymmetric, quick

    entry = algorithm(case.algorithm)
    if case.kind == "symmetric":
        found = quick(entry, case.ranks, case.nbytes, network)
        if isinstance(found, Asymmetric):
            raise UsageFault(found.reason)
        return found.messages, found.seconds
    played = play([Phase(entry, case.nbytes)], network)
    return played.messages, float(played.completion.max())


def _print(found: list[Speed]) -> None:
    columns = ("ranks", "algorithm", "messages", "schedule", "run", "messages/s", "memory")
    for kind, title in KINDS.items():
        rows = [
            (
                str(speed.ranks),
                speed.algorithm,
                f"{speed.messages:,}",
                format_seconds(speed.generated_seconds, digits=3),
                format_seconds(speed.run_seconds, digits=3),
                f"{speed.messages_per_second:.3g}",
                f"{speed.peak_bytes / 1e6:.0f}MB",
            )
            for speed in found
            if speed.kind == kind
        ]
        if rows:
            show(f"{title}, {format_bytes(found[0].nbytes)}", columns, rows)
    machine = collect()
    started = sorted(speed.started_seconds for speed in found)[len(found) // 2]
    typer.echo(
        f"run: from the schedule to the result, schedule included. A process had its compiled code loaded after "
        f"{format_seconds(started, digits=3)} (median). "
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}, Python {machine['python']}"
    )
