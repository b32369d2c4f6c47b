"""`ciranda prove`: every algorithm of the catalogue, for every size it supports."""

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Annotated

import typer

from collectives import catalogue, proof
from collectives.schedule import ScheduleError
from experiments.arguments import algorithm
from experiments.errors import UsageFault
from experiments.machine import cores
from experiments.units import parse_ranks

__all__ = ["Case", "Verdict", "cases", "command", "judge"]


@dataclass(frozen=True, slots=True)
class Case:
    """One algorithm, spelled as on the command line, and one number of ranks."""

    algorithm: str
    ranks: int
    blocking: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of a case. ``bytes_per_rank`` and ``reductions`` are shares of the vector's bytes.

    ``error`` is empty where the schedule was proven, and the other findings are None where it was not.
    """

    algorithm: str
    collective: str
    ranks: int
    proven: bool
    error: str = ""
    rounds: int | None = None
    messages: int | None = None
    bytes_per_rank: float | None = None
    reductions: float | None = None
    in_rank_order: bool | None = None


def command(
    algorithms: Annotated[
        list[str] | None,
        typer.Argument(help="Such as ring or chain:segments=16; all of the catalogue if none.", show_default=False),
    ] = None,
    max_size: Annotated[int, typer.Option(min=1, help="Prove every size from 1 to this.")] = 64,
    size: Annotated[
        str | None, typer.Option(help="Prove these sizes instead: 7, 2-8 or 2:64 (doubling).", show_default=False)
    ] = None,
    blocking: Annotated[
        bool, typer.Option("--blocking", help="Also prove that blocking sends would not wait in a circle.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Processes to use; 0 for one a core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a record for each case, for machines.")] = False,
) -> None:
    """Prove that algorithms are right for every size, and derive rounds, bytes and whether rank order is kept.

    Exit code 1 where one is wrong, with rank, round, chunk and what is missing or doubled.

    Example: ciranda prove --max-size 256 ring circulant
    """
    chosen = [algorithm(text) for text in algorithms or catalogue.names()]
    sizes = parse_ranks(size) if size else range(1, max_size + 1)
    todo = cases(chosen, sizes, blocking=blocking)
    if not todo:
        raise UsageFault(f"{', '.join(entry.label for entry in chosen)}: none works for the sizes asked for")
    start = time.perf_counter()
    verdicts = list(_with_progress(_judge_all(todo, jobs or cores()), len(todo)))
    verdicts.sort(key=lambda verdict: (verdict.collective, verdict.algorithm, verdict.ranks))
    if as_json:
        _print_json(verdicts)
    else:
        _print_table(verdicts, time.perf_counter() - start)
    if not all(verdict.proven for verdict in verdicts):
        raise typer.Exit(1)


def cases(algorithms: Iterable[catalogue.Algorithm], sizes: Sequence[int], *, blocking: bool = False) -> list[Case]:
    """All cases for which the algorithms work, the largest first so that the processes end together.

    An algorithm with a root, if it is at its default, is taken with the first and the last rank as root.
    """
    found = [
        Case(entry.label, ranks, blocking)
        for ranks in sorted(sizes, reverse=True)
        for given in algorithms
        for entry in _roots(given, ranks)
        if entry.supports(ranks)
    ]
    return list(dict.fromkeys(found))


def judge(case: Case) -> Verdict:
    """Prove one case; a schedule that is wrong gives a verdict with its error."""
    entry = catalogue.parse(case.algorithm)
    try:
        found = proof.prove(entry, case.ranks, blocking=case.blocking)
    except ScheduleError as fault:
        return Verdict(case.algorithm, entry.collective, case.ranks, proven=False, error=str(fault))
    return Verdict(
        case.algorithm,
        entry.collective,
        case.ranks,
        proven=True,
        rounds=found.rounds,
        messages=found.messages,
        bytes_per_rank=float(found.bytes_per_rank),
        reductions=float(found.reductions),
        in_rank_order=found.in_rank_order,
    )


def _roots(entry: catalogue.Algorithm, ranks: int) -> list[catalogue.Algorithm]:
    if entry.parameters.get("root") != 0:
        return [entry]
    return [catalogue.get(entry.name, **{**entry.parameters, "root": root}) for root in sorted({0, ranks - 1})]


def _judge_all(todo: Sequence[Case], jobs: int) -> Iterator[Verdict]:
    if jobs == 1 or len(todo) < 2:
        yield from map(judge, todo)
        return
    # spawn: a fork would copy the thread that draws the progress bar, locked as it happens to be.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(todo)), context, initializer=_leave_interrupts) as pool:
        futures = [pool.submit(judge, case) for case in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _leave_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends the pool


def _with_progress(verdicts: Iterator[Verdict], total: int) -> Iterator[Verdict]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(verdicts, "Proving", total, console=console, transient=True, disable=not console.is_terminal)


def _print_json(verdicts: Sequence[Verdict]) -> None:
    from experiments.environment import collect

    content = {"environment": collect(), "records": [asdict(verdict) for verdict in verdicts]}
    json.dump(content, sys.stdout, indent=1, allow_nan=False)
    print()


def _print_table(verdicts: Sequence[Verdict], seconds: float) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("algorithm", no_wrap=True)
    table.add_column("sizes", min_width=5)
    for header in ("rounds", "bytes", "reduced"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("rank order", no_wrap=True)
    for collective, of_collective in groupby(verdicts, key=lambda verdict: verdict.collective):
        table.add_row(f"[bold]{collective}[/]")
        for _, group in groupby(of_collective, key=_name):
            table.add_row(*_row(list(group)))
        table.add_section()
    console.print(table)
    console.print(
        "rounds, bytes sent and bytes reduced are those of the busiest rank at the largest size; n is the vector"
    )
    for verdict in verdicts:
        if not verdict.proven:
            console.print(f"{verdict.algorithm}, {verdict.ranks} ranks: {verdict.error}", markup=False, soft_wrap=True)
    wrong = sum(not verdict.proven for verdict in verdicts)
    outcome = f"{wrong} with a fault" if wrong else "all proven"
    console.print(f"{len(verdicts)} cases, {outcome}, in {seconds:.1f} s", markup=False)


def _name(verdict: Verdict) -> str:
    """The label without the root, which a table shows in one line for all roots."""
    name, _, settings = verdict.algorithm.partition(":")
    kept = [setting for setting in settings.split(",") if setting and not setting.startswith("root=")]
    return f"{name}:{','.join(kept)}" if kept else name


def _row(verdicts: Sequence[Verdict]) -> list[str]:
    largest = max(verdicts, key=lambda verdict: verdict.ranks)
    if not all(verdict.proven for verdict in verdicts):
        return [f"  {_name(largest)}", _spans(verdicts), "FAULT"]
    findings = [str(largest.rounds), _share(largest.bytes_per_rank), _share(largest.reductions)]
    return [f"  {_name(largest)}", _spans(verdicts), *findings, _order(verdicts)]


def _order(verdicts: Sequence[Verdict]) -> str:
    lost = [verdict for verdict in verdicts if not verdict.in_rank_order]
    if not lost:
        return "kept"
    return "kept at root 0" if all("root=" in verdict.algorithm for verdict in lost) else "must commute"


def _share(value: float | None) -> str:
    return "" if not value else f"{value:.3g} n"


def _spans(verdicts: Iterable[Verdict]) -> str:
    """``1-8, 16`` for the sizes of the verdicts."""
    sizes = sorted({verdict.ranks for verdict in verdicts})
    runs = [[size for _, size in run] for _, run in groupby(enumerate(sizes), key=lambda pair: pair[1] - pair[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
