"""The program that trains on the ranks: ``mpirun -n 4 python -m experiments.training.ranks --strategy allreduce``."""

from __future__ import annotations

import faulthandler
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments import on_ranks
from experiments.errors import UsageFault
from experiments.machine import cores
from experiments.option_groups import grouped
from experiments.training.options import Options, Outputs
from experiments.units import parse_seconds

if TYPE_CHECKING:
    from collectives import Communicator
    from experiments.training.loop import Course
    from experiments.training.recorder import Sink
    from experiments.training.strategy import Strategy, Task

__all__ = ["PROGRESS", "one_thread", "task"]

PROGRESS = "progress.jsonl"

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@grouped
def _train_here(
    options: Options, outputs: Outputs, *,
    work: Annotated[Path | None, typer.Option(help="Tell in this folder how far rank 0 is.")] = None,
    time_limit: Annotated[str, typer.Option(help="How long the whole run may take.")] = "300s",
) -> None:  # fmt: skip
    """Train on the ranks of this launch."""
    from mpi4py import MPI

    faulthandler.dump_traceback_later(parse_seconds(time_limit), exit=True)
    one_thread(MPI.COMM_WORLD.size, always=options.deterministic)

    from collectives import Communicator

    given = task(options, Communicator(MPI.COMM_WORLD))
    strategy = options.plan().start(given)
    if strategy.workers is not None:
        _train(options, outputs, work, given, strategy)
    strategy.close()


def task(options: Options, comm: Communicator) -> Task:
    """What ``options`` say, for the ranks of ``comm``. Collective: rank 0 reads the data for all."""
    from experiments.training import datasets, models
    from experiments.training.strategy import Task

    data = datasets.shared(options.dataset, comm)
    batches = options.batches(data)
    return Task(
        comm, models.get(options.model, data, options.backend), data, batches, options.method(), options.seed,
        options.deterministic, options.balance, options.pace(batches, comm.rank, comm.size),
        parse_seconds(options.limit),
    )  # fmt: skip


def _train(options: Options, outputs: Outputs, work: Path | None, given: Task, strategy: Strategy) -> None:
    from experiments.training.checkpoints import Keeper
    from experiments.training.loop import train
    from experiments.training.recorder import Recorder, Ticker

    workers = strategy.workers
    assert workers is not None
    keeper = None if outputs.checkpoint is None else Keeper(workers, outputs.checkpoint, options.identity())
    course = _course(options, outputs, given)
    if outputs.resume:
        if keeper is None:
            raise UsageFault("--resume goes on from a checkpoint: say where with --checkpoint FOLDER")
        if found := keeper.newest():
            strategy.restore(found[1])
            course = replace(course, done=found[0])
    sinks = _sinks(outputs, course.done) if workers.rank == 0 else []
    ticker = Ticker(work / PROGRESS, course.steps) if work is not None and workers.rank == 0 else None
    recorder = Recorder(workers, lockstep=strategy.lockstep, sinks=sinks)
    try:
        for sink in sinks:
            sink.write(_facts(options, given, strategy, course))
        train(strategy, given, course, recorder, keeper, ticker)
    finally:
        for sink in sinks:
            sink.close()


def _course(options: Options, outputs: Outputs, given: Task) -> Course:
    from experiments.training.loop import Course

    rates, batches = options.rates(given.batches), given.batches
    every = options.evaluate or batches.an_epoch
    return Course(options.length(batches), rates.at, every, outputs.every if outputs.checkpoint else 0)


def _sinks(outputs: Outputs, done: int) -> list[Sink]:
    from experiments.training.recorder import JsonLines
    from experiments.training.tensorboard import TensorBoard

    found: list[Sink] = [] if outputs.metrics is None else [JsonLines(outputs.metrics, done)]
    return found if outputs.tensorboard is None else [*found, TensorBoard(outputs.tensorboard)]


def _facts(options: Options, given: Task, strategy: Strategy, course: Course) -> dict[str, Any]:
    """What the run is, for the first line of the metrics."""
    from mpi4py import MPI

    from experiments.job import library_name

    assert strategy.workers is not None
    return {
        "kind": "run", "step": course.done, "steps": course.steps, **options.identity(),
        "compute": options.compute, "slow": options.slow or [], "balance": options.balance,
        "ranks": given.comm.size, "workers": strategy.workers.size, "lockstep": strategy.lockstep,
        "grains": given.batches.grains, "parameters": sum(map(math.prod, given.model.shapes().values())),
        "library": library_name(MPI.Get_library_version()),
        "threads": {name: os.environ.get(name) for name in _THREADS},
    }  # fmt: skip


def one_thread(ranks: int, *, always: bool) -> None:
    """One thread for the linear algebra of each rank where ranks need all cores, before NumPy reads these settings.

    Results of several threads may differ in their last bits from those of one.
    """
    if always or ranks >= cores():
        for name in _THREADS:
            if always:
                os.environ[name] = "1"
            os.environ.setdefault(name, "1")


if __name__ == "__main__":
    on_ranks.run(_train_here)
