"""The report's section on training, from invented records."""

import json
import re
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from experiments.report import folder, page, what_if
from experiments.report.command import command
from experiments.report.results import load
from experiments.report.sections import training
from experiments.report.texts import Texts
from experiments.training.comparison import records
from experiments.training.comparison.records import Trained
from tests import measurements, training_records

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&{{7*7}}"


def rendered(place: Path, trained: Trained | None, language: str = "en") -> str:
    results = load(measurements.write(place, measurements.records(["ring"], (2,), (8, 4096))))
    return page.render(results, Texts(language), [], ("a", "b"), page.Extras(training=trained))


def section(html: str) -> str:
    found = html[html.index('<section id="training">') :]
    return found[: found.index("</section>")]


@pytest.mark.parametrize("language", ["en", "pt"])
def test_every_contestant_and_every_error_is_printed(tmp_path: Path, language: str) -> None:
    trained, say = training_records.trained((2, 4)), Texts(language)
    part = section(rendered(tmp_path, trained, language))
    number = say.numbers
    for record in trained.records:
        assert str(number.seconds(record.measured_seconds)) in part
        assert escape(number.percent(record.error(record.simulated_seconds))) in part
    tables = re.findall(r'data-when="trained" data-value="(\d)".*?</table>', part, re.DOTALL)
    assert tables == ["2", "4"]
    for row in trained.findings["errors"]:
        assert f"<td>{number.percent(row['median'])}</td>" in part
    assert ("one rank alone" in part) == (language == "en")
    assert not re.search(r"\d[.,]\d{4,}|\de[-+]\d|\bnan\b|None|Undefined", part)


def test_plotly_takes_every_plot_and_models_stand_beside_what_was_measured() -> None:
    trained = training_records.trained((2, 4, 8))
    found = training.figures(trained, Texts("en"))
    for forms in found.values():
        for figure in forms.values():
            go.Figure(figure)
    assert set(found) == {f"training_{name}" for name in ("steps", "servers", "accuracy", "efficiency", "staleness")}
    computing, exposed, simulated, theory = found["training_steps"]["8"]["data"]
    here = [record for record in reversed(trained.records) if record.ranks == 8]
    assert [a + b for a, b in zip(computing["x"], exposed["x"], strict=True)] == pytest.approx(
        [record.measured_seconds for record in here]
    )
    assert simulated["x"] == [record.simulated_seconds for record in here]
    assert theory["x"] == [record.theory_seconds for record in here]
    shares = found["training_staleness"]["8"]["data"]
    assert all(sum(line["y"]) == pytest.approx(1) for line in shares)


def test_what_was_not_measured_makes_no_section_and_what_has_no_prediction_a_dash(tmp_path: Path) -> None:
    assert 'id="training"' not in rendered(tmp_path / "none", None)
    trained = training_records.trained((2,))
    blank = [replace(one, measured_seconds=None) for one in trained.records]
    assert 'id="training"' not in rendered(tmp_path / "blank", Trained(blank, {}, {}))
    bare = [
        replace(one, simulated_seconds=None, theory_seconds=None, target_seconds=None, sent_bytes=None, staleness=(),
                efficiency=None, throughput=None, curve=(), measured_low=None, exposed_seconds=None)
        for one in trained.records
    ]  # fmt: skip
    html = rendered(tmp_path / "bare", Trained(bare, {"place": "local"}, {}))
    assert "There was no emulated cluster" in section(html)
    assert "<td>–</td>" in section(html)


def test_hostile_labels_stay_text(tmp_path: Path) -> None:
    trained = training_records.trained((2,))
    nasty = [replace(one, algorithm=HOSTILE if one.algorithm else "", model=HOSTILE) for one in trained.records]
    html = rendered(tmp_path, trained._replace(records=nasty))
    assert "<img" not in html
    assert html.count("<script") == rendered(tmp_path / "plain", trained).count("<script")
    hovers: Any = json.loads(re.findall(r'id="hovers">(.*?)</script>', html, re.DOTALL)[0])
    assert not [text for text in hovers if re.search(r"<(?!/?b>|br>)", text)]


def test_the_files_of_training_go_along_with_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(what_if, "LIMIT", 1)
    data = measurements.write(tmp_path / "stored", measurements.records(["ring"], (2,), (8, 64)))
    records.write(data, training_records.trained((2,)))
    (data / records.STEPS_FILE).write_text("{}\n", encoding="utf-8")
    command(output=tmp_path / "report", data=data)
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert 'href="#training"' in html
    assert f'href="data/{records.FILE}"' in html
    for name in (records.FILE, records.STEPS_FILE):
        assert (tmp_path / "report" / "data" / name).read_bytes() == (data / name).read_bytes()
    folder.replace(measurements.write(tmp_path / "other", measurements.records(["ring"], (2,), (8,))), data)
    assert records.read(data) is None
