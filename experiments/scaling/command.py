"""`ciranda scaling`: allreduce over ranks and sizes, measured beside simulated beside theory, and why they differ."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from experiments.chosen_profile import chosen_profile
from experiments.errors import Failure, UsageFault
from experiments.units import parse_ranks, parse_seconds, parse_sizes
from experiments.work_folders import results_folder

if TYPE_CHECKING:
    from experiments.scaling.run import Request

__all__ = ["STDOUT", "Command", "command"]

STDOUT = "-"
"""The file name that stands for standard output."""

_DEFAULT_RANKS, _DEFAULT_SIZES = "2,3,4,5,6,8", "8B to 16MiB"
_TIME_LIMIT, _MORE_TIME = "10min", "40min"
_JSON = "--json"


class Command(TyperCommand):
    """A command whose ``--json`` may stand without a file, and then means standard output."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the file name in where it is left out."""
        filled: list[str] = []
        for word, following in zip(args, [*args[1:], "--"], strict=True):
            alone = word == _JSON and following.startswith("-") and following != STDOUT
            filled += [word, STDOUT] if alone else [word]
        return super().parse_args(ctx, filled)


def command(
    algorithms: Annotated[
        list[str] | None,
        typer.Argument(
            help="Such as ring or parameter_server:servers=p/2; by default all for allreduce.", show_default=False
        ),
    ] = None,
    ranks: Annotated[
        list[str] | None, typer.Option("-n", "--ranks", help="Rank counts.", show_default=_DEFAULT_RANKS)
    ] = None,
    sizes: Annotated[
        str | None, typer.Option(help="Bytes of the vector: a list or a range.", show_default=_DEFAULT_SIZES)
    ] = None,
    on: Annotated[
        str,
        typer.Option(
            help="auto (the emulated cluster that is up, else one of its own, else local), local, cluster, "
            "hostfile:FILE or slurm."
        ),
    ] = "auto",
    full: Annotated[
        bool, typer.Option("--full", help="16 ranks too, sizes by doubling, and four times as long.")
    ] = False,
    time_limit: Annotated[
        str | None,
        typer.Option(help="How long all may take; samples are rationed to fit.", show_default=_TIME_LIMIT),
    ] = None,
    launches: Annotated[int, typer.Option(help="How many times mpirun is started.", min=1)] = 3,
    samples: Annotated[int, typer.Option(help="Most samples of a cell in one launch.", min=1)] = 15,
    compute: Annotated[str, typer.Option(help="How long a training step computes, for its efficiency.")] = "1s",
    profile: Annotated[
        str | None,
        typer.Option(help="Predict from this profile, a name or a file, instead of calibrating.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Keep raw samples and results in this folder.", show_default=False)
    ] = None,
    mpi: Annotated[str, typer.Option(help="openmpi, mpich or system.", envvar="CIRANDA_MPI")] = "openmpi",
    seed: Annotated[int | None, typer.Option(help="Seed of the order of the cells.", show_default=False)] = None,
    as_json: Annotated[
        str | None,
        typer.Option(_JSON, metavar="[FILE]", help="Write the document there; without FILE to standard output."),
    ] = None,
) -> None:
    """Measure how allreduce scales, and say for every time how far prediction is off and which term explains it.

    Calibrates by point-to-point traffic first, then measures every algorithm and the MPI library's own on every number
    of ranks, and checks every result. Exit code 1: a result was wrong.

    Example: ciranda scaling --json out.json
    """
    from experiments.benchmark import shown_progress
    from experiments.scaling import grounds, tables
    from experiments.scaling.run import run

    limit = time_limit or (_MORE_TIME if full else _TIME_LIMIT)
    request = _request(algorithms, ranks, sizes, full, limit, launches, samples, compute, mpi, seed)
    known = chosen_profile(profile, max(request.ranks))
    _check_writable(as_json)
    with grounds.chosen(on, request.ranks) as ground, results_folder(output) as results, shown_progress() as notify:
        kept = grounds.fitting(request.ranks, ground.place)
        left_out = [count for count in request.ranks if count not in kept]
        _tell([*ground.notes, *(f"the cluster has too few hosts for {count} ranks: left out" for count in left_out)])
        found = run(
            replace(request, ranks=kept), results, ground.place, reason=ground.reason, profile=known, notify=notify
        )
    if as_json != STDOUT:
        tables.show(found)
    if as_json is not None:
        _write(found.document(), as_json)
    if found.stories:
        more = f" (and {len(found.stories) - 1} more)" if len(found.stories) > 1 else ""
        raise Failure(f"wrong result: {found.stories[0]}{more}")


def _request(
    algorithms: Sequence[str] | None, ranks: Sequence[str] | None, sizes: str | None, full: bool, time_limit: str,
    launches: int, samples: int, compute: str, mpi: str, seed: int | None,
) -> Request:  # fmt: skip
    from experiments.grid import Grid
    from experiments.scaling.cells import MORE_RANKS, MORE_SIZES, RANKS, SIZES
    from experiments.scaling.run import Request

    counts = tuple(parse_ranks(",".join(ranks))) if ranks else MORE_RANKS if full else RANKS
    if min(counts) < 2:
        raise UsageFault("one rank has nobody to talk to: -n takes rank counts of 2 and more, such as -n 2,4,8")
    lengths = tuple(parse_sizes(sizes)) if sizes else MORE_SIZES if full else SIZES
    Grid((), lengths)  # refuses a size that is no whole number of elements
    computing = parse_seconds(compute)
    if computing <= 0:
        raise UsageFault(f"--compute {compute}: a training step computes for some time; write more than 0, such as 1s")
    return Request(
        tuple(algorithms or ()), counts, lengths, launches=launches, most=samples,
        time_limit=parse_seconds(time_limit), compute=computing, mpi=mpi,
        seed=secrets.randbits(32) if seed is None else seed,
    )  # fmt: skip


def _check_writable(file: str | None) -> None:
    """Before an experiment of minutes, not after it."""
    if file in (None, STDOUT):
        return
    folder = Path(file or "").absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or Path(file or "").is_dir():
        raise UsageFault(f"--json {file}: no file can be written there")


def _write(content: Mapping[str, Any], file: str) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if file == STDOUT:
        sys.stdout.write(text)
        return
    unfinished = Path(f"{file}.{os.getpid()}.part")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _tell(notes: Sequence[str]) -> None:
    for note in notes:
        print(f"ciranda: {note}", file=sys.stderr)
