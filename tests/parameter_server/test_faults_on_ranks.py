"""Real ranks, one really killed; ``python -m experiments.parameter_server_faults`` does all of it, many times."""

import os

import pytest

from experiments.parameter_server_faults.scenarios import CLOCKS, SCENARIOS, models
from experiments.parameter_server_faults.trial import SECONDS, run, special


@pytest.mark.timeout(400)
@pytest.mark.skipif(
    os.environ.get("CIRANDA_TEST_MPI", "openmpi") != "openmpi", reason="a job of Open MPI outlives a rank"
)
def test_nothing_hangs_no_acknowledged_update_is_lost_and_the_model_is_right() -> None:
    scenario, seed = SCENARIOS["rank"], 1
    worker = special(scenario, scenario.plan(seed, SECONDS))
    verdict = run("rank", seed, models(scenario, CLOCKS, worker))
    assert verdict.fine, verdict
    assert verdict.dead > 0
