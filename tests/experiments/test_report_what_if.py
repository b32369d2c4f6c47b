import json
import time
from pathlib import Path

import plotly.graph_objects as go
import pytest

from collectives import catalogue
from experiments.errors import UsageFault
from experiments.report import folder
from experiments.report.palette import palette
from experiments.report.results import load
from experiments.report.sections import what_if as section
from experiments.report.texts import Texts
from experiments.report.what_if import Forecast, Outlook, foresee, with_hosts
from simulator import simulate
from tests import measurements

FAST = ["recursive_doubling", "binomial", "circulant"]


def test_what_is_foreseen_is_what_the_simulator_says() -> None:
    profile = measurements.profile(4)
    found = foresee(profile, FAST, (8, 65536), hosts=(16, 64), limit=8)
    assert {(o.algorithm, o.hosts, o.nbytes) for o in found.outlooks} == {
        (name, hosts, size) for name in FAST for hosts in (16, 64) for size in (8, 65536)
    }
    for outlook in found.outlooks:
        network = with_hosts(profile, outlook.hosts)
        own = simulate(catalogue.get(outlook.algorithm), outlook.hosts, outlook.nbytes, network).seconds
        assert outlook.simulated == pytest.approx(own)
        assert outlook.theory > 0


def test_what_takes_too_long_is_left_out_in_time() -> None:
    began = time.monotonic()
    found = foresee(measurements.profile(4), ["chain", "hierarchical"], (8,), hosts=(16384,), limit=2)
    assert time.monotonic() - began < 30  # the alarm is after 2; the rest is Python's start on a busy machine
    assert [outlook.simulated for outlook in found.outlooks] == [None, None]
    assert all(outlook.theory > 0 for outlook in found.outlooks)


def test_only_what_runs_on_so_many_hosts_is_asked() -> None:
    found = foresee(measurements.profile(4), ["parameter_server:servers=3", "ring"], (8,), hosts=(2,), limit=2)
    assert {outlook.algorithm for outlook in found.outlooks} == {"ring"}


def test_a_forecast_is_kept_with_the_data(tmp_path: Path) -> None:
    data = measurements.write(tmp_path, measurements.records(["ring", "binomial"], (2, 4), (8, 4096)))
    first = folder.forecast(data, load(data), limit=1)
    assert first is not None
    assert "what_if.json" in load(data).files
    assert folder.forecast(data, load(data), limit=1) == first
    (data / "what_if.json").write_text("{")
    with pytest.raises(UsageFault, match=r"what_if\.json is not JSON"):
        folder.forecast(data, load(data))
    for damage in ({"kind": "?"}, {"schema": 99}, {"outlooks": [{}]}):
        (data / "what_if.json").write_text(json.dumps({**first.to_json(), **damage}))
        with pytest.raises(UsageFault, match="anew"):
            folder.forecast(data, load(data))


def test_nothing_is_foreseen_from_a_guess(tmp_path: Path) -> None:
    data = measurements.write(tmp_path, measurements.records(["ring"], (2,), (8,)))
    (data / "profile-2.json").unlink()
    assert folder.forecast(data, load(data)) is None
    assert not (data / "what_if.json").exists()


def test_plotly_takes_the_plot_and_the_table_says_what_is_left_out() -> None:
    say, looks = Texts("pt"), palette(["ring", "chain"])
    forecast = Forecast(8, 10, [
        Outlook("ring", 64, 8, 1e-3, 1e-3), Outlook("ring", 1024, 8, 1e-2, 1e-2), Outlook("chain", 64, 8, None, 2e-3),
    ])  # fmt: skip
    figures = section.figures(forecast, looks, say)["what_if"]
    go.Figure(figures["8"])
    assert [trace["x"] for trace in figures["8"]["data"]] == [[64, 1024]]
    told = section.values(forecast, looks, say)["outlooks"]
    assert (told["left"], told["all"], told["hosts"]) == (1, 3, [64, 1024])
    assert section.values(None, looks, say) == {"outlooks": None}
