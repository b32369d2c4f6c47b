"""What a parameter server's rules do to learning: virtual workers of stated speeds around the real server."""

from statistics import mean

import numpy as np
import pytest

from collectives.parameter_server import consistency
from collectives.parameter_server.configuration import Configuration
from experiments.training import datasets, models
from experiments.training.batches import Batches
from experiments.training.dataset import Dataset
from experiments.training.exchange import Due, due
from experiments.training.stepper import Stepper
from experiments.training.virtual import Outcome, Times, Work, train
from kernels.optimise import Momentum

STEADY = (1.0, 1.0, 1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.get("digits")


def work(data: Dataset, epochs: int = 1, seed: int = 0) -> Work:
    batches = Batches(len(data.inputs), 80, 20, seed)
    steps = epochs * batches.an_epoch
    return Work(
        models.get("mlp:hidden=32", data), data, batches, Momentum(0.05), steps, lambda _step: 0.05, seed, every=5
    )


def run(data: Dataset, rules: str, times: Times, *, epochs: int = 1, seed: int = 0, servers: int = 2) -> Outcome:
    configuration = Configuration(len(times.computing), servers, consistency=consistency.get(rules), partition=4096)
    return train(work(data, epochs, seed), configuration, times)


def alone(data: Dataset, epochs: int) -> np.ndarray:
    """The weights of one process that takes each batch in the workers' shares and adds those up in their order."""
    what = work(data, epochs)
    weights = what.model.initial(0)
    stepper = Stepper(what.optimiser, weights)
    for step in range(1, what.steps + 1):
        total = weights.like()
        for lo, hi in what.batches.shares(5):
            share, chosen = weights.like(), what.batches.of(step)[lo:hi].ravel()
            what.model.gradient(weights, data.inputs[chosen], data.targets[chosen], share)
            total.vector += share.vector
        stepper.step(total, step, learning_rate=0.05, scale=1 / 80)
    return weights.vector


def test_lockstep_is_one_process_bit_for_bit_whatever_the_speeds(digits: Dataset) -> None:
    wanted = alone(digits, 1)
    for rules, computing in (("bsp", STEADY), ("bsp", (3.0, 0.5, 1.0, 2.0, 0.1)), ("ssp:0", (1.0, 2.0, 1.0, 1.5, 0.2))):
        found = run(digits, rules, Times(computing, message=0.1, variation=0.5))
        assert np.array_equal(found.weights.vector, wanted), rules
        assert set(found.staleness) == {0}


def test_workers_that_take_turns_are_as_stale_as_there_are_others(digits: Dataset) -> None:
    found = run(digits, "async", Times(STEADY))
    assert max(found.staleness) == 4
    assert found.staleness[4] > 0.9 * sum(found.staleness.values())
    assert not any(found.waited)


def test_a_slow_worker_holds_up_those_that_wait_for_it_and_no_others(digits: Dataset) -> None:
    slow = Times((1.0, 1.0, 1.0, 1.0, 4.0))
    steps = work(digits).steps
    waits = {rules: run(digits, rules, slow) for rules in ("bsp", "ssp:4", "async", "backup:1", "easgd:0.1")}
    assert waits["bsp"].seconds == pytest.approx(4.0 * steps)
    assert waits["bsp"].waited[:4] == pytest.approx([3.0 * steps] * 4)
    assert waits["backup:1"].seconds < 1.4 * steps
    assert waits["backup:1"].late > 0
    assert waits["backup:1"].steps[4] < 0.4 * steps
    assert not any(waits["async"].waited)
    assert not any(waits["easgd:0.1"].waited)
    assert 0 < waits["ssp:4"].waited[0] < waits["bsp"].waited[0]


def test_nobody_is_further_ahead_than_its_bound_lets_it_be(digits: Dataset) -> None:
    for bound in (1, 3):
        found = run(digits, f"ssp:{bound}", Times((1.0, 1.0, 1.0, 1.0, 3.0), variation=0.4))
        # a worker misses at most (bound + 1) pushes of each of those behind, and as many of each of those ahead
        assert max(found.staleness) <= 4 * (2 * bound + 1)
    assert run(digits, "ssp:1", Times(STEADY, variation=1.0), servers=1).seconds < (
        run(digits, "bsp", Times(STEADY, variation=1.0), servers=1).seconds
    )


def test_with_staleness_up_to_4_the_accuracy_is_within_a_percentage_point_of_lockstep(digits: Dataset) -> None:
    found = {
        rules: [run(digits, rules, Times(STEADY), epochs=12, seed=seed, servers=1) for seed in range(3)]
        for rules in ("bsp", "async", "ssp:3")
    }
    accuracy = {rules: mean(one.curve[-1].accuracy for one in runs) for rules, runs in found.items()}
    assert accuracy["bsp"] > 0.95
    for rules in ("async", "ssp:3"):
        assert max(max(one.staleness) for one in found[rules]) <= 4
        assert accuracy[rules] > accuracy["bsp"] - 0.01


@pytest.mark.parametrize("rules", ["async:fetch=2,push=2", "async:fetch=4,push=1", "easgd:rate=0.15,period=3"])
def test_workers_that_meet_the_server_seldom_learn_too(digits: Dataset, rules: str) -> None:
    found = run(digits, rules, Times(STEADY, 0.1, 0.3), epochs=8, servers=1)
    assert found.curve[0].accuracy < 0.3
    assert found.curve[-1].accuracy > 0.8
    assert found.steps == [8 * 17] * 5


def test_what_is_sent_when() -> None:
    assert [due(consistency.get("async:fetch=3,push=2"), number) for number in (1, 2, 3, 6)] == [
        Due(False, False), Due(True, False), Due(False, True), Due(True, True),
    ]  # fmt: skip
    assert [due(consistency.get("easgd:rate=0.1,period=2"), number).push for number in (1, 2)] == [False, True]
    assert due(consistency.get("ssp:3"), 1) == Due(True, True)


def test_the_same_run_twice_is_the_same_run(digits: Dataset) -> None:
    one, other = (run(digits, "async", Times(STEADY, 0.05, 0.5)) for _ in range(2))
    assert np.array_equal(one.weights.vector, other.weights.vector)
    assert (one.seconds, one.curve) == (other.seconds, other.curve)


def test_the_time_to_an_accuracy_is_that_of_the_first_judgement_that_has_it(digits: Dataset) -> None:
    found = run(digits, "bsp", Times(STEADY), epochs=2)
    reached = next(judged for judged in found.curve if judged.accuracy >= 0.7)
    assert found.seconds_to(0.7) == reached.seconds == pytest.approx(reached.steps)
    assert found.seconds_to(1.01) is None


def test_times_of_other_workers_are_refused(digits: Dataset) -> None:
    with pytest.raises(ValueError, match="5 workers, and computing times of 2"):
        train(work(digits), Configuration(5, 1), Times((1.0, 1.0)))
