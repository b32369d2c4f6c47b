"""What the training loop is made of, without ranks: strategies by name, buckets, pace, threads, records."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from collectives.profile import Profile
from experiments.errors import Failure, UsageFault
from experiments.training import buckets, models, strategies
from experiments.training.dataset import Dataset
from experiments.training.gathering import packed, unpacked
from experiments.training.gradients import progress, work
from experiments.training.options import Options
from experiments.training.overlap import Overlap
from experiments.training.pace import Pace
from experiments.training.recorder import JsonLines
from experiments.training.simulated import step_seconds
from experiments.training.strategies.allreduce import AllReduce
from experiments.training.summary import summary
from simulator.training import Layer
from simulator.training import buckets as simulated

PICTURES = np.zeros((4, 8, 8), np.float32)
DATA = Dataset("none", PICTURES, np.zeros(4, np.int64), PICTURES, np.zeros(4, np.int64), 10, "this test")
MODEL = models.get("mlp:hidden=64x32x16", DATA)


def test_a_strategy_is_spelled_with_its_parameters() -> None:
    text = "allreduce:ring,bucket=64KiB,compress=int8:block=128,rounding=nearest,overlap=false"
    found = AllReduce("ring", 65536, 3, "int8:block=128,rounding=nearest", overlap=False)
    assert strategies.get(text, {"accumulate": "3"}) == found


@pytest.mark.parametrize(("text", "said"), [
    ("alreduce", r"no strategy is called 'alreduce'; known: allreduce"),
    ("allreduce:buckets=3", r"no parameter 'buckets'; it has algorithm, bucket"),
    ("allreduce:bucket=much", r"bucket must be bytes such as 64KiB, got 'much'"),
    ("allreduce:accumulate=0", r"accumulate at least 1"),
    ("allreduce:algorithm=ring", r"has its algorithm twice: ring and circulant"),
    ("fsdp", r"strategy fsdp has no algorithm"),
])  # fmt: skip
def test_what_a_strategy_cannot_be_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageFault, match=said):
        strategies.get(text, {"algorithm": "circulant"})


@pytest.mark.parametrize("nbytes", [1, 3000, 10_000, 1 << 20])
def test_buckets_are_those_that_the_simulator_prices(nbytes: int) -> None:
    gradients = MODEL.initial(0)
    sizes = [4 * sum(int(np.prod(shape)) for shape in layer.shapes().values()) for layer in MODEL.layers]
    priced = simulated([Layer(each.name, size, 0, 0) for each, size in zip(MODEL.layers, sizes, strict=True)], nbytes,
                       nbytes)  # fmt: skip
    expected = [sum(sizes[index] for index in indices) for indices in priced]
    found = buckets.cut(MODEL, gradients, nbytes)
    assert [4 * (bucket.hi - bucket.lo) for bucket in found] == [size for size in expected if size]
    assert (found[0].hi, found[-1].lo) == (gradients.vector.size, 0)


def test_buckets_are_small_where_messages_are_cheap_and_large_where_they_are_dear() -> None:
    gradients, ready = MODEL.initial(0), progress(MODEL, (8, 8))

    def count(alpha: float) -> int:
        size = buckets.suitable(MODEL, gradients, ready, 1e-2, lambda nbytes: alpha + nbytes * 1e-7)
        return len(buckets.cut(MODEL, gradients, size))

    assert count(1e-1) == 1
    assert count(1e-6) > 1


def test_work_is_shared_by_multiplications() -> None:
    shares, done = work(MODEL, (8, 8)), progress(MODEL, (8, 8))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["hidden1"] / shares["hidden2"] == pytest.approx(2, rel=0.2)  # 64 x 64 beside 64 x 32
    assert list(done) == [layer.name for layer in reversed(MODEL.layers)]
    assert (min(done.values()) > 1 / 3, max(done.values())) == (True, pytest.approx(1))


def test_computing_takes_its_stated_time_and_longer_on_a_slow_rank() -> None:
    stretch = Pace(0.01, 2.0).begin(3)
    assert 0.03 <= stretch.reach(0.5) < 0.055
    assert 0.06 <= stretch.reach(1.0) < 0.2
    began = time.perf_counter()
    busy = Pace(0.0, 3.0).begin(1)
    while time.perf_counter() - began < 0.01:
        pass
    assert busy.reach(1.0) >= 0.03


def test_calls_go_one_after_another_and_what_fails_there_fails_here() -> None:
    overlap, seen = Overlap(limit=5), list[int]()

    def fail() -> None:
        raise ZeroDivisionError("in the thread")

    overlap.hand("one", lambda: (time.sleep(0.02), seen.append(1))[1])
    overlap.hand("two", lambda: seen.append(2))
    assert overlap.wait() >= 0.01
    assert seen == [1, 2]
    overlap.hand("three", fail)
    with pytest.raises(ZeroDivisionError, match="in the thread"):
        overlap.wait()
    overlap.close()


def test_a_call_that_does_not_end_is_named() -> None:
    overlap = Overlap(limit=0.02)
    overlap.hand("the sum of layer 7", lambda: time.sleep(0.1))
    with pytest.raises(Failure, match=r"the sum of layer 7 is not through after 0.02 s"):
        overlap.wait()
    overlap.close()


def test_arrays_survive_as_bytes() -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(0, np.int64), "c": np.array([7])}
    found = unpacked(packed(arrays))
    assert {name: (each.dtype, each.tolist()) for name, each in found.items()} == {
        name: (each.dtype, each.tolist()) for name, each in arrays.items()
    }


def test_metrics_go_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    first = JsonLines(file)
    for step in range(5):
        first.write({"step": step})
    first.close()
    second = JsonLines(file, kept=2)
    second.write({"step": 3, "again": True})
    second.close()
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [(line["step"], "again" in line) for line in lines] == [(0, False), (1, False), (2, False), (3, True)]


def test_a_summary_adds_the_rates_of_ranks_and_counts_what_they_missed() -> None:
    steps = [
        {"kind": "step", "step": step, "rank": rank, "samples": 10, "seconds": 1.0 + rank, "computing_seconds": 0.5,
         "exposed_seconds": 0.25, "bytes_sent": 100, "elapsed_seconds": float(step), "staleness": [rank, 2 * rank]}
        for step in range(1, 9) for rank in range(2)
    ]  # fmt: skip
    run = {"kind": "run", "step": 0}
    judged = {"kind": "evaluation", "step": 8, "loss": 0.5, "accuracy": 0.75}
    found = summary([run, *steps, {**judged, "accuracy": 0.875}, judged])
    assert found["samples_per_second"] == pytest.approx(10 + 5)
    assert (found["step_seconds"], found["samples"]) == (1.5, 12)
    assert found["bytes_sent"] == 200
    assert found["staleness"] == {"0": 16, "1": 8, "2": 8}
    assert (found["accuracy"], found["best_accuracy"]) == (0.75, 0.875)


def test_a_simulated_step_hides_sums_behind_computing() -> None:
    profile = Profile(2e-4, 8e-8, 1e-10, ranks=4)

    def seconds(strategy: str) -> float | None:
        return step_seconds(Options(strategy, algorithm=""), profile, 4, 0.05)

    hidden, bare, sharded = seconds("allreduce:ring"), seconds("allreduce:ring,overlap=false"), seconds("fsdp:1")
    assert hidden is not None
    assert bare is not None
    assert 0.05 < hidden < bare - 0.005
    assert bare == pytest.approx(sharded, rel=0.1)
    assert seconds("pipeline") is None
