"""`ciranda calibrate`: what a message, a byte and a reduced byte cost here, from point-to-point traffic alone.

The collectives that a prediction is judged by are never measured for it. This module is also the program that runs on
the ranks: ``mpirun -n 4 python -m experiments.calibrate`` calibrates within the launch that it finds itself in.
"""

from __future__ import annotations

import faulthandler
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments import on_ranks
from experiments.errors import UsageFault
from experiments.places import On
from experiments.units import parse_ranks, parse_seconds
from experiments.work_folders import work_folder

if TYPE_CHECKING:
    from collectives.profile import Profile
    from experiments.places import Place

__all__ = ["calibrate", "command", "usual_name"]

TIME_LIMIT = 12.0
_PATIENCE = 300.0  # seconds beyond several times its limit, after which a calibration is taken to hang

TimeLimit = Annotated[str, typer.Option(help="About how long the samples of one rank count may take.")]
Output = Annotated[
    Path | None, typer.Option(help="Write the profile here; by default to where others look.", show_default=False)
]
Plots = Annotated[
    Path | None,
    typer.Option(help="Draw the fit against the measurements as SVG files into this folder.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the profiles as JSON.")]


def command(
    ranks: Annotated[
        list[str] | None, typer.Option("-n", "--ranks", help="Rank counts, such as 2 or 2,4.", show_default="2")
    ] = None,
    mpi: Annotated[str, typer.Option(help="openmpi, mpich or system.", envvar="CIRANDA_MPI")] = "openmpi",
    on: On = "local",
    time_limit: TimeLimit = "12s",
    name: Annotated[
        str | None,
        typer.Option(help="Save it by this name; by default 4, or cluster-4 on a cluster.", show_default=False),
    ] = None,
    output: Output = None,
    plots: Plots = None,
    as_json: AsJson = False,
) -> None:
    """Measure what messages and reductions cost, and save it as the profile for predictions.

    Messages of 8 B to 4 MiB (less where the network is slow): one way, both ways and in trains, with 2, 4 ... and all
    ranks at work, and between every pair; CPU time of messages; additions by size and dtype. No collective is timed.

    Example: ciranda calibrate -n 8 --on cluster --plots plots
    """
    from experiments import places

    counts = parse_ranks(",".join(ranks or ["2"]))
    for option, value in (("--output", output), ("--name", name)):
        if value is not None and len(counts) > 1:
            raise UsageFault(
                f"{option} names one file, and -n {','.join(map(str, counts))} makes {len(counts)} profiles"
            )
    if output is not None and name is not None:
        raise UsageFault("--name and --output both say where the profile goes: give one of them")
    if name is not None and (not name or Path(name).name != name or Path(name).suffix):
        raise UsageFault(f"--name {name!r}: a name has no folder and no suffix; --output takes a path")
    limit, place = parse_seconds(time_limit), places.parse(on)
    profiles = [calibrate(count, mpi=mpi, time_limit=limit, place=place) for count in counts]
    _keep(profiles, output or name, plots, as_json=as_json)


def calibrate(
    ranks: int, *, mpi: str = "openmpi", time_limit: float = TIME_LIMIT, place: Place | None = None
) -> Profile:
    """Measure with ``ranks`` ranks and return the profile, which is saved nowhere yet.

    ``place``: where the ranks run, by default this machine. Takes about ``time_limit`` seconds and a launch. Raises
    UsageFault for fewer than 2 ranks, and Failure when the launch dies.
    """
    from experiments.launches import run_ranks
    from experiments.places import LOCAL
    from experiments.profiles import fitted

    _check(ranks)
    place = place or LOCAL
    with work_folder() as work:
        file = work / "samples.json"
        program = ["python", "-m", "experiments.calibrate", f"--time-limit={time_limit}", f"--samples-file={file}"]
        run_ranks(ranks, program, mpi, _longest(time_limit), lambda: "calibrating", place)
        measured = json.loads(file.read_text(encoding="utf-8"))
        return fitted(measured, {"name": place.name, **place.describe()})


def _longest(time_limit: float) -> float:
    return _PATIENCE + 4 * time_limit


def _check(ranks: int) -> None:
    if ranks < 2:
        raise UsageFault("a message needs two ranks; calibrate with -n 2 or more")


def _keep(profiles: Sequence[Profile], where: Path | str | None, plots: Path | None, *, as_json: bool) -> None:
    """Save, draw, and print what was found."""
    from experiments import profile_tables, residuals

    for profile in profiles:
        path = profile.save(where or usual_name(profile))
        drawn = [] if plots is None else residuals.draw(profile, plots, prefix=f"{usual_name(profile)}-")
        if not as_json:
            profile_tables.show(profile)
            for file in (path, *drawn):
                typer.echo(f"saved: {file}")
    if as_json:
        documents = [profile.to_json() for profile in profiles]
        print(json.dumps(documents[0] if len(documents) == 1 else documents, indent=1, ensure_ascii=False))


def usual_name(profile: Profile) -> str:
    """The name by which the profile is saved unless told otherwise: ``4`` on one machine, else ``cluster-4``."""
    place = profile.environment.get("place", {}).get("name", "local")
    return str(profile.ranks) if place == "local" else f"{place}-{profile.ranks}"


# --- on the ranks ---------------------------------------------------------------------------------------------------


def _calibrate_here(
    time_limit: TimeLimit = "12s",
    output: Output = None,
    plots: Plots = None,
    as_json: AsJson = False,
    samples_file: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Calibrate within this launch of mpirun; rank 0 prints and saves the profile.

    Example: mpirun -n 4 python -m experiments.calibrate --output profile-4.json
    """
    from mpi4py import MPI

    from experiments.job import Job
    from experiments.probing import Probe

    _check(MPI.COMM_WORLD.size)
    limit = parse_seconds(time_limit)
    faulthandler.dump_traceback_later(_longest(limit), exit=True)
    job = Job.survey(MPI.COMM_WORLD)
    samples = Probe(job, limit).all()
    if job.comm.rank != 0:
        return
    measured = {"samples": samples, "job": job.describe()}
    if samples_file is not None:
        samples_file.write_text(json.dumps(measured), encoding="utf-8")
    else:
        from experiments.profiles import fitted

        _keep([fitted(measured)], output, plots, as_json=as_json)


if __name__ == "__main__":
    on_ranks.run(_calibrate_here)
