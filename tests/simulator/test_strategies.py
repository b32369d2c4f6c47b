"""What a step takes by each strategy: against closed forms, pipelines' timelines, and each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue, pipeline
from collectives.parameter_server import BSP, Async, Configuration
from simulator import Network, networks, simulate, training
from simulator.compute_times import ComputeTime
from simulator.strategies import (
    AllReduce,
    Job,
    LocalSGD,
    Pipeline,
    Served,
    Sharded,
    Strategy,
    TensorParallel,
    predict,
)
from simulator.training import Layer

ALPHA, BETA = 10e-6, 1e-9
LAYERS = tuple(Layer(f"layer {number}", 400_000 * (number + 1), 1e-3, 2e-3) for number in range(4))
NBYTES = 4_000_000
LAW = settings(deadline=None, max_examples=20)


def star(size: int) -> Network:
    return networks.star(size, ALPHA, 1 / BETA)


JOB = Job(LAYERS, star(4), update=1e-4)


# --- data parallel ------------------------------------------------------------------------------------------------


def test_a_whole_bucket_is_summed_after_computing() -> None:
    found = predict(AllReduce("ring", bucket=NBYTES), JOB)
    ring = 6 * ALPHA + 1.5 * NBYTES * BETA
    assert found.seconds == found.median == pytest.approx(12e-3 + ring + 1e-4)
    assert found.exposed == pytest.approx(ring)
    assert found.sent_bytes == pytest.approx(4 * 1.5 * NBYTES)
    assert found.throughput == pytest.approx(4 / found.seconds)


def test_small_buckets_hide_behind_computing_and_accumulation_makes_sums_rare() -> None:
    whole, cut = (predict(AllReduce("ring", bucket=size), JOB) for size in (NBYTES, 400_000))
    assert cut.exposed < 0.5 * whole.exposed
    rare = predict(AllReduce("ring", bucket=NBYTES, accumulation=3), JOB)
    assert rare.seconds == pytest.approx(whole.seconds + 2 * 12e-3)
    assert rare.exposed == pytest.approx(whole.exposed)


def test_encoded_gradients_are_fewer_bytes_and_so_less_time() -> None:
    plain, encoded = (predict(AllReduce("ring", NBYTES, encoding=name), JOB) for name in (None, "float16"))
    assert encoded.sent_bytes == pytest.approx(plain.sent_bytes / 2)
    assert encoded.exposed == pytest.approx(plain.exposed / 2, rel=1e-2)


def test_averages_every_so_many_steps_cost_that_part_of_one() -> None:
    always, rare = (predict(LocalSGD("ring", period), JOB) for period in (1, 8))
    assert always.exposed == pytest.approx(6 * ALPHA + 1.5 * NBYTES * BETA)
    assert rare.exposed == pytest.approx(always.exposed / 8)
    assert rare.compute == always.compute
    assert rare.sent_bytes == pytest.approx(always.sent_bytes / 8)


def test_noise_evens_out_between_averages() -> None:
    noisy = replace(JOB, noise=ComputeTime(1.0, "gamma", 0.5), steps=40)
    assert predict(LocalSGD("ring", 8), noisy).compute < predict(LocalSGD("ring", 1), noisy).compute
    assert predict(AllReduce(), noisy).seconds > predict(AllReduce(), JOB).seconds


def test_shards_move_what_an_allreduce_moves_and_half_as_much_again_where_parameters_are_cut_too() -> None:
    allreduce = predict(AllReduce("ring", NBYTES), JOB)
    first, second, third = (predict(Sharded(level), JOB) for level in (1, 2, 3))
    assert first.seconds == second.seconds
    assert first.exposed == pytest.approx(allreduce.exposed)  # a ring is a reduce-scatter and an allgather
    assert first.compute == pytest.approx(12e-3 + 1e-4 / 4)  # of the optimiser's step each does its share
    assert third.sent_bytes == pytest.approx(1.5 * first.sent_bytes) == pytest.approx(1.5 * allreduce.sent_bytes)
    assert third.exposed == pytest.approx(3 * (4 * 3 * ALPHA + 0.75 * NBYTES * BETA))


# --- servers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "servers", "colocated"),
    [
        (4, 4, False),
        (4, 2, False),
        (6, 3, False),
        (3, 1, False),
        (2, 4, False),
        (4, 1, True),
        (4, 2, True),
        (4, 4, True),
    ],
)
def test_schedule_and_process_of_a_server_agree_where_ports_are_shared(
    workers: int, servers: int, colocated: bool
) -> None:
    """In lockstep, each server's share in one message, and but for latency, which the schedule pays in each round."""
    configuration = Configuration(workers, servers, colocated, partition=24_000 // servers)
    network = networks.star(configuration.ranks, 0.0, 1 / BETA)
    job = Job((Layer("model", 24_000, 0.0, 1e-3),), network, steps=3, sharing=True)
    name = "parameter_server" if colocated else "parameter_server_separate"
    schedule, process = predict(AllReduce(f"{name}:servers={servers}"), job), predict(Served(configuration), job)
    assert process.seconds == pytest.approx(schedule.seconds)
    assert process.throughput == pytest.approx(schedule.throughput)
    assert process.sent_bytes == pytest.approx(schedule.sent_bytes)


def test_where_messages_take_turns_the_process_is_quicker_than_the_schedule() -> None:
    """Workers are answered one after another, so the first is through with its next push before the last begins."""
    job = Job((Layer("model", 24_000, 0.0, 1e-3),), networks.star(4, 0.0, 1 / BETA), steps=3)
    schedule = predict(AllReduce("parameter_server_separate"), job)
    process = predict(Served(Configuration(3, 1, partition=24_000)), job)
    assert schedule.exposed == pytest.approx(2 * 3 * 24_000 * BETA)
    assert process.exposed == pytest.approx((1 + 3) * 24_000 * BETA)


def test_free_workers_do_no_fewer_steps_than_those_in_lockstep_and_parts_overlap() -> None:
    job = replace(JOB, network=star(5), slow={0: 2.0})
    lockstep, free = (
        predict(Served(Configuration(4, 1, consistency=rule, partition=400_000)), job) for rule in (BSP(), Async())
    )
    assert free.throughput > lockstep.throughput
    assert lockstep.compute == pytest.approx(24e-3)
    assert free.compute < lockstep.compute
    assert free.outcome is not None
    assert free.outcome.staleness.max() > 0
    at_once, by_layer = (
        predict(Served(Configuration(4, 1, partition=400_000), overlap=both, by_layer=both), job)
        for both in (False, True)
    )
    assert by_layer.seconds < lockstep.seconds < at_once.seconds


# --- model parallel -----------------------------------------------------------------------------------------------


def test_sums_of_activations_are_all_waited_for() -> None:
    found = predict(TensorParallel((8_000, 8_000, 16_000)), JOB)
    assert found.exposed == pytest.approx(3 * 6 * ALPHA + 1.5 * 32_000 * BETA)
    assert found.throughput == pytest.approx(1 / found.seconds)  # all ranks are one worker


@LAW
@given(st.integers(2, 5), st.integers(1, 8), st.sampled_from(pipeline.names()))
def test_a_pipeline_of_equal_stages_and_free_messages_has_the_bubble_of_theory(
    stages: int, micro: int, order: str
) -> None:
    layers = tuple(Layer(str(number), 0, 1e-3, 2e-3) for number in range(stages))
    free = networks.star(stages, 0.0, np.inf)
    found = predict(Pipeline(micro, (0,) * (stages - 1), order), Job(layers, free))
    assert found.bubble == pytest.approx(pipeline.bubble(stages, micro))
    assert found.seconds == pytest.approx(3e-3 * (micro + stages - 1) / micro)


@LAW
@given(
    st.lists(st.tuples(st.floats(0, 1e-2), st.floats(0, 1e-2)), min_size=2, max_size=4), st.integers(1, 6),
    st.sampled_from(pipeline.names()),
)  # fmt: skip
def test_a_pipeline_takes_what_its_timeline_says_where_messages_only_have_latency(
    times: list[tuple[float, float]], micro: int, order: str
) -> None:
    layers = tuple(Layer(str(number), 0, *both) for number, both in enumerate(times))
    network = networks.star(len(times), 1e-3, np.inf)
    cuts = tuple((number, number + 1) for number in range(len(times)))
    found = predict(Pipeline(micro, (0,) * (len(times) - 1), order, cuts), Job(layers, network))
    forward, backward = ([seconds / micro for seconds in column] for column in zip(*times, strict=True))
    slots = pipeline.timeline(pipeline.get(order), micro, forward, backward, 1e-3)
    assert found.seconds == pytest.approx(max(stage[-1].end for stage in slots))


def test_pipelines_side_by_side_sum_each_stage_and_long_messages_take_their_time() -> None:
    job = replace(JOB, network=star(4), update=0.0)
    free, dear = (predict(Pipeline(4, (nbytes,)), job) for nbytes in (0, 100_000))
    assert dear.seconds > free.seconds
    assert dear.sent_bytes - free.sent_bytes == 2 * 2 * 4 * 100_000
    single = predict(Pipeline(4, (0,)), replace(job, network=star(2)))
    # Layers 2 and 3 are the second stage, whose first gradients are there last but one.
    stage = simulate(catalogue.get("ring"), 2, sum(layer.nbytes for layer in LAYERS[2:]), star(2)).seconds
    assert single.seconds < free.seconds <= single.seconds + stage * (1 + 1e-9)


# --- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "complaint"),
    [
        (lambda: AllReduce(accumulation=0), "accumulation must be at least 1, got 0"),
        (lambda: LocalSGD(period=0), "period must be at least 1, got 0"),
        (lambda: Sharded(4), "levels 1 to 3, got 4"),
        (lambda: predict(Pipeline(4, (0, 0)), JOB), "4 ranks make no pipelines of 3 stages"),
        (lambda: predict(Pipeline(0, (0,)), JOB), "at least one micro-batch"),
        (lambda: predict(Pipeline(2, (0,), order="1b1f"), JOB), "no pipeline order is called '1b1f'"),
        (lambda: predict(AllReduce("broadcast_linear"), JOB), "cannot sum gradients"),
        (lambda: predict(Served(Configuration(4, 2)), JOB), "6 ranks are needed"),
    ],
)
def test_what_cannot_be_is_refused(strategy: object, complaint: str) -> None:
    assert callable(strategy)
    with pytest.raises(ValueError, match=complaint):
        strategy()


def test_every_strategy_is_asked_alike() -> None:
    everyone: list[Strategy] = [
        AllReduce(), LocalSGD(), Sharded(), TensorParallel((8,)), Pipeline(2, (8,)), Served(Configuration(3, 1)),
    ]  # fmt: skip
    alone = training.step(LAYERS, star(1), catalogue.get("ring")).seconds
    for strategy in everyone:
        found = predict(strategy, JOB)
        assert found.seconds == pytest.approx(found.compute + found.exposed)
        assert found.seconds > alone or isinstance(strategy, Pipeline)
