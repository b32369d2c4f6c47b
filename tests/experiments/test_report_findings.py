import math
from dataclasses import replace
from pathlib import Path
from statistics import median

import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from experiments.report.figures import Figures
from experiments.report.findings import accuracy, contests, landmarks
from experiments.report.palette import palette
from experiments.report.reasons import fits, reasons
from experiments.report.results import MODELS, Cell, Model, load
from experiments.report.texts import Texts
from tests import measurements

ALGORITHMS = catalogue.names("allreduce")
TERMS = {"call", "message", "data"}

times = st.floats(1e-7, 10.0)


@st.composite
def cells(draw: st.DrawFn) -> list[Cell]:
    """Any measurements at all: every algorithm at some sizes and rank counts, and the native library."""
    found: list[Cell] = []
    for ranks in draw(st.sets(st.integers(2, 9), min_size=1, max_size=3)):
        for nbytes in draw(st.sets(st.integers(1, 2**30), min_size=1, max_size=3)):
            for name in [*draw(st.sets(st.sampled_from(ALGORITHMS), min_size=1)), "native"]:
                seconds, theory = draw(times), draw(times)
                known = name != "native"
                found.append(
                    Cell(
                        name, not known, ranks, nbytes, seconds, seconds * draw(st.floats(0.5, 1.0)),
                        seconds * draw(st.floats(1.0, 2.0)), theory if known else None, draw(times) if known else None,
                        theory / 2, nbytes / seconds, (1.0, 0.9, 1.1) if known else None, ranks > 2, True, 10,
                    )
                )  # fmt: skip
    return found


def predicted(cell: Cell, model: Model) -> float:
    seconds = cell.predicted(model)
    assert seconds is not None
    return seconds


@given(cells())
def test_the_winner_is_the_fastest_and_trusting_a_model_never_beats_it(measured: list[Cell]) -> None:
    for contest in contests(measured):
        here = [c for c in measured if (c.ranks, c.nbytes) == (contest.ranks, contest.nbytes) and not c.native]
        assert contest.winner.seconds == min(cell.seconds for cell in here)
        assert contest.rivals == len(here) - 1
        assert {c.algorithm for c in contest.tied} == {
            c.algorithm for c in here if c is not contest.winner and c.low <= contest.winner.high
        }
        for model in MODELS:
            regret, least = contest.regret(model), min(predicted(cell, model) for cell in here)
            assert regret is not None
            assert regret >= 1
            assert contest.right(model) == (regret <= 1.05)
            assert contest.picks[model]
            assert all(predicted(cell, model) <= least * 1.0011 for cell in contest.picks[model])


@given(cells(), st.floats(1e-3, 1e3))
def test_errors_do_not_depend_on_the_unit_of_time(measured: list[Cell], unit: float) -> None:
    other = [
        replace(c, seconds=c.seconds * unit, theory=c.theory and c.theory * unit, simulated=c.simulated)
        for c in measured
    ]
    assert accuracy(measured, "").theory == pytest.approx(accuracy(other, "").theory)
    assert accuracy(measured, "").factor == pytest.approx(accuracy(other, "").factor)


@given(cells())
def test_the_error_is_the_median_over_our_algorithms(measured: list[Cell]) -> None:
    errors = [abs(c.theory - c.seconds) / c.seconds for c in measured if c.theory is not None]
    whole = accuracy(measured, "")
    assert whole.theory == pytest.approx(median(errors))
    assert whole.worst == pytest.approx(max(errors))
    assert whole.cells == len(errors)


@given(st.sets(st.integers(1, 2**40)))
def test_landmarks_are_the_ends_and_one_between(sizes: set[int]) -> None:
    marks = landmarks(sizes)
    assert set(marks) <= sizes
    assert marks == sorted(marks)
    assert len(marks) == min(3, len(sizes))
    assert not sizes or (marks[0], marks[-1]) == (min(sizes), max(sizes))


@pytest.fixture
def from_costs(tmp_path: Path):
    """Cells whose times are exactly the closed form's at the given costs, beside theory at the profile's own."""

    def make(call: float, message: float, byte: float, reduced: float) -> tuple[list[Cell], dict]:
        found = []
        for name in ALGORITHMS:
            for nbytes in measurements.SIZES:
                seconds = call + catalogue.get(name).cost(8).seconds(nbytes, message, byte, reduced)
                found.append(measurements.record(name, 8, nbytes, seconds, None))
        results = load(measurements.write(tmp_path, found))
        return list(results.cells), dict(results.profiles)

    return make


def test_the_fit_finds_the_costs_that_made_the_times(from_costs) -> None:
    found, profiles = from_costs(9e-5, 1.2e-4, 1.2e-9, 2.4e-10)
    (fit,) = fits(found, profiles)
    for value, true in ((fit.call, 9e-5), (fit.message, 1.2e-4), (fit.data, 3)):
        assert value == pytest.approx(true, rel=1e-3)
    assert fit.error < 1e-3 < 0.5 < fit.theory_error
    said = {reason.key: reason.values[0] for reason in reasons(found, [fit])}
    assert said.keys() >= TERMS
    assert said["message"]["factor"] == pytest.approx(3, rel=1e-3)
    assert said["direction"]["share"] == 1


def test_nothing_is_blamed_where_theory_is_right(from_costs) -> None:
    profile = measurements.profile(8, crowded=True)
    found, profiles = from_costs(0.0, profile.alpha, profile.beta, profile.gamma)
    fitted = fits(found, profiles)
    assert not {reason.key for reason in reasons(found, fitted)} & TERMS
    assert fitted[0].error < 1e-3
    assert fitted[0].theory_error < 1e-6


def test_a_guessed_profile_explains_nothing(from_costs) -> None:
    found, profiles = from_costs(9e-5, 1.2e-4, 1.2e-9, 2.4e-10)
    assert fits(found, {8: replace(profiles[8], measured=False)}) == []
    assert fits(found, {}) == []


def test_crowding_is_named_only_where_it_shows() -> None:
    def cell(ranks: int, factor: float) -> Cell:
        return Cell("ring", False, ranks, 8, factor, factor, factor, 1.0, 1.0, 0.5, 8.0, None, ranks > 2, True, 9)

    assert "crowding_matters" in {reason.key for reason in reasons([cell(2, 1.5), cell(4, 3.0)], [])}
    assert "crowding_small" in {reason.key for reason in reasons([cell(2, 1.5), cell(4, 1.6)], [])}
    assert not {"crowding_matters", "crowding_small"} & {reason.key for reason in reasons([cell(4, 3.0)], [])}


@settings(max_examples=25)
@given(cells(), st.sampled_from(["en", "pt"]))
def test_plotly_takes_every_figure_and_whiskers_end_at_the_interval(measured: list[Cell], language: str) -> None:
    draw = Figures(measured, palette(cell.algorithm for cell in measured), Texts(language))
    ranks, size = measured[0].ranks, measured[0].nbytes
    figures = [draw.latency(ranks), draw.bandwidth(ranks), draw.scaling(size), draw.accuracy("theory")]
    for figure in figures:
        go.Figure(figure)  # raises ValueError for a property or a value that Plotly does not have
        for axis in (figure["layout"]["xaxis"], figure["layout"]["yaxis"]):
            assert axis["tickvals"]
            assert all(math.isfinite(end) for end in axis["range"])
    for figure, up in ((figures[0], _seconds), (figures[1], _bus)):
        for trace in figure["data"]:
            name = trace["meta"]["algorithm"]
            here = sorted((c for c in measured if (c.algorithm, c.ranks) == (name, ranks)), key=lambda c: c.nbytes)
            whiskers = trace.get("error_y", {"array": [], "arrayminus": []})
            ends = [sorted((up(cell, cell.low), up(cell, cell.high))) for cell in here]
            tops = [height + over for height, over in zip(trace["y"], whiskers["array"], strict=bool(here))]
            feet = [height - under for height, under in zip(trace["y"], whiskers["arrayminus"], strict=bool(here))]
            assert tops == pytest.approx([high for _, high in ends], rel=1e-6)
            assert feet == pytest.approx([low for low, _ in ends], rel=1e-6)


def _seconds(_: Cell, seconds: float) -> float:
    return seconds


def _bus(cell: Cell, seconds: float) -> float:
    return cell.nbytes / seconds * 2 * (cell.ranks - 1) / cell.ranks
