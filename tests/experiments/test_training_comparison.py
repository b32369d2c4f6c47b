"""What is compared in training, its closed forms, its records and what they say together."""

import json
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import UsageFault
from experiments.training.comparison import records
from experiments.training.comparison.contestants import Contestant, contestants
from experiments.training.comparison.findings import findings
from experiments.training.comparison.plan import LEAST, planned, shuffled
from experiments.training.comparison.predictions import theory_seconds
from experiments.training.comparison.workload import Workload
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
    said = training_records.trained((8,)).findings
    own = next(row for row in said["crossings"] if not row["beside"] and row["over"] == "step")
    assert [one["servers"] for one in own["ratios"]] == [1, 2, 4]
    falling = [one["theory"] for one in own["ratios"]]
    assert falling == sorted(falling, reverse=True)
    assert own["at"]["theory"] is None
    assert 4 < falling[0] < 5
    assert 1 < falling[-1] < 1.1
    # One slice in time 2nβ loses to the ring's 1.75nβ; with two, the answers flow while pushes still come, and it wins.
    chance = random.Random(1)
    load = replace(WORKLOAD, partition=NBYTES // 16)
    sliced = [
        replace(training_records.record(one, chance), theory_seconds=theory_seconds(one, NBYTES, load, PROFILE))
        for one in contestants((8,))
    ]
    steps, samples = [row for row in findings(sliced)["crossings"] if not row["beside"]]
    assert (steps["over"], steps["at"]["theory"]) == ("step", 4)
    assert (samples["over"], samples["at"]["theory"]) == ("sample", None)  # four of eight hosts compute nothing


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
    steps = planned(expected, budget)
    assert sum(0.15 + count * expected[one] for one, count in steps.items()) <= budget + 1e-6
    assert all(count >= LEAST for count in steps.values())
    left_out = [expected[one] for one in expected if one not in steps]
    assert not left_out or not steps or min(left_out) >= max(expected[one] for one in steps)
    assert sorted(shuffled(steps, 3), key=lambda one: one.ranks) == sorted(steps, key=lambda one: one.ranks)


def test_all_get_about_the_same_time() -> None:
    expected = {Contestant(2, algorithm="ring"): 0.02, Contestant(8, consistency="bsp", servers=1): 0.15}
    steps = planned(expected, 6.3)
    assert {one.ranks: count * expected[one] for one, count in steps.items()} == pytest.approx({2: 3, 8: 3}, rel=0.06)


def test_ranks_of_one_number_stay_together_in_an_order_of_the_seeds_own() -> None:
    steps = dict.fromkeys(contestants((2, 4, 8)), 9)
    orders = [shuffled(steps, seed) for seed in range(4)]
    for order in orders:
        counts = [one.ranks for one in order]
        assert len([count for count, after in pairwise([*counts, None]) if count != after]) == 4
    assert orders[0] != orders[1]
    assert orders[0] == shuffled(steps, 0)
