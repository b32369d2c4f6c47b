import json
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.errors import UsageFault
from experiments.records import Record
from experiments.report import what_if
from experiments.report.command import command
from experiments.report.comparison import Comparison, Side, compare, side
from tests import measurements

ALGORITHMS = ["ring", "circulant", "binomial", "recursive_doubling"]
SIZES = (8, 4096, 1048576)


def written(folder: Path, content: list[Record], seed: int, **known: object) -> Path:
    measurements.write(folder, content, environment={**measurements.ENVIRONMENT, **known})
    return measurements.with_samples(folder, content, seed=seed)


def slowed(content: list[Record], name: str, factor: float) -> list[Record]:
    def times(item: Record, name: str) -> float:
        return factor * (getattr(item, name) or 0.0)

    names = ("measured_seconds", "measured_low", "measured_high")
    return [
        replace(item, **{each: times(item, each) for each in names}) if item.algorithm == name else item
        for item in content
    ]


@pytest.fixture(scope="module")
def content() -> list[Record]:
    return measurements.records(ALGORITHMS, (2, 4), SIZES)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, content: list[Record]) -> tuple[Side, Side]:
    folder = tmp_path_factory.mktemp("sides")
    before = side(written(folder / "before", content, 1))
    return before, side(written(folder / "now", slowed(content, "ring", 1.5), 2))


def test_what_got_slower_is_found_and_nothing_else(sides: tuple[Side, Side]) -> None:
    found = compare(*sides)
    verdicts = {(change.algorithm, change.verdict) for change in found.changes}
    assert verdicts == {("ring", "slower"), *((name, "same") for name in [*ALGORITHMS[1:], "native"])}
    for change in found.changes:
        assert change.speed.value == pytest.approx(1 / 1.5 if change.algorithm == "ring" else 1, rel=0.03)
    assert found.total(native=False).slower == len(SIZES) * 2
    assert found.differences == []


def test_looking_from_the_other_side_turns_every_verdict(sides: tuple[Side, Side]) -> None:
    there, back = compare(*sides), compare(*reversed(sides))
    turned = {"slower": "faster", "faster": "slower", "same": "same", "untested": "untested"}
    for one, other in zip(there.changes, back.changes, strict=True):
        assert other.verdict == turned[one.verdict]
        assert other.speed.value == pytest.approx(1 / one.speed.value)
        assert other.p == pytest.approx(one.p)
    assert there.total(native=False).p == pytest.approx(back.total(native=False).p)


def test_nothing_differs_from_itself(sides: tuple[Side, Side]) -> None:
    found = compare(sides[0], sides[0])
    assert {change.verdict for change in found.changes} == {"same"}
    assert all(change.speed.value == 1 for change in found.changes)
    assert found.total(native=False).p == 1


def test_correcting_for_many_tests_never_makes_a_p_smaller(sides: tuple[Side, Side]) -> None:
    for change in compare(*sides).changes:
        assert change.p is not None
        assert change.adjusted is not None
        assert change.adjusted >= change.p


def test_chance_alone_is_seldom_called_a_change(tmp_path: Path) -> None:
    (one,) = [item for item in measurements.records(["ring"], (2,), (8,)) if not item.is_native]
    cells = [replace(one, nbytes=8 * (index + 1)) for index in range(40)]
    luck = [side(written(tmp_path / str(seed), cells, seed)) for seed in range(16)]
    found = [compare(before, now) for before, now in zip(luck[::2], luck[1::2], strict=True)]
    uncorrected = sum((change.p or 0.0) < 0.05 for each in found for change in each.changes)
    called = sum(change.verdict != "same" for each in found for change in each.changes)
    assert uncorrected >= 8  # of 320 tests, some sixteen
    assert called <= 2


def test_without_samples_there_is_an_interval_and_no_test(tmp_path: Path, content: list[Record]) -> None:
    before = side(measurements.write(tmp_path / "before", content))
    now = side(measurements.write(tmp_path / "now", slowed(content, "ring", 3.0)))
    for change in compare(before, now).changes:
        assert change.verdict == "untested"
        assert change.p is None
        assert change.speed.low is not None
        assert change.speed.high is not None
        assert change.speed.low < change.speed.value < change.speed.high


def test_what_else_differs_is_told(tmp_path: Path, content: list[Record]) -> None:
    before = side(written(tmp_path / "before", content, 1, cpu="Another", place="local", packages={"numpy": "1.0"}))
    there = {"place": "cluster", "place_facts": {"hosts": 8, "rate": 12.5e6}}
    now = side(written(tmp_path / "now", content, 2, **there))
    told = {difference.key: difference for difference in compare(before, now).differences}
    assert set(told) == {"cpu", "numpy", "mpi4py", "place"}
    assert told["place"].old == "local"
    assert told["place"].new.startswith("cluster, hosts 8")


def test_cells_of_one_side_only_are_counted(tmp_path: Path, content: list[Record]) -> None:
    few = [item for item in content if item.ranks == 2]
    found = compare(side(written(tmp_path / "a", content, 1)), side(written(tmp_path / "b", few, 2)))
    assert (found.only_old, found.only_new) == (len(content) - len(few), 0)
    assert len(found.changes) == len(few)


def test_a_comparison_comes_back_as_it_was_written(sides: tuple[Side, Side]) -> None:
    found = compare(*sides)
    assert Comparison.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
    for damage in ({"kind": "?"}, {"schema": 99}, {"changes": [{}]}):
        with pytest.raises(UsageFault, match="anew"):
            Comparison.from_json({**found.to_json(), **damage})


def test_a_report_against_an_earlier_one(
    tmp_path: Path, content: list[Record], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "LIMIT", 1)  # the forecast for many hosts has tests of its own
    old, new = tmp_path / "old", tmp_path / "new"
    command(output=old, data=written(tmp_path / "first", content, 1))
    command(output=new, data=written(tmp_path / "second", slowed(content, "ring", 1.5), 2), against=old)
    page = (new / "index.html").read_text(encoding="utf-8")
    assert 'id="against"' in page
    assert "▼" in page
    assert "data/comparison.json" in page
    assert "6 slower" in capsys.readouterr().out
    # Made again from the same data, the page says the same.
    command(output=new, data=new / "data", lang="pt")
    assert "▼" in (new / "index.html").read_text(encoding="utf-8")
    # The folder that is written may be the one to compare with.
    command(output=new, data=tmp_path / "first", against=new)
    assert "▲" in (new / "index.html").read_text(encoding="utf-8")


def test_what_is_no_report_is_refused_before_anything_is_done(tmp_path: Path, content: list[Record]) -> None:
    data = written(tmp_path / "data", content, 1)
    with pytest.raises(UsageFault, match="there is no"):
        command(output=tmp_path / "report", data=data, against=tmp_path / "nothing")
    broken = written(tmp_path / "broken", content, 1)
    with (broken / "samples.jsonl").open("a") as file:
        file.write("{}}\n")
    with pytest.raises(UsageFault, match=r"samples\.jsonl"):
        command(output=tmp_path / "report", data=data, against=broken)
    assert not (tmp_path / "report").exists()
