"""The model cut into stages, within layers, and both with replicas: what one process makes, whatever the cut."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from collectives import Communicator, pipeline
from collectives.executors.faults import CollectiveError
from experiments.errors import UsageFault
from experiments.training import exact_sum, models, strategies
from experiments.training.batches import Batches
from experiments.training.dataset import Dataset
from experiments.training.neighbours import Inbox, Patience
from experiments.training.pace import Pace
from experiments.training.strategy import Task
from kernels import optimise

SIZE, RANK = MPI.COMM_WORLD.size, MPI.COMM_WORLD.rank
LAYOUTS = [
    (stages, ways) for stages in range(1, SIZE + 1) for ways in range(1, SIZE + 1) if SIZE % (stages * ways) == 0
]
MODELS = ("mlp:hidden=12x11x13x12", "convnet:channels=9x10,hidden=11", "transformer:layers=3,width=18,heads=9")
SAMPLES, GRAINS, STEPS = 36, 9, 2


@cache
def data(text: bool) -> Dataset:
    chance = np.random.default_rng(0)
    shape, classes = ((SAMPLES, 6), 17) if text else ((SAMPLES, 8, 8, 1), 10)
    inputs = chance.integers(0, 17, shape).astype(np.uint8) if text else chance.random(shape, np.float32)
    targets = chance.integers(0, classes, shape if text else SAMPLES)
    return Dataset("noise", inputs, targets, inputs, targets, classes, "made here")


def task(comm: Communicator, model: str, *, deterministic: bool = False, optimiser: str = "momentum") -> Task:
    samples = data(model.startswith("transformer"))
    batches = Batches(SAMPLES, 18, GRAINS, seed=1)
    rule = optimise.get(optimiser, learning_rate=0.1)
    return Task(comm, models.get(model, samples), samples, batches, rule, 3, deterministic=deterministic)


def trained(plan: str, job: Task) -> tuple[Any, list[Any]]:
    """The weights after some steps, and the scores of each, summed over the ranks."""
    strategy = strategies.get(plan).start(job)
    scores = np.array([strategy.step(number, 0.1).scores for number in range(1, STEPS + 1)], np.float64)
    job.comm.Allreduce(MPI.IN_PLACE, scores)
    weights = strategy.weights.vector.copy()
    strategy.close()
    return weights, scores.tolist()


@cache
def alone(model: str, *, deterministic: bool = False) -> tuple[Any, list[Any]]:
    return trained("allreduce:overlap=false", task(Communicator(MPI.COMM_SELF), model, deterministic=deterministic))


@pytest.mark.parametrize("model", MODELS)
def test_every_cut_trains_what_one_process_trains(model: str) -> None:
    world = Communicator(MPI.COMM_WORLD)
    weights, scores = alone(model)
    for number, (stages, ways) in enumerate(LAYOUTS):
        order = ("gpipe", "1f1b")[number % 2]
        found, judged = trained(f"pipeline:stages={stages},ways={ways},order={order},micro=2", task(world, model))
        np.testing.assert_allclose(found, weights, rtol=0, atol=2e-6)
        np.testing.assert_allclose(judged, scores, rtol=1e-5)


def test_tensor_parallel_is_that_with_one_stage() -> None:
    found, _ = trained("tensor", task(Communicator(MPI.COMM_WORLD), MODELS[2]))
    np.testing.assert_allclose(found, alone(MODELS[2])[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("order", ["gpipe", "1f1b"])
def test_a_deterministic_pipeline_ends_with_the_bits_of_one_process(order: str) -> None:
    world = Communicator(MPI.COMM_WORLD)
    weights, scores = alone(MODELS[0], deterministic=True)
    for stages in (stages for stages, ways in LAYOUTS if ways == 1):
        job = task(world, MODELS[0], deterministic=True)
        found, judged = trained(f"pipeline:stages={stages},order={order}", job)
        assert found.tobytes() == weights.tobytes()
        assert judged == scores


def test_a_run_goes_on_with_another_cut() -> None:
    """Snapshots are of the whole model, so what one cut wrote another reads."""
    job = task(Communicator(MPI.COMM_WORLD), MODELS[0])
    first = strategies.get("pipeline").start(job)
    first.step(1, 0.1)
    snapshot = first.snapshot()
    first.close()
    then = strategies.get("tensor").start(job)
    then.restore(snapshot)
    then.step(2, 0.1)
    weights = then.weights.vector
    then.close()
    np.testing.assert_allclose(weights, alone(MODELS[0])[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        (f"tensor:ways={SIZE + 1}", rf"{SIZE} ranks cannot be cut into 1 stages of {SIZE + 1} ways: .* is one of 1"),
        ("pipeline:stages=1,micro=19", "samples cannot be cut into 19 equal micro-batches"),
        ("pipeline:stages=99", "mlp:.* learns on, 9 layers can be cut into 1 to 9 stages, not into 99"),
    ],
)
def test_what_does_not_divide_is_told_on_all_ranks(plan: str, fault: str) -> None:
    with pytest.raises(UsageFault, match=fault):
        strategies.get(plan).start(task(Communicator(MPI.COMM_WORLD), MODELS[0]))


def test_what_cannot_be_is_told_on_all_ranks() -> None:
    world = Communicator(MPI.COMM_WORLD)
    if SIZE > 1:
        with pytest.raises(UsageFault, match="lars steps by the norms of whole tensors"):
            strategies.get("tensor").start(task(world, MODELS[0], optimiser="lars"))
        with pytest.raises(UsageFault, match="take a pipeline without ways"):
            strategies.get("tensor").start(task(world, MODELS[0], deterministic=True))


def test_a_neighbour_that_says_nothing_is_not_waited_for_without_end() -> None:
    if SIZE > 1 and RANK == 0:
        line = Communicator(MPI.COMM_SELF)
        inbox = Inbox(line, 0, (3,), np.float32, 1, Patience(0.05))
        with pytest.raises(CollectiveError, match=r"Forward\(0\) from rank 0 was not done after 0.05 s"):
            inbox.take("Forward(0)")
        line.Send(np.zeros(3, np.float32), 0)  # so that nothing is left behind


def test_a_step_takes_as_long_as_its_order_says_or_longer() -> None:
    """Where computing takes a stated time, and messages some more."""
    grain = 3e-3
    job = replace(task(Communicator(MPI.COMM_WORLD), MODELS[0]), pace=Pace(grain))
    strategy = strategies.get("pipeline:order=1f1b").start(job)
    strategy.step(1, 0.1)
    began = time.perf_counter()
    step = strategy.step(2, 0.1)
    elapsed = time.perf_counter() - began
    parts = np.zeros(SIZE)
    job.comm.Allgather(np.array([strategy.part]), parts)
    forward, backward = parts * grain / 3, parts * grain * 2 / 3
    slots = pipeline.timeline(pipeline.one_forward_one_backward, GRAINS, forward, backward)
    strategy.close()
    assert parts.sum() == pytest.approx(1)
    assert step.computing >= GRAINS * grain * parts[RANK]
    assert elapsed >= step.computing + step.exposed
    if RANK == 0:
        assert elapsed >= slots[0][-1].end


def test_parts_of_a_vector_are_summed_in_the_unit_of_the_whole() -> None:
    vector = np.ldexp(np.float32(1.5), -62 * np.arange(SIZE)).astype(np.float32)
    whole, part = vector.copy(), vector[RANK : RANK + 1].copy()
    alone = Communicator(MPI.COMM_SELF)
    exact_sum.allreduce(alone, [vector], 2, whole)
    exact_sum.allreduce(alone, [part.copy()], 2, part, among=Communicator(MPI.COMM_WORLD))
    assert part[0] == whole[RANK]
