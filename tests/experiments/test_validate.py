"""`ciranda validate`: fits see the smallest scale only, and what is printed is what was computed."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from experiments import cli, published, records, validate, validation
from experiments.network import Costs
from experiments.published import Measurement, Series
from experiments.published.cloud import open_mpi
from experiments.published.fugaku import in_turn
from experiments.validation import Prediction

ROOT = Path(__file__).parents[2]
SERIES = published.every()
CHEAP = "deepbench-titanx-pascal"


def measured_by_the_model(series: Series, costs: Costs) -> Series:
    """``series`` as it would have been measured on its smallest scale, were the model true with ``costs``."""
    smallest = [one for one in series.comparable if one.scale == series.on_which_fitted]
    true = {id(one.measurement): one.simulated for one in validation.predict(series, costs, smallest)}
    return replace(
        series,
        measurements=tuple(replace(one, seconds=true.get(id(one), one.seconds)) for one in series.measurements),
    )


def predicted(seconds: float, simulated: float, theory: float, name: str = "ring", nbytes: int = 8) -> Prediction:
    return Prediction(Measurement("4 nodes", 4, nbytes, seconds, name, (name,)), name, simulated, theory, 0.0, True)


@pytest.mark.parametrize(
    ("name", "costs"),
    [("fugaku-mpi", Costs(3e-6, 2e-10, 5e-11)), (CHEAP, Costs(2e-5, 1e-10, SERIES[CHEAP].known.gamma))],
)
def test_a_fit_recovers_the_costs_behind_measurements(name: str, costs: Costs) -> None:
    found = validation.fit(measured_by_the_model(SERIES[name], costs))
    assert found.alpha == pytest.approx(costs.alpha, rel=1e-3)
    assert found.beta == pytest.approx(costs.beta, rel=1e-3)
    assert found.gamma == pytest.approx(costs.gamma, rel=1e-2)


def test_one_wild_measurement_does_not_spoil_a_fit() -> None:
    costs = Costs(2e-5, 1e-10, SERIES[CHEAP].known.gamma)
    true = measured_by_the_model(SERIES[CHEAP], costs)
    first = next(one for one in true.measurements if one.scale == true.on_which_fitted and one.nbytes > 1 << 26)
    wild = tuple(replace(one, seconds=one.seconds * 3) if one is first else one for one in true.measurements)
    found = validation.fit(replace(true, measurements=wild))
    assert found.beta == pytest.approx(costs.beta, rel=0.05)


def test_predictions_do_not_see_what_was_measured_at_larger_scales() -> None:
    series = SERIES[CHEAP]
    changed = replace(
        series,
        measurements=tuple(
            one if one.scale == series.on_which_fitted else replace(one, seconds=one.seconds * 7)
            for one in series.measurements
        ),
    )
    before, after = validate.validated(series), validate.validated(changed)
    assert before.costs == after.costs
    assert [one.simulated for one in before.predictions] == [one.simulated for one in after.predictions]
    assert [one.theory for one in before.predictions] == [one.theory for one in after.predictions]
    assert all(
        after.error == pytest.approx((before.error + 1) / 7 - 1)
        for before, after in zip(before.blind, after.blind, strict=True)
    )


def test_a_changed_measurement_of_the_smallest_scale_changes_the_fit() -> None:
    series = SERIES[CHEAP]
    slower = tuple(replace(one, seconds=one.seconds * 2) for one in series.measurements)
    assert validation.fit(replace(series, measurements=slower)).beta > 1.5 * validation.fit(series).beta


def test_costs_that_are_known_are_not_fitted() -> None:
    series = SERIES["cloud-aws-eks-gpu"]
    assert validation.fit(series) == series.known
    assert all(one.blind for one in validation.predict(series, series.known))


def test_errors_by_scale_and_size_are_as_by_hand() -> None:
    # errors: +100 %, -50 % and +10 % for small vectors, 0 for the long one
    runs = [predicted(1.0, 2.0, 1.0), predicted(1.0, 0.5, 1.0), predicted(1.0, 1.1, 2.0), predicted(1.0, 1.0, 3.0)]
    runs[3] = replace(runs[3], measurement=replace(runs[3].measurement, nbytes=1 << 30))
    small, long = validation.shares(runs)
    assert (small.sizes, small.count, small.median, small.theory_median) == ("to 4 KiB", 3, 0.5, 0.0)
    assert small.worst is runs[0]
    assert (long.sizes, long.count, long.median, long.theory_median) == ("above", 1, 0.0, 2.0)


def test_the_order_of_algorithms_is_counted_pair_by_pair() -> None:
    # measured: a < b < c. The simulator says b < a < c: one of three pairs is wrong. Theory says c < b < a.
    runs = [predicted(1.0, 2.0, 9.0, "a"), predicted(2.0, 1.5, 8.0, "b"), predicted(3.0, 3.0, 7.0, "c")]
    alone = predicted(1.0, 5.0, 5.0, "a", nbytes=16)
    found = validation.order([*runs, alone])
    assert (found.pairs, found.right, found.theory_right) == (3, 2, 0)
    assert found.tau == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", ["fugaku", "deepbench", "cloud"])
def test_every_published_row_is_used_or_the_reason_is_given(name: str) -> None:
    text = (ROOT / "experiments" / "published" / f"{name}.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    series = [one for one in SERIES.values() if one.name.startswith(name)]
    published_rows = [row for row in rows if row.get("benchmark", "osu_allreduce") == "osu_allreduce"]
    assert sum(len(one.measurements) for one in series) == len(published_rows)
    for one in series:
        silent = {run.theirs for run in one.measurements if not run.ours} - one.absent.keys()
        assert not silent


def test_seconds_are_the_published_microseconds() -> None:
    (run,) = (
        one
        for one in SERIES["fugaku-mpi"].measurements
        if (one.scale, one.theirs, one.nbytes) == ("8x8x8", "default-ring", 536_870_912)
    )
    assert (run.ranks, run.ours, run.seconds) == (512, ("ring",), pytest.approx(0.432427309))


def test_a_ring_with_fewer_elements_than_ranks_is_recursive_doubling() -> None:
    chosen = {
        one.nbytes: one.ours
        for one in SERIES["fugaku-mpi"].measurements
        if one.scale == "8x8x8" and one.theirs == "default-ring"
    }
    assert chosen[256] == ("recursive_doubling",)  # 64 elements for 512 ranks
    assert chosen[2048] == ("ring",)  # 512 elements


def test_dimensions_are_taken_in_turn() -> None:
    # 4x4, hosts row by row: bits 0 and 2 of a rank move in the first dimension, bits 1 and 3 in the second
    assert in_turn((4, 4)) == [0, 4, 1, 5, 8, 12, 9, 13, 2, 6, 3, 7, 10, 14, 11, 15]
    assert sorted(in_turn((2, 8, 4))) == list(range(64))


@pytest.mark.parametrize(
    ("ranks", "nbytes", "algorithm"),
    [
        (32, 8, "recursive_doubling"),
        (32, 512, "halving_doubling"),
        (64, 65_536, "recursive_doubling"),
        (1792, 512, "binomial"),
        (1792, 4096, "recursive_doubling"),
        (3072, 16_384, "halving_doubling"),
        (14_336, 16_384, "recursive_doubling"),
        (24_576, 65_536, "halving_doubling"),
    ],
)
def test_open_mpi_s_rules(ranks: int, nbytes: int, algorithm: str) -> None:
    assert open_mpi(ranks, nbytes) == algorithm


def test_the_table_shows_the_errors_of_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["validate", CHEAP, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    found, environment = records.read_document(content)
    assert environment["series"][CHEAP]["fitted_on"] == "2 GPUs"
    assert all(record.measured_seconds and record.simulated_seconds and record.theory_seconds for record in found)
    blind = [record for record in found if record.ranks > 2]
    errors = [abs((one.simulated_seconds or 0) / (one.measured_seconds or 1) - 1) for one in blind]
    theory = [abs((one.theory_seconds or 0) / (one.measured_seconds or 1) - 1) for one in blind]

    assert cli.run(["validate", CHEAP]) == 0
    lines = capsys.readouterr().out.splitlines()
    (summary,) = (line.split() for line in lines if line.split()[:1] == [CHEAP])
    assert summary[1:4] == [str(len(blind)), f"{median(errors):.0%}", f"{median(theory):.0%}"]
    long = [
        error for record, error in zip(blind, errors, strict=True) if record.ranks == 32 and record.nbytes > 1 << 20
    ]
    (row,) = (line for line in lines if "32 GPUs" in line and "above" in line)
    assert f"{len(long)} {median(long):>6.0%}".split() == row.split()[6:8]
    assert all(len(line) <= 80 for line in lines)


def documented() -> dict[str, list[str]]:
    """The table of docs/simulator.md by series."""
    section = (ROOT / "docs" / "simulator.md").read_text("utf-8").partition("## Against the world")[2]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "| `" in line]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_every_series_is_documented() -> None:
    assert documented().keys() == SERIES.keys()


@pytest.mark.parametrize("name", [name for name, series in SERIES.items() if series.comparable[-1].ranks <= 256])
def test_the_documented_figures_are_computed_anew(name: str) -> None:
    assert validate.summary(validate.validated(SERIES[name]))[1:] == documented()[name]


def test_what_is_missing_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["validate", "deepbench-m40", "deepbench-titanx"]) == 0
    counted = Counter(line for line in capsys.readouterr().out.splitlines() if line.startswith("- missing"))
    assert counted
    assert set(counted.values()) == {1}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["fugaku"], "no published series is called 'fugaku'; known: fugaku-mpi"),
        (["cloud-google-gke-cpu", "--max-ranks", "100"], "its smallest blind scale has 1792 ranks"),
    ],
)
def test_bad_use_is_told_in_one_line(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["validate", *arguments]) == cli.BAD_USE
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
