"""What is compared in training, its closed forms, its records and what they say together."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import cli
from experiments.errors import UsageFault
from experiments.training import datasets, models, strategies
from experiments.training.comparison import predictions, records, summary
from experiments.training.comparison.contestants import Contestant, contestants
from experiments.training.comparison.findings import findings
from experiments.training.comparison.plan import LEAST, planned, shuffled
from experiments.training.comparison.predictions import theory_seconds
from experiments.training.comparison.workload import Workload
from simulator.parameter_server import Handling
from tests import training_records
from tests.training_records import NBYTES, PROFILE, WORKLOAD


def test_both_ways_have_the_same_hosts_and_every_number_of_servers_that_was_asked_for() -> None:
    found = contestants((2, 4, 8))
    assert len(set(found)) == len(found)
    assert [one.ranks for one in found].count(1) == 1
    for ranks in (2, 4, 8):
        here = [one for one in found if one.ranks == ranks]
        assert len([one for one in here if one.algorithm]) == 3
        own = {one.servers for one in here if one.servers and not one.colocated}
        assert own == {1, ranks // 2} | ({2} if ranks > 2 else set())
        for one in here:
            assert one.workers + (0 if one.colocated else one.servers) == ranks
            if one.servers:
                assert one.configuration(1 << 20).ranks == ranks
    # A single worker waits for nobody under any rules, so it is not measured thrice.
    assert [one.label for one in found if one.ranks == 2 and one.workers == 1] == ["bsp 1"]


@settings(max_examples=30)
@given(workers=st.integers(2, 16), nbytes=st.integers(10_000, 10_000_000))
def test_the_closed_forms_say_what_the_claim_says(workers: int, nbytes: int) -> None:
    """n·w/k·β each way against 2(p−1)/p·nβ, but for latency and additions."""
    load = Workload(compute=0.0, partition=nbytes)
    bare = replace(PROFILE, alpha=0.0, gamma=0.0)
    wire = nbytes * PROFILE.beta
    ring = theory_seconds(Contestant(workers, algorithm="ring"), nbytes, load, bare)
    assert ring == pytest.approx(2 * (workers - 1) / workers * wire)
    one = Contestant(workers + 1, consistency="bsp", servers=1)
    assert theory_seconds(one, nbytes, load, bare) == pytest.approx(2 * workers * wire)
    many = Contestant(2 * workers, consistency="bsp", servers=workers)  # as many as workers: each worker's own port
    assert theory_seconds(many, nbytes, load, bare) == pytest.approx(2 * wire)
    free = Contestant(workers + 1, consistency="async", servers=1)  # its port is what all wait for
    assert theory_seconds(free, nbytes, load, bare) == pytest.approx(max(2 * wire, workers * wire))
    beside = Contestant(workers, consistency="bsp", servers=workers, colocated=True)
    assert theory_seconds(beside, nbytes, load, bare) == pytest.approx(ring)


def test_not_to_wait_is_never_slower_by_the_closed_forms() -> None:
    for ranks in (2, 4, 8):
        found = {(one.servers, one.consistency): one for one in contestants((ranks,)) if one.servers}
        for (servers, rules), one in found.items():
            if rules != "bsp":
                lockstep = theory_seconds(found[servers, "bsp"], NBYTES, WORKLOAD, PROFILE)
                assert theory_seconds(one, NBYTES, WORKLOAD, PROFILE) <= lockstep * (1 + 1e-9)


def test_servers_keep_up_from_where_the_closed_form_crosses() -> None:
    said = training_records.trained((4, 8)).findings["crossings"]
    rows = {(row["ranks"], row["beside"], row["over"]): row for row in said}
    own, samples = rows[8, False, "step"], rows[8, False, "sample"]
    falling = [one["theory"] for one in own["ratios"]]
    assert [one["servers"] for one in own["ratios"]] == [1, 2, 4]
    assert falling == sorted(falling, reverse=True)
    # 20 ms, then 7 workers at one server against the ring: 2 · 7 nβ and 2 · 7/8 nβ, nβ being 16 ms.
    assert falling[0] == pytest.approx((20 + 2 * 7 * 16) / (20 + 2 * 7 / 8 * 16), rel=0.06)
    assert own["at"]["theory"] is None
    assert rows[8, True, "step"]["at"]["theory"] == 8  # beside all workers: the ring's bytes and fewer messages
    for one, other in zip(own["ratios"], samples["ratios"], strict=True):
        assert other["measured"] == pytest.approx(one["measured"] * 8 / (8 - one["servers"]))
    assert (8, True, "sample") not in rows


def test_a_server_keeps_up_from_the_least_number_that_is_no_slower() -> None:
    found = training_records.trained((8,)).records
    ring = next(one for one in found if one.algorithm == "ring")
    times = {1: 3.0, 2: 1.0, 4: 0.5}
    made = [
        replace(one, measured_seconds=times[one.servers] * (ring.measured_seconds or 0.0))
        if one.consistency == "bsp" and not one.colocated else one
        for one in found
    ]  # fmt: skip
    at = {(row["beside"], row["over"]): row["at"]["measured"] for row in findings(made)["crossings"]}
    assert at[False, "step"] == 2
    assert at[False, "sample"] == 4  # two of eight hosts that only serve cost a third more


def test_errors_are_of_the_kind_that_they_are_said_to_be_of() -> None:
    found = [
        replace(one, simulated_seconds=(1.3 if one.synchronous else 0.5) * (one.measured_seconds or 0.0))
        for one in training_records.trained().records
    ]
    rows = {(row["kind"], row["model"]): row for row in findings(found)["errors"]}
    assert rows["synchronous", "simulated"]["median"] == pytest.approx(0.3)
    assert rows["asynchronous", "simulated"]["median"] == pytest.approx(0.5)
    assert rows["synchronous", "simulated"]["target"] == 0.1
    counted = sum(rows[kind, "theory"]["cells"] for kind in ("synchronous", "asynchronous"))
    assert counted == len(found) - 1  # one rank alone sends nothing


def test_the_wire_is_judged_by_what_was_exposed() -> None:
    said = training_records.trained((4,)).findings["wire"]
    (row,) = said
    assert row["bound_seconds"] == pytest.approx(1.5 * NBYTES * PROFILE.beta)
    assert row["share"] == pytest.approx(row["bound_seconds"] / row["exposed_seconds"])


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    assert records.read(tmp_path) is None
    trained = training_records.trained()
    records.write(tmp_path, trained)
    assert records.read(tmp_path) == trained
    line = trained.records[-1].to_json()
    missed = trained.records[-1].staleness
    assert line["staleness_mean"] == pytest.approx(sum(n * c for n, c in enumerate(missed)) / sum(missed))
    assert line["staleness_max"] == len(missed) - 1
    content = json.loads((tmp_path / records.FILE).read_text(encoding="utf-8"))
    for damage, story in (
        ({"schema": 99}, "schema 99"),
        ({"records": [{"ranks": 2}]}, "not complete"),
        ({"records": [{**line, "curve": 3}]}, "not complete"),
    ):
        (tmp_path / records.FILE).write_text(json.dumps({**content, **damage}), encoding="utf-8")
        with pytest.raises(UsageFault, match=story):
            records.read(tmp_path)
    (tmp_path / records.FILE).write_text("[", encoding="utf-8")
    with pytest.raises(UsageFault, match="not JSON"):
        records.read(tmp_path)


@settings(max_examples=30)
@given(st.lists(st.floats(1e-3, 2.0), min_size=1, max_size=12), st.floats(0.5, 100.0))
def test_what_is_planned_fits_and_the_dearest_are_left_out_first(seconds: list[float], budget: float) -> None:
    expected = {Contestant(number + 2, algorithm="ring"): each for number, each in enumerate(seconds)}
    steps = planned(expected, budget, 200)
    assert sum(0.25 + count * expected[one] for one, count in steps.items()) <= budget + 1e-6
    assert all(count >= LEAST for count in steps.values())
    left_out = [expected[one] for one in expected if one not in steps]
    assert not left_out or not steps or min(left_out) >= max(expected[one] for one in steps)
    assert sorted(shuffled(steps, 3), key=lambda one: one.ranks) == sorted(steps, key=lambda one: one.ranks)


def test_all_get_about_the_same_time() -> None:
    expected = {Contestant(2, algorithm="ring"): 0.02, Contestant(8, consistency="bsp", servers=1): 0.15}
    steps = planned(expected, 6.5, 200)
    assert {one.ranks: count * expected[one] for one, count in steps.items()} == pytest.approx({2: 3, 8: 3}, rel=0.06)


def test_what_others_are_compared_with_comes_first_and_the_rest_in_an_order_of_the_seeds_own() -> None:
    steps = dict.fromkeys(contestants((2, 4, 8)), 9)
    orders = [shuffled(steps, seed) for seed in range(3)]
    for order in orders:
        assert {one.label for one in order[:4]} == {"alone", "ring"}
        assert sorted(map(hash, order)) == sorted(map(hash, steps))
    assert orders[0][4:] != orders[1][4:]
    assert orders[0] == shuffled(steps, 0)


def lines(seconds: list[list[float]], **more: object) -> list[dict[str, object]]:
    """What ranks wrote down: a worker for each list of step times, and a server behind them."""
    about = {"ranks": len(seconds) + 1, "algorithm": "", "consistency": "async", "servers": 1, "colocated": False}
    curve = [[sum(seconds[0][: n + 1]), 0.3 * (n + 1)] for n in range(len(seconds[0]))]
    workers = [
        {**about, "rank": rank, "seconds": each, "exposed": [0.5 * one for one in each], "sent": [100] * len(each),
         "staleness": [2, 1 + rank], "wire_bytes": 1000 * (rank + 1), **({"curve": curve} if rank == 0 else {}), **more}
        for rank, each in enumerate(seconds)
    ]  # fmt: skip
    server = {**about, "rank": len(seconds), "seconds": [], "exposed": [], "sent": [], "staleness": [], **more}
    return [*workers, {**server, "wire_bytes": 7000}]


def test_steps_after_the_warm_up_count_and_bytes_of_all_ranks() -> None:
    told = lines([[9.0, 9.0, 1.0, 1.0, 1.0], [9.0, 9.0, 2.0, 2.0, 2.0]])
    ((one, mine),) = summary.by_contestant(told).items()
    assert (one.servers, one.workers, one.consistency) == (1, 2, "async")
    empty = records.TrainingRecord.empty(one, NBYTES, WORKLOAD)
    found = summary.measured(empty, mine, wire=True)
    assert (found.steps, found.samples, found.measured_seconds) == (5, 6, pytest.approx(1.5))
    assert found.throughput == pytest.approx(32 * (1 / 1.0 + 1 / 2.0))  # each at its own speed
    assert found.exposed_seconds == pytest.approx(0.75)
    assert (found.sent_bytes, found.sent_most_bytes) == (pytest.approx(2000), pytest.approx(1400))
    assert summary.measured(empty, mine, wire=False).sent_bytes == pytest.approx(200)
    assert found.staleness == (4, 3)
    assert (found.accuracy, found.target_seconds) == (pytest.approx(1.5), pytest.approx(19.0))  # 0.9 after three steps
    never = summary.measured(replace(empty, target_accuracy=2.0), mine, wire=True)
    assert never.target_seconds is None


def test_efficiency_is_beside_as_many_ranks_alone() -> None:
    alone, ring = (records.TrainingRecord.empty(one, NBYTES, WORKLOAD) for one in contestants((4,), ("ring",), ()))
    known = summary.compared([replace(alone, throughput=100.0), replace(ring, throughput=300.0)])
    assert [one.efficiency for one in known] == [1.0, 0.75]
    assert summary.compared([ring])[0].efficiency is None


@pytest.mark.parametrize(
    ("contestant", "spelled"),
    [
        (Contestant(4, algorithm="ring"), "allreduce:algorithm=ring,bucket=131072B"),
        (Contestant(4, consistency="bsp", servers=2), "ps:servers=2,partition=1048576B"),
        (Contestant(4, consistency="ssp:3", servers=4, colocated=True),
         "ssp:3,servers=4,partition=1048576B,colocated=true"),
    ],
)  # fmt: skip
def test_every_contestant_is_a_strategy(contestant: Contestant, spelled: str) -> None:
    assert WORKLOAD.strategy(contestant) == spelled
    strategies.get(spelled)


def test_the_simulator_is_asked_with_the_bytes_and_the_time_of_the_model() -> None:
    data = datasets.get("digits")
    model = models.get("mlp", data)
    parts = predictions.layers(model, data.inputs.shape[1:], 0.02)
    assert sum(layer.nbytes for layer in parts) == model.initial(0).vector.nbytes
    assert sum(layer.forward + layer.backward for layer in parts) == pytest.approx(0.02)
    few = [Contestant(1), Contestant(4, algorithm="ring"), *(one for one in contestants((4,), ()) if one.ranks > 1)]
    free = dict.fromkeys(("bsp", "ssp:3", "async"), Handling())
    found = predictions.predicted(few, model, data.inputs.shape[1:], WORKLOAD, PROFILE, handling=free)
    for one, record in found.items():
        assert record.theory_seconds is not None
        if one.ranks > 1:
            assert record.simulated_seconds == pytest.approx(record.theory_seconds, rel=0.35)
            assert record.simulated_seconds > WORKLOAD.compute
    stale = found[Contestant(4, consistency="async", servers=1)].simulated_staleness
    assert stale is not None
    assert stale > 0.5


@pytest.mark.timeout(180)
def test_real_ranks_train_in_every_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(PROFILE, ranks=2).save(tmp_path / "profile.json")
    place = ["-n", "2", "--on", "local", "--profile", str(tmp_path / "profile.json"), "--output", str(tmp_path / "out")]
    options = ["--compute", "2ms", "--time-limit", "40s", "--steps", "20", "--seed", "1", "--json"]
    assert cli.run(["compare-training", *place, *options]) == 0, capsys.readouterr().err
    content = json.loads(capsys.readouterr().out)
    trained = records.read(tmp_path / "out")
    assert trained is not None
    assert json.loads(json.dumps(trained.to_json())) == content
    assert {one.label for one in trained.records} == {one.label for one in contestants((2,))}
    for one in trained.records:
        assert one.steps == 20
        assert one.samples == (one.steps - one.warmup) * one.workers
        assert 0.002 <= (one.measured_seconds or 0.0) < 1
        assert one.accuracy == one.curve[-1][1]
        assert one.sent_bytes is not None
        assert (one.sent_bytes >= one.nbytes) == (one.ranks > 1)
        assert bool(sum(one.staleness)) == bool(one.servers)
        assert not one.synchronous or not one.staleness_max
    assert max(one.accuracy or 0.0 for one in trained.records) > 0.5  # it does learn
    assert content["environment"]["place"] == "local"
    told = [json.loads(line) for line in (tmp_path / "out" / records.STEPS_FILE).read_text().splitlines()]
    assert len(told) == sum(one.ranks for one in trained.records)


def test_the_command_refuses_what_cannot_be_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for options, story in (
        (["-n", "1"], "2 and more"),
        (["--algorithms", "rong"], "ring"),
        (["--consistencies", "bsp sloppy"], "sloppy"),
        (["--compute", "0s"], "more than 0"),
    ):
        assert cli.run(["compare-training", *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert story in line
