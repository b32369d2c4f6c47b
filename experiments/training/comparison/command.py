"""`ciranda compare-training`: the parameter server against AllReduce, measured beside simulated beside theory."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.chosen_profile import chosen_profile
from experiments.errors import UsageFault
from experiments.units import parse_ranks, parse_seconds
from experiments.work_folders import results_folder

if TYPE_CHECKING:
    from experiments.training.comparison.run import Request
    from experiments.training.comparison.workload import Workload

__all__ = ["command"]

_RANKS, _ALGORITHMS, _CONSISTENCIES = "2,4,8", "ring,recursive_doubling,circulant", "'bsp ssp:3 async'"
_CALIBRATION = 15.0  # seconds


def command(
    ranks: Annotated[str | None, typer.Option("-n", "--ranks", help="Hosts.", show_default=_RANKS)] = None,
    algorithms: Annotated[
        str | None, typer.Option(help="Of the allreduce; with commas between.", show_default=_ALGORITHMS)
    ] = None,
    consistencies: Annotated[
        str | None, typer.Option(help="Of the servers; with spaces between.", show_default=_CONSISTENCIES)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Such as mlp:hidden=512x256.", show_default="mlp")] = None,
    data: Annotated[str | None, typer.Option(help="Such as fashion-mnist.", show_default="digits")] = None,
    compute: Annotated[str, typer.Option(help="How long a worker computes in a step.")] = "20ms",
    batch: Annotated[int, typer.Option(help="Samples of a worker in a step.", min=1)] = 32,
    target: Annotated[float, typer.Option(help="Accuracy to which time is taken.", min=0.0, max=1.0)] = 0.8,
    on: Annotated[
        str, typer.Option(help="auto (an emulated cluster, else local), local, cluster, hostfile:FILE or slurm.")
    ] = "auto",
    time_limit: Annotated[str, typer.Option(help="For all training together; steps are rationed to fit.")] = "2min",
    steps: Annotated[int, typer.Option(help="Most steps of each way to train.", min=8)] = 200,
    profile: Annotated[
        str | None,
        typer.Option(help="Predict from this profile, a name or a file, instead of calibrating.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Keep records and every step in this folder.", show_default=False)
    ] = None,
    mpi: Annotated[str, typer.Option(help="openmpi, mpich or system.", envvar="CIRANDA_MPI")] = "openmpi",
    seed: Annotated[int | None, typer.Option(help="Seed of the order.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the document, for machines.")] = False,
) -> None:
    """Train one model by allreduce and by parameter servers on the same hosts, each measured, simulated and in theory.

    Allreduce by several algorithms; 1, 2, p/2 servers on hosts of their own and one beside every worker, in lockstep
    and not. Computing takes a stated time, as if an accelerator did it, so that hosts may share cores.

    Example: ciranda compare-training -n 2,4 --time-limit 1min
    """
    from experiments import calibrate
    from experiments.benchmark import shown_progress
    from experiments.scaling import grounds
    from experiments.training.comparison import tables
    from experiments.training.comparison.run import compare

    request = _request(ranks, algorithms, consistencies, time_limit, steps, mpi, seed)
    request = replace(request, workload=_workload(request.workload, model, data, compute, batch, target))
    known = chosen_profile(profile, max(request.ranks))
    with grounds.chosen(on, request.ranks) as ground, results_folder(output) as folder, shown_progress() as notify:
        request = replace(request, ranks=grounds.fitting(request.ranks, ground.place))
        _tell(ground.notes)
        if known is None:
            known = calibrate.calibrate(max(request.ranks), mpi=mpi, time_limit=_CALIBRATION, place=ground.place)
        folder.mkdir(parents=True, exist_ok=True)
        found = compare(request, folder, known, place=ground.place, reason=ground.reason, notify=notify)
    if as_json:
        json.dump(found.to_json(), sys.stdout, indent=1, allow_nan=False)
        print()
    else:
        tables.print_all(found)


def _request(
    ranks: str | None, algorithms: str | None, consistencies: str | None, time_limit: str, steps: int, mpi: str,
    seed: int | None,
) -> Request:  # fmt: skip
    from collectives import catalogue
    from collectives.parameter_server import consistency
    from experiments.training.comparison.run import Request

    usual = Request(time_limit=parse_seconds(time_limit), most=steps, mpi=mpi, seed=seed)
    counts = tuple(sorted(set(parse_ranks(ranks)))) if ranks else usual.ranks
    if min(counts) < 2:
        raise UsageFault("one rank has nobody to talk to: -n takes rank counts of 2 and more, such as -n 2,4,8")
    names = tuple(algorithms.split(",")) if algorithms else usual.algorithms
    rules = tuple(consistencies.split()) if consistencies else usual.consistencies
    try:
        for name in names:
            catalogue.parse(name)
        for rule in rules:
            consistency.get(rule)
    except (KeyError, ValueError) as fault:
        raise UsageFault(str(fault.args[0])) from None
    return replace(usual, ranks=counts, algorithms=names, consistencies=rules)


def _workload(
    usual: Workload, model: str | None, data: str | None, compute: str, batch: int, target: float
) -> Workload:
    seconds = parse_seconds(compute)
    if seconds <= 0:
        raise UsageFault(f"--compute {compute}: a step computes for some time; write more than 0, such as 20ms")
    return replace(
        usual, model=model or usual.model, data=data or usual.data, compute=seconds, batch=batch, target=target
    )


def _tell(notes: Sequence[str]) -> None:
    for note in notes:
        print(f"ciranda: {note}", file=sys.stderr)
