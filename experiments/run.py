"""`ciranda run`: a program on several ranks."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments import launch, places
from experiments.units import parse_seconds

__all__ = ["command"]


def command(
    program: Annotated[
        list[str], typer.Argument(help="The program and its arguments, after `--`.", show_default=False)
    ],
    ranks: Annotated[int, typer.Option("-n", "--ranks", help="How many ranks to start.", show_default=False)],
    mpi: Annotated[str, typer.Option(help="openmpi, mpich or system.", envvar="CIRANDA_MPI")] = "openmpi",
    on: places.On = "local",
    timeout: Annotated[
        str | None, typer.Option(help="End the job after this time, such as 90s: exit code 124.")
    ] = None,
    survive: Annotated[bool, typer.Option("--survive", help="Go on when ranks die (Open MPI's ULFM).")] = False,
    show: Annotated[bool, typer.Option("--show", help="First print the command and its settings.")] = False,
) -> None:
    """Start a program on several ranks, with the settings that this machine needs.

    Signals and the exit code pass through.

    Example: ciranda run -n 4 -- python my_program.py --steps 10
    """
    limit = None if timeout is None else parse_seconds(timeout)
    started = places.parse(on).command(ranks, program, mpi)
    if survive:
        started = launch.surviving(started)
    for note in started.notes:
        typer.echo(f"ciranda: {note}", err=True)
    if show:
        typer.echo(str(started), err=True)
    raise typer.Exit(launch.run(started, timeout=limit))
