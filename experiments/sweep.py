"""`ciranda sweep`: many simulations side by side, on all cores or on the ranks of an MPI job, and resumable."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields
from itertools import groupby, product
from pathlib import Path
from typing import Annotated, Any

import typer

from collectives import catalogue
from experiments import __version__
from experiments.arguments import algorithm
from experiments.environment import collect
from experiments.errors import UsageFault
from experiments.json_lines import JsonLines
from experiments.machine import cores
from experiments.network import NetworkOptions
from experiments.records import SCHEMA
from experiments.simulate import Setting, outcomes
from experiments.tables import show
from experiments.units import format_bytes, format_seconds, parse_ranks, parse_sizes

__all__ = ["Cell", "command", "compute"]

STAR = "star"
"""The network that is meant where none is named; its latency and bandwidth are those of ``simulate``."""

MPI_USE = "mpirun -n P python -m mpi4py.futures -m experiments.cli sweep ... --mpi"


@dataclass(frozen=True, slots=True)
class Cell:
    """One simulation, as plain values that travel between processes, and under which its result is found again.

    ``content`` tells two versions of a network's file apart, and ``ciranda`` two of this program.
    """

    algorithm: str
    ranks: int
    nbytes: int
    dtype: str
    network: str
    contention: bool
    latency: str | None = None
    bandwidth: str | None = None
    content: str = ""
    ciranda: str = __version__

    @property
    def place(self) -> NetworkOptions:
        """The network."""
        name = None if self.network == STAR else self.network
        return NetworkOptions(network=name, latency=self.latency, bandwidth=self.bandwidth)


def compute(cell: Cell) -> dict[str, Any]:
    """The record of one cell, with the cell's own values beside it. UsageFault for a network that cannot be."""
    setting = Setting(cell.place.build, contention=cell.contention)
    (outcome,) = outcomes([algorithm(cell.algorithm)], [cell.ranks], [cell.nbytes], setting, cell.dtype)
    return {**outcome.record().to_json(), **asdict(cell)}


def command(
    algorithms: Annotated[
        list[str] | None, typer.Argument(help="Such as ring; every allreduce if none.", show_default=False)
    ] = None,
    out: Annotated[
        Path, typer.Option(help="JSON Lines file to write to; what it has already is not done again.")
    ] = Path("sweep.jsonl"),
    ranks: Annotated[str, typer.Option("-n", "--ranks", help="Ranks: 8, 2-8 or 2:64 (doubling).")] = "8",
    size: Annotated[str, typer.Option(help="Bytes of the vector: 1MiB, or 8:16MiB (doubling).")] = "1MiB",
    network: Annotated[
        list[str] | None,
        typer.Option(help="A preset, a shape or a file, as of simulate; several times for several; star if none."),
    ] = None,
    latency: Annotated[str | None, typer.Option(help="Of each link, for shapes.", show_default=False)] = None,
    bandwidth: Annotated[str | None, typer.Option(help="Of each link, for shapes.", show_default=False)] = None,
    contention: Annotated[
        bool, typer.Option("--contention/--no-contention", help="Whether messages on one link share its bandwidth.")
    ] = True,
    dtype: Annotated[str, typer.Option(help="Elements between which chunks end.")] = "uint8",
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=0, help="Processes; as many as cores if 0.")] = 0,
    mpi: Annotated[bool, typer.Option("--mpi", help=f"Compute on MPI ranks, started as: {MPI_USE}")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the records of all cells.")] = False,
) -> None:
    """Simulate algorithms x ranks x sizes x networks, in parallel.

    Every result is appended to the file as soon as it is there. The same command goes on where it was stopped, and a
    larger one adds what is missing. Results do not depend on how many processes there are.

    Example: ciranda sweep ring halving_doubling -n 8:64 --size 1KiB:16MiB --network star --network torus:4x4x4
    """
    chosen = [algorithm(text).label for text in algorithms or catalogue.names("allreduce")]
    grid = product(network or [STAR], parse_ranks(ranks), parse_sizes(size), dict.fromkeys(chosen))
    cells = [
        Cell(name, count, nbytes, dtype, where, contention, latency, bandwidth, _digest(where))
        for where, count, nbytes, name in grid
        if algorithm(name).supports(count)
    ]
    if not cells:
        raise UsageFault(f"{', '.join(chosen)}: none works for {ranks} ranks")
    _check(cells)
    pool = _mpi_pool() if mpi else None
    with JsonLines(out) as results:
        there = {cell for line in results.lines if (cell := _cell(line))}
        missing = [cell for cell in cells if cell not in there]
        if missing:
            results.add({"environment": collect()})
            with pool or _workers(min(jobs or cores(), len(missing))) as workers:
                for record in _computed(missing, workers):
                    results.add(record)
        wanted = set(cells)
        found = {cell: line for line in results.lines if (cell := _cell(line)) in wanted}
    if as_json:
        document = {"schema": SCHEMA, "environment": collect(), "records": [found[cell] for cell in cells]}
        json.dump(document, sys.stdout, indent=1, allow_nan=False)
        print()
    else:
        _print([found[cell] for cell in cells])
        typer.echo(f"{len(cells)} results, {len(missing)} of them new, in {out}")


def _digest(network: str) -> str:
    file = Path(network)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else ""


def _check(cells: Iterable[Cell]) -> None:
    """Refuse what cannot be before anything runs."""
    from experiments import payload

    for where in dict.fromkeys((cell.network, cell.latency, cell.bandwidth, cell.ranks) for cell in cells):
        name, latency, bandwidth, count = where
        NetworkOptions(None if name == STAR else name, latency=latency, bandwidth=bandwidth).build(count)
    for cell in cells:
        itemsize = payload.dtype(cell.dtype).itemsize
        if cell.nbytes % itemsize:
            raise UsageFault(f"{cell.nbytes} bytes are no whole number of {cell.dtype} elements, {itemsize} bytes each")


def _cell(line: Mapping[str, Any]) -> Cell | None:
    """Which cell a line of the file is the result of; None for what is no result."""
    names = [field.name for field in fields(Cell)]
    return Cell(**{name: line[name] for name in names}) if all(name in line for name in names) else None


def _workers(jobs: int) -> AbstractContextManager[Executor | None]:
    """Other processes that compute, or None for this process alone."""
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) if jobs > 1 else nullcontext()


def _mpi_pool() -> Executor:
    """An executor on the other ranks of this job, of which ``mpi4py.futures`` runs this code on the first alone."""
    if "mpi4py.futures" not in sys.orig_argv:
        raise UsageFault(f"--mpi: start it as {MPI_USE}")
    from mpi4py import MPI
    from mpi4py.futures import MPIPoolExecutor

    if MPI.COMM_WORLD.Get_size() == 1:
        raise UsageFault("--mpi: one rank has no others to compute on; start two or more with mpirun -n")
    return MPIPoolExecutor()


def _computed(cells: Sequence[Cell], workers: Executor | None) -> Iterator[dict[str, Any]]:
    """The results as they come; at the first fault those that have not begun are dropped."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if workers is None:
        yield from map(compute, track(cells, "simulating", console=console, transient=True))
        return
    coming = [workers.submit(compute, cell) for cell in cells]
    try:
        for done in track(as_completed(coming), "simulating", total=len(coming), console=console, transient=True):
            yield done.result()
    finally:
        for future in coming:
            future.cancel()


def _print(records: Sequence[Mapping[str, Any]]) -> None:
    """For each network, number of ranks and size which algorithm is the fastest."""
    for network, mine in groupby(records, key=lambda record: record["network"]):
        rows: list[tuple[str, ...]] = []
        for _, group in groupby(mine, key=lambda record: (record["ranks"], record["nbytes"])):
            by_time = sorted(group, key=lambda record: record["simulated_seconds"])
            best, bound = by_time[0], by_time[0]["bound_seconds"]
            seconds = best["simulated_seconds"]
            rows.append(
                (
                    str(best["ranks"]), format_bytes(best["nbytes"]), best["algorithm"], format_seconds(seconds),
                    f"{seconds / bound:.2f}" if bound else "",
                    f"{by_time[-1]['simulated_seconds'] / seconds:.2f}" if seconds else "",
                )
            )  # fmt: skip
        show(f"{network}: the fastest", ("ranks", "size", "algorithm", "simulated", "× bound", "slowest ×"), rows)
