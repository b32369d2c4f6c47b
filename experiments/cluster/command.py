"""`ciranda cluster`: an emulated cluster of network namespaces on this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.errors import Failure
from experiments.units import format_rate, parse_rate, parse_seconds

if TYPE_CHECKING:
    from experiments.cluster.check import Finding

__all__ = ["app"]

app = typer.Typer(
    name="cluster",
    no_args_is_help=True,
    help="A cluster on this machine: hosts are network namespaces, joined by links of a given rate.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]


@app.command("up")
def up(
    hosts: Annotated[int, typer.Option(help="How many hosts.")] = 8,
    rate: Annotated[
        str | None,
        typer.Option(
            help="Of each link, each way, such as 100Mbit/s; by default what this machine carries.", show_default=False
        ),
    ] = None,
    delay: Annotated[str, typer.Option(help="That each message takes longer, such as 1ms; needs netem.")] = "0s",
    topology: Annotated[str, typer.Option(help="star, ring or two-racks.")] = "star",
    oversubscription: Annotated[float, typer.Option(help="Of the link between two racks.")] = 4.0,
    as_json: AsJson = False,
) -> None:
    """Bring the cluster up; it stays until `ciranda cluster down`.

    Without --rate the highest of 10, 25, 50, 100 ... Mbit/s is taken at which all hosts can stream at once and leave
    three quarters of the cores to the ranks; with it, a rate that this machine does not carry is warned about.

    Example: ciranda cluster up --hosts 8 --rate 100Mbit/s
    """
    from experiments.cluster import lifetime, rates
    from experiments.cluster.shape import Shape

    asked = None if rate is None else parse_rate(rate)
    shape = Shape(hosts, asked or rates.LADDER[0], parse_seconds(delay), topology, oversubscription)
    if lifetime.current() is None and asked is None:
        shape = rates.choose(shape)
    place = lifetime.up(shape)
    found = None if asked is None else rates.carried(place)
    if found and (fault := rates.warning(shape, found)):
        typer.echo(f"ciranda: {fault}", err=True)
    typer.echo(json.dumps(place.describe()) if as_json else f"up: {shape}")


@app.command("run", context_settings={"allow_interspersed_args": False})
def run(
    program: Annotated[
        list[str], typer.Argument(help="The program and its arguments, after `--`.", show_default=False)
    ],
    ranks: Annotated[
        int | None, typer.Option("-n", "--ranks", help="Start it on so many ranks, one a host, round robin.")
    ] = None,
    host: Annotated[int, typer.Option(help="Without -n: the host that it runs on.", min=0)] = 0,
    mpi: Annotated[str, typer.Option(help="openmpi, mpich or system.", envvar="CIRANDA_MPI")] = "openmpi",
    timeout: Annotated[str | None, typer.Option(help="With -n: end the job after this time; exit code 124.")] = None,
) -> None:
    """Run a program on the hosts: as an MPI job with -n, else one process on one host.

    Example: ciranda cluster run -n 8 -- python my_program.py
    """
    from experiments import launch, places

    place = places.parse("cluster")
    assert isinstance(place, places.Cluster)
    if ranks is None:
        name, *arguments = program
        argv = [*place.entering(host), sys.executable if name in ("python", "python3") else name, *arguments]
        os.execvpe(argv[0], argv, os.environ | {"TMPDIR": "/run/tmp"})  # noqa: S606 - the command is the user's
    limit = None if timeout is None else parse_seconds(timeout)
    started = place.command(ranks, program, mpi)
    for note in started.notes:
        typer.echo(f"ciranda: {note}", err=True)
    raise typer.Exit(launch.run(started, timeout=limit))


@app.command("status")
def status(as_json: AsJson = False) -> None:
    """Say whether a cluster is up, and which.

    Example: ciranda cluster status --json
    """
    from experiments import cluster

    place = cluster.current()
    if as_json:
        typer.echo(json.dumps({"up": place is not None} | (place.describe() if place else {})))
    else:
        typer.echo(f"up: {place.shape}" if place else "no cluster is up")


@app.command("check")
def check(as_json: AsJson = False) -> None:
    """Measure with plain sockets what the links carry: one way, both ways, and all hosts at once.

    Every stream must get 93 % of its nominal rate. Exit code 1: one did not.

    Example: ciranda cluster check
    """
    from experiments import places
    from experiments.cluster import check as checks

    place = places.parse("cluster")
    assert isinstance(place, places.Cluster)
    found = checks.check(place)
    if as_json:
        typer.echo(json.dumps([finding.to_json() for finding in found]))
    else:
        _show(found, str(place.shape))
    if failed := [finding.what for finding in found if not finding.holds]:
        raise Failure(
            f"the emulation is not honest ({'; '.join(failed)}): the cores do not carry it. Stop what else runs on "
            "this machine, or bring up a cluster of a lower rate or with fewer hosts"
        )


@app.command("down")
def down() -> None:
    """Take the cluster down, with all that runs on it.

    Example: ciranda cluster down
    """
    from experiments.cluster import lifetime

    typer.echo(lifetime.down())


def _show(found: Sequence[Finding], title: str) -> None:
    from experiments import tables

    columns = ["streams", "at once", "nominal", "lowest", "mean", "CPU", "repeats", "holds"]
    rows = [
        [
            finding.what, str(finding.streams), format_rate(finding.nominal, bits=True), f"{finding.lowest:.1%}",
            f"{finding.mean:.1%}", f"{finding.cpu:.0%}", str(finding.repeats), "yes" if finding.holds else "NO",
        ]
        for finding in found
    ]  # fmt: skip
    tables.show(title, columns, rows)
