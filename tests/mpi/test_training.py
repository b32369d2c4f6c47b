"""Data-parallel training on real ranks: what one process trains, within rounding or to the last bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from collectives import Communicator
from experiments.errors import UsageFault
from experiments.training import exact_sum, models, strategies
from experiments.training.batches import Batches
from experiments.training.checkpoints import Keeper
from experiments.training.dataset import Dataset
from experiments.training.loop import Course, train
from experiments.training.recorder import Recorder
from experiments.training.strategy import Task
from kernels import optimise

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.rank, WORLD.size
STEPS = 3

pytestmark = pytest.mark.skipif(SIZE > 5, reason="loading compiled kernels takes each rank its time")

ONE_UNIT = 2.0**-22
"""About one rounding of a weight of size one."""


def dataset() -> Dataset:
    chance = np.random.default_rng(0)
    inputs = chance.uniform(0, 1, (180, 3, 3)).astype(np.float32)
    targets = (inputs.sum(axis=(1, 2)) * 1.2 % 4).astype(np.int64)
    return Dataset("invented", inputs[:120], targets[:120], inputs[120:], targets[120:], 4, "this test")


def task(comm: MPI.Intracomm, method: str = "momentum", **changed: Any) -> Task:
    data = dataset()
    optimiser = optimise.get(method, learning_rate=0.1)
    made = Task(
        Communicator(comm), models.get("mlp:hidden=10x7", data), data, Batches(120, 60, 60), optimiser, limit=20
    )
    return replace(made, **changed)


def trained(strategy: str, given: Task, steps: int = STEPS) -> tuple[np.ndarray, float]:
    """The weights at the end, and the losses of all steps on all ranks."""
    running = strategies.get(strategy).start(given)
    losses = [running.step(number, 0.1).scores.loss for number in range(1, steps + 1)]
    weights = running.weights.vector.copy()
    running.close()
    total = np.array(losses)
    given.comm.Allreduce(MPI.IN_PLACE, total)
    return weights, float(total.sum())


@pytest.mark.parametrize("strategy", [
    "allreduce:ring", "allreduce:recursive_doubling", "allreduce:circulant", "fsdp:1", "fsdp:2",
])  # fmt: skip
def test_deterministic_training_ends_with_the_bits_and_losses_of_one_process(strategy: str) -> None:
    weights, loss = trained(strategy, task(WORLD, deterministic=True, balance=2 * (strategy == "allreduce:ring")))
    alone, its_loss = trained("allreduce", task(MPI.COMM_SELF, deterministic=True))
    assert weights.tobytes() == alone.tobytes()
    assert loss == its_loss


@pytest.mark.parametrize("strategy", [
    "allreduce", "allreduce:bucket=100,algorithm=ring", "allreduce:overlap=false,accumulate=3", "fsdp:1", "fsdp:2",
    "fsdp:3", "local-sgd:1",
])  # fmt: skip
def test_training_together_is_training_alone_within_rounding(strategy: str) -> None:
    if strategy == "local-sgd:1" and 60 % SIZE:
        return  # shares that are not equal make means of means of another weight
    weights, loss = trained(strategy, task(WORLD, "sgd"))
    alone, its_loss = trained("allreduce", task(MPI.COMM_SELF, "sgd"))
    assert np.abs(weights - alone).max() < 8 * ONE_UNIT
    assert loss == pytest.approx(its_loss, rel=1e-5)


def test_what_compression_loses_comes_later() -> None:
    weights, _ = trained("allreduce:compress=int8,bucket=200", task(WORLD), steps=20)
    exact, _ = trained("allreduce", task(WORLD), steps=20)
    start = task(WORLD).model.initial(0).vector
    assert np.linalg.norm(weights - exact) < 0.05 * np.linalg.norm(exact - start)


def test_models_are_averaged_every_so_many_steps() -> None:
    running = strategies.get("local-sgd:3").start(task(WORLD))
    spread = []
    for number in range(1, 7):
        running.step(number, 0.1)
        own = running.snapshot().own["weights"]
        spread.append(float(np.abs(own - running.weights.vector).max()))
    running.close()
    assert [each > 8 * ONE_UNIT for each in spread] == [SIZE > 1, SIZE > 1, False] * 2


@pytest.mark.parametrize(
    "strategy", ["allreduce:compress=int8:rounding=stochastic,bucket=200", "fsdp:3", "local-sgd:2"]
)
def test_a_run_that_goes_on_is_the_run_that_never_ended(strategy: str, tmp_path: Path) -> None:
    whole, _ = _run(strategy, tmp_path / "whole", 0, 6)
    _run(strategy, tmp_path / "parts", 0, 3)
    resumed, done = _run(strategy, tmp_path / "parts", 3, 6)
    assert done == 3
    assert resumed.tobytes() == whole.tobytes()


def _run(strategy: str, folder: Path, expected: int, steps: int) -> tuple[np.ndarray, int]:
    given = task(WORLD)
    running = strategies.get(strategy).start(given)
    keeper = Keeper(given.comm, folder, {"strategy": strategy})
    found = keeper.newest()
    assert (found is not None) == (expected > 0)
    if found:
        running.restore(found[1])
    recorder = Recorder(given.comm, lockstep=True, sinks=[])
    course = Course(steps, lambda _: 0.1, evaluate=2, keep=3, done=found[0] if found else 0)
    train(running, given, course, recorder, keeper)
    weights = running.weights.vector.copy()
    running.close()
    return weights, course.done


def test_a_run_goes_on_with_what_it_began_with(tmp_path: Path) -> None:
    comm = Communicator(WORLD)
    running = strategies.get("allreduce").start(task(WORLD))
    Keeper(comm, tmp_path, {"seed": 1}).write(4, running.snapshot())
    running.close()
    with pytest.raises(UsageFault, match="has seed 1; give the same"):
        Keeper(comm, tmp_path, {"seed": 2}).newest()


def test_all_ranks_hear_which_rank_has_no_numbers() -> None:
    vector = np.full(5, np.nan if RANK == SIZE - 1 else 1.0, np.float32)
    with pytest.raises(FloatingPointError, match=f"rank {SIZE - 1} has inf or NaN"):
        exact_sum.allreduce(Communicator(WORLD), [vector], SIZE, vector)


def test_a_rank_without_samples_takes_part() -> None:
    few = Batches(120, 60, 2)
    alone, _ = trained("allreduce", task(MPI.COMM_SELF, batches=few))
    for strategy in ("allreduce", "fsdp:3"):
        weights, _ = trained(strategy, task(WORLD, batches=few))
        assert np.abs(weights - alone).max() < 8 * ONE_UNIT
    if SIZE > 2:
        with pytest.raises(UsageFault, match=f"2 grains are too few for {SIZE} ranks"):
            strategies.get("local-sgd").start(task(WORLD, batches=few))
