import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives.profile import Profile
from experiments.report.error_figures import ErrorFigures
from experiments.report.explanations import REST, example, terms_of, totals
from experiments.report.judgement import BANDS, spreads, winners
from experiments.report.plots import Plots
from experiments.report.profile_figures import ProfileFigures
from experiments.report.results import Cell, load
from experiments.report.term_figures import TermFigures
from experiments.report.texts import Texts
from experiments.scaling import judgement
from tests import measurements

times = st.floats(1e-7, 10.0)
sizes = st.sampled_from([8, 1024, 65535, 65536, 1 << 20])


def cell(name: str, nbytes: int, seconds: float, theory: float, simulated: float, **terms: float) -> Cell:
    rest = seconds - theory - sum(terms.values())
    known = {**terms, REST: rest} if terms else {}
    return Cell(
        name, False, 4, nbytes, seconds, seconds, seconds, theory, simulated, theory / 2, nbytes / seconds, None, False,
        True, 9, explained=known, reason=max(known, key=lambda term: abs(known[term]), default=""),
    )  # fmt: skip


cells = st.lists(st.builds(cell, st.sampled_from(["ring", "chain", "linear"]), sizes, times, times, times), min_size=1)


@given(cells)
def test_every_cell_is_in_one_spread_of_each_model(measured: list[Cell]) -> None:
    found = spreads(measured)
    for model in ("theory", "simulated"):
        errors = sorted(error for spread in found if spread.model == model for error in spread.errors)
        assert errors == sorted(abs(c.predicted(model) - c.seconds) / c.seconds for c in measured)
    for spread in found:
        below = np.mean([error <= spread.high for error in spread.errors])
        assert below >= 0.95 or math.isclose(below, 0.95, abs_tol=1 / len(spread.errors))
        assert spread.median <= spread.high


@given(st.floats(0, 2), st.floats(0, 2))
def test_a_target_is_met_exactly_up_to_its_value(small: float, large: float) -> None:
    measured = [cell("ring", 8, 1.0, 1.0, 1 + small), cell("ring", 1 << 20, 1.0, 1.0, 1 + large)]
    met = {spread.band: spread.met for spread in spreads(measured) if spread.model == "simulated"}
    for band, error in (("small", small), ("large", large)):
        off = abs(1 + error - 1.0)
        assert met[band] == tuple(off <= target for target in BANDS[band])


def test_wrong_results_are_no_errors_of_prediction() -> None:
    good, wrong = cell("ring", 8, 1.0, 2.0, 2.0), replace(cell("ring", 8, 1.0, 9.0, 9.0), correct=False)
    assert all(spread.errors == [1.0] for spread in spreads([good, wrong]))


def test_the_page_and_the_experiment_count_winners_alike(tmp_path: Path) -> None:
    records = measurements.records(["ring", "circulant", "linear", "chain"], (4, 8), measurements.SIZES, seed=7)
    told = judgement.winners(records)["share"]
    found = winners(load(measurements.write(tmp_path, records)).cells)
    assert {judged.model: judged.share for judged in found} == pytest.approx(told)


@settings(max_examples=20)
@given(cells)
def test_plotly_takes_the_distribution_and_its_steps_rise_to_one(measured: list[Cell]) -> None:
    found, draw = spreads(measured), ErrorFigures(Texts("en"))
    for band in {spread.band for spread in found}:
        figure = draw.distribution(found, band)
        go.Figure(figure)
        for trace in figure["data"]:
            assert trace["y"] == sorted(trace["y"])
            assert trace["y"][-1] == pytest.approx(1)


# --- terms ----------------------------------------------------------------------------------------------------------


@given(times, times, st.dictionaries(st.sampled_from(["curve", "duplex", "processor"]), st.floats(-5, 5), min_size=1))
def test_the_bars_of_a_cell_add_up_to_its_measured_time(seconds: float, theory: float, terms: dict) -> None:
    one = cell("ring", 8, seconds, theory, seconds, **terms)
    figure = TermFigures(Texts("en")).stacked([one])
    assert figure is not None
    go.Figure(figure)
    scale = max(1.0, *(abs(bar["x"][0]) for bar in figure["data"]))
    assert sum(bar["x"][0] for bar in figure["data"]) == pytest.approx(1, abs=1e-9 * scale)
    assert terms_of([one])[-1] == REST


def test_the_example_is_large_and_well_explained() -> None:
    plain = cell("ring", 8, 1.05, 1.0, 1.05, duplex=0.05)  # explained, but small
    dark = cell("chain", 8, 9.0, 1.0, 1.5, duplex=0.5)  # large, but unexplained
    best = cell("linear", 8, 2.1, 1.0, 2.05, duplex=1.05)
    found = example([plain, dark, best])
    assert found is not None
    assert (found.cell, found.term) == (best, "duplex")
    assert found.factor == pytest.approx(2.1)
    assert found.share == pytest.approx(1.05 / 1.1)
    assert example([plain, dark]) is None
    assert example([]) is None


def test_an_example_may_be_faster_than_theory() -> None:
    found = example([cell("ring", 8, 0.5, 1.0, 0.5, curve=-0.5)])
    assert found is not None
    assert (found.factor, found.term, found.share) == (0.5, "curve", 1)


def test_two_terms_that_cancel_are_no_plain_story() -> None:
    assert example([cell("ring", 8, 2.0, 1.0, 2.0, curve=3.0, duplex=-2.0)]) is None


def test_each_term_is_counted_where_it_is_the_largest() -> None:
    found = {row.term: row for row in totals([
        cell("ring", 8, 2.0, 1.0, 2.0, curve=0.9, duplex=0.1), cell("chain", 8, 2.0, 1.0, 2.0, curve=0.2, duplex=0.8),
        cell("linear", 8, 2.0, 1.0, 2.0, curve=0.1, duplex=0.9),
    ])}  # fmt: skip
    assert {name: row.largest for name, row in found.items()} == {"curve": 1, "duplex": 2, REST: 0}
    assert found["duplex"].effect == pytest.approx(0.8)


# --- plots of a profile ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [measurements.profile(2), measurements.rich_profile(4)])
def test_plotly_takes_every_plot_of_a_profile(profile: Profile) -> None:
    draw = ProfileFigures(Texts("pt"))
    for picture in (draw.messages, draw.residuals, draw.factors):
        figure = picture(profile)
        assert figure is not None
        go.Figure(figure)


def test_the_line_and_the_points_are_where_the_profile_has_them() -> None:
    profile = measurements.rich_profile(4)
    figure = ProfileFigures(Texts("en")).messages(profile)
    assert figure is not None
    line, curve, points = figure["data"]
    for size, seconds in zip(line["x"], line["y"], strict=True):
        assert seconds == pytest.approx(profile.alpha + profile.beta * size)
    assert list(zip(curve["x"], curve["y"], strict=True)) == [knot for knot in profile.curve if knot[0] > 0]
    assert points["y"] == [p.seconds for p in profile.points if p.pattern == "pingpong"]
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [65536]


def test_a_guess_has_nothing_to_plot() -> None:
    draw = ProfileFigures(Texts("en"))
    assert [draw.messages(Profile.default()), draw.residuals(Profile.default()), draw.factors(Profile.default())] == [
        None, None, None
    ]  # fmt: skip


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e4))
def test_an_even_axis_has_a_few_round_ticks_inside(low: float, width: float) -> None:
    axis = Plots(Texts("en")).even_axis("axis.misfit", (low, low + width), str)
    ticks = axis["tickvals"]
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in ticks)
