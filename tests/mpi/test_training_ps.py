"""Training with a parameter server on real ranks: in lockstep what one process trains, without it something as good."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from collectives import Communicator
from experiments.errors import UsageFault
from experiments.training import models, strategies
from experiments.training.batches import Batches
from experiments.training.dataset import Dataset
from experiments.training.pace import Pace
from experiments.training.strategy import Step, Task
from kernels import optimise

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.rank, WORLD.size
STEPS = 4

pytestmark = pytest.mark.skipif(SIZE > 6, reason="loading compiled kernels takes each rank its time")

ONE_UNIT = 2.0**-22
"""About one rounding of a weight of size one."""


def dataset() -> Dataset:
    chance = np.random.default_rng(0)
    inputs = chance.uniform(0, 1, (180, 3, 3)).astype(np.float32)
    targets = (inputs[:, 0, 0] * 2 + inputs[:, 2, 2] * 2).astype(np.int64)
    return Dataset("invented", inputs[:120], targets[:120], inputs[120:], targets[120:], 4, "this test")


def task(method: str = "momentum", **changed: Any) -> Task:
    data = dataset()
    optimiser = optimise.get(method, learning_rate=0.1)
    comm = Communicator(WORLD)
    made = Task(comm, models.get("mlp:hidden=10x7", data), data, Batches(120, 60, 60), optimiser, limit=20)
    return replace(made, **changed)


def trained(strategy: str, given: Task, steps: int = STEPS) -> tuple[np.ndarray, list[Step]]:
    """The model at the end, the same on all ranks, and this rank's steps; none on a rank that serves."""
    running = strategies.get(strategy).start(given)
    done: list[Step] = []
    weights = np.zeros_like(given.model.initial(0).vector)
    if running.workers is not None:
        done = [running.step(number, 0.1) for number in range(1, steps + 1)]
        running.workers.Barrier()
        weights = running.weights.vector.copy()
    running.close()
    WORLD.Bcast(weights)
    return weights, done


def alone(given: Task, steps: int = STEPS) -> np.ndarray:
    """What one rank trains by itself."""
    own = Communicator(MPI.COMM_SELF)
    running = strategies.get("allreduce").start(replace(given, comm=own))
    for number in range(1, steps + 1):
        running.step(number, 0.1)
    running.close()
    return running.weights.vector


@pytest.mark.parametrize("strategy", ["ps", "ps:servers=1", "ps:servers=1,colocated=true,partition=256"])
@pytest.mark.parametrize("method", ["momentum", "lars"])
def test_in_lockstep_it_is_one_process_within_rounding(strategy: str, method: str) -> None:
    if SIZE == 1 and strategy == "ps:servers=1":
        return  # it needs a rank beside the server's
    given = task(method)
    found, steps = trained(strategy, given)
    assert np.abs(found - alone(given)).max() <= 8 * ONE_UNIT
    assert all(step.staleness == (0,) for step in steps)


def test_ssp_with_no_step_ahead_is_lockstep_bit_for_bit() -> None:
    given = task(balance=0)
    assert np.array_equal(trained("ssp:0", given)[0], trained("ps", given)[0])


def test_shares_by_speed_change_nothing_of_the_sum() -> None:
    given = task(balance=1, pace=Pace(0.0, 3.0 if RANK == 0 else 1.0))
    assert np.abs(trained("ps", given)[0] - alone(given)).max() <= 8 * ONE_UNIT


@pytest.mark.parametrize(
    "strategy", ["ssp:2", "async", "async:fetch=2,push=2", "async:fetch=3,push=1", "backup:1", "easgd:0.2,period=2",
                 "hogwild"]
)  # fmt: skip
def test_workers_that_do_not_wait_learn_as_well(strategy: str) -> None:
    if strategy == "backup:1" and SIZE == 1:
        return  # nobody is left if the only worker is spare
    given = task("sgd")
    before = given.model.score(given.model.initial(0), given.data.inputs, given.data.targets)
    found, steps = trained(strategy, given, 12)
    model = given.model.initial(0)
    model.vector[...] = found
    after = given.model.score(model, given.data.inputs, given.data.targets)
    assert after.loss < 0.95 * before.loss
    missed = [number for step in steps for number in step.staleness]
    assert all(0 <= number <= 12 * SIZE for number in missed)
    if strategy == "ssp:2":  # at most 3 clocks of others behind, and 3 ahead
        assert max(missed) <= 6 * (SIZE - 1)


def test_a_spare_worker_that_is_slow_is_not_waited_for() -> None:
    if SIZE < 3:
        return
    slow = SIZE - 1
    given = task(pace=Pace(0.001, 12.0 if slow == RANK else 1.0))
    _, steps = trained("backup:1", given, 8)
    skipped = sum(step.scores.samples == 0 for step in steps)
    assert skipped > 0 if slow == RANK else skipped <= 4


def test_a_step_says_what_left_the_rank() -> None:
    given = task()
    _, steps = trained("ps:servers=1,colocated=true", given)
    nbytes = given.model.initial(0).vector.nbytes
    sent = sum(step.sent for step in steps)
    if RANK == 0:  # its server's answers to the others; the last may not be counted yet
        assert (SIZE - 1) * nbytes * (STEPS - 1) <= sent <= (SIZE - 1) * (nbytes + 400) * STEPS
    else:
        assert nbytes * STEPS <= sent <= (nbytes + 400) * STEPS


@pytest.mark.parametrize(
    ("strategy", "changed", "said"),
    [
        (f"ps:servers={SIZE}", {}, "leave no worker"),
        (f"backup:{SIZE}", {}, "cannot all be spare"),
        ("ps", {"deterministic": True}, "leave --deterministic out"),
        ("async", {"balance": 2}, "leave --balance out"),
        ("easgd:compress=int8", {}, "leave compress out"),
        ("hogwild", {}, "sgd"),
    ],
)
def test_what_cannot_be_is_refused_on_all_ranks(strategy: str, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageFault, match=said):
        strategies.get(strategy).start(task(**changed))


@pytest.mark.parametrize("text", ["ps:servers=-1", "ssp:-1", "async:fetch=0", "easgd:2", "hogwild:-1"])
def test_parameters_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(UsageFault, match=r"at least|above"):
        strategies.get(text)
