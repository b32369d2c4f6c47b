"""Real ranks, really killed, once each; ``python -m experiments.parameter_server_faults`` does it many times."""

import pytest

from experiments.parameter_server_faults.scenarios import CLOCKS, SCENARIOS, models
from experiments.parameter_server_faults.trial import SECONDS, run, special


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("name", "seed"), [("rank", 1), ("join", 2)])
def test_nothing_hangs_no_acknowledged_update_is_lost_and_the_model_is_right(name: str, seed: int) -> None:
    scenario = SCENARIOS[name]
    worker = special(scenario, scenario.plan(seed, SECONDS))
    verdict = run(name, seed, models(scenario, CLOCKS, worker))
    assert verdict.fine, verdict
    assert verdict.dead > 0
