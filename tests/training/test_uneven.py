"""Living with a slow worker: what is expected, what is measured, and how the two are set side by side."""

import json
import os

import pytest

from experiments import cli
from experiments.places import LOCAL
from experiments.training.options import Options
from experiments.training.uneven import CONTESTANTS, expected, result
from experiments.training.uneven_command import measured

COMMON = Options(model="softmax", epochs=1, compute="10ms", slow=["2=4"], evaluate=2, batch=96)
MPI = os.environ.get("CIRANDA_TEST_MPI", "openmpi")
NAMED = {contestant.name: contestant for contestant in CONTESTANTS}


def test_a_slow_worker_costs_its_factor_a_share_of_it_or_nothing() -> None:
    found = {name: expected(contestant, COMMON, 3) for name, contestant in NAMED.items()}
    steps = 1437 // 96
    assert found["static"].seconds == pytest.approx(steps * 4 * 6 * 10e-3 * 3 / 16, rel=0.05)  # it has 6 grains of 16
    assert found["balanced"].seconds == pytest.approx(steps * 8 * 10e-3 * 3 / 16)  # 7, 7 and 2, or 8, 7 and 1
    assert found["backup"].seconds < found["static"].seconds / 2
    assert found["stale"].waited[0] > 0
    assert found["asynchronous"].waited == [0, 0, 0]
    assert max(found["static"].staleness) == max(found["balanced"].staleness) == 0 < max(found["stale"].staleness)


def test_shares_by_speed_learn_the_same_as_equal_ones_but_for_rounding() -> None:
    static, balanced = (expected(NAMED[name], COMMON, 3) for name in ("static", "balanced"))
    assert [one.accuracy for one in static.curve] == [one.accuracy for one in balanced.curve]


def test_a_result_is_reached_when_the_first_evaluation_is_good_enough() -> None:
    outcome = expected(NAMED["static"], COMMON, 3)
    lines = [
        {"kind": "run"},
        *(
            {"kind": "evaluation", "accuracy": accuracy, "elapsed_seconds": at}
            for at, accuracy in enumerate((0.1, 0.6, 0.4, 0.8), start=1)
        ),
    ]
    found = {"training_seconds": 9.0, "step_seconds": 0.1, "accuracy": 0.8, "staleness_mean": 0.0, "staleness_max": 0}
    assert result(NAMED["static"], found, lines, 0.5, outcome).reached_seconds == 2
    assert result(NAMED["static"], found, lines, 0.9, outcome).reached_seconds is None
    assert result(NAMED["static"], found, lines, 0.5, outcome).expected_seconds == outcome.seconds_to(0.5)


def test_a_spare_worker_is_measured_beside_what_is_expected() -> None:
    found, summary = measured(NAMED["backup"], COMMON, 3, LOCAL, 0.3, mpi=MPI, limit=60)
    assert summary["ranks"] == 3
    assert found.reached_seconds is not None
    assert found.expected_seconds is not None
    assert found.training_seconds >= expected(NAMED["backup"], COMMON, 3).seconds * 0.9
    assert json.dumps(found.to_json())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--compute", "0s"], "above 0"),
        (["--slow", "many"], "write it like 0=2"),
        (["no-such-model"], "no model is called"),
        (["--on", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["uneven", *arguments]) == 2
    assert said in capsys.readouterr().err
