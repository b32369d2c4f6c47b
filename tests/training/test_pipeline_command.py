"""`ciranda pipeline`: findings, the drawing, refusals."""

from __future__ import annotations

import json

import pytest

from collectives import pipeline
from experiments import cli
from experiments.pipeline import lines


def test_findings_for_each_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["pipeline", "-n", "3", "--micro", "4", "--json"]) == 0
    gpipe, other = json.loads(capsys.readouterr().out)["records"]
    assert (gpipe["order"], gpipe["kept"], gpipe["hangs"]) == ("gpipe", [4, 4, 4], False)
    assert (other["order"], other["kept"], other["hangs"]) == ("1f1b", [3, 2, 1], True)
    for record in (gpipe, other):
        assert record["seconds"] == pytest.approx(18e-3)
        assert record["bubble"] == pytest.approx(record["theory_bubble"]) == pytest.approx(1 / 3)


def test_a_slow_stage_leaves_the_others_idle(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["pipeline", "gpipe", "-n", "2", "--micro", "4", "--slow", "1=2", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)["records"]
    assert record["bubble"] == pytest.approx(1 - (12 + 24) / (2 * 27))


def test_each_stage_is_a_line_of_its_passes() -> None:
    slots = pipeline.timeline(pipeline.one_forward_one_backward, 2, [1, 1], [2, 2])
    assert list(lines(slots, 19)) == ["stage 0  01··aa·bb", "stage 1  ·0aa1bb··"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["zigzag"], "no pipeline order is called 'zigzag'; known: gpipe, 1f1b"),
        (["gpipe", "-n", "2", "--slow", "2=3"], "there are stages 0 to 1"),
        (["gpipe", "--forward", "0s", "--backward", "0s"], "has no bubble"),
    ],
)
def test_what_cannot_be_is_told(words: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["pipeline", *words]) == 2
    assert fault in capsys.readouterr().err
