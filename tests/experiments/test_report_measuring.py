"""What `ciranda report` measures where, without measuring: real ranks have their test in test_report_page."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments import cli, places
from experiments.report import measuring
from experiments.report.measuring import LOCAL_RANKS, QUICK, USUAL, scale
from experiments.scaling import grounds


@dataclass
class Calls:
    """What was asked for, in order; ``up`` says whether the place is there."""

    scaled: list[tuple[Any, Path, Any, str]] = field(default_factory=list)
    trained: list[tuple[Any, Path, Any, str]] = field(default_factory=list)
    local: list[tuple[Path, Sequence[int]]] = field(default_factory=list)
    up: bool = False


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    seen = Calls()

    def run(request: Any, folder: Path, place: Any, *, reason: str, profile: Any, notify: Any) -> Any:
        assert profile is None
        assert seen.up
        assert notify is not None
        seen.scaled.append((request, folder, place, reason))
        return SimpleNamespace(records=[], stories=["one"], profile="calibrated")

    def compare(request: Any, folder: Path, profile: Any, *, place: Any, reason: str, notify: Any) -> Any:
        assert seen.up
        assert profile == "calibrated"
        assert notify is not None
        seen.trained.append((request, folder, place, reason))
        return SimpleNamespace(records=[])

    def measure(folder: Path, ranks: Sequence[int], _extent: Any, _mpi: str) -> list[str]:
        assert not seen.up
        seen.local.append((folder, ranks))
        return ["two"]

    monkeypatch.setattr(measuring, "run", run)
    monkeypatch.setattr(measuring, "compare", compare)
    monkeypatch.setattr(measuring, "measure", measure)
    return seen


def standing(monkeypatch: pytest.MonkeyPatch, calls: Calls, place: Any, notes: tuple[str, ...] = ()) -> None:
    @contextmanager
    def chosen(_on: str, _ranks: Sequence[int]) -> Generator[grounds.Ground]:
        calls.up = True
        yield grounds.Ground(place, "because", notes)
        calls.up = False

    monkeypatch.setattr(grounds, "chosen", chosen)


def test_beside_a_cluster_the_machine_itself_is_measured_when_the_cluster_is_gone(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = SimpleNamespace(name=places.Cluster.name, hosts=lambda: 4)
    standing(monkeypatch, calls, cluster)
    assert scale(tmp_path, (2, 4, 8), USUAL, "mpich", "auto") == ["one", "two"]
    ((request, folder, place, reason),) = calls.scaled
    assert (folder, place, reason) == (tmp_path, cluster, "because")
    assert (request.ranks, request.mpi, request.sizes) == ((2, 4), "mpich", USUAL.sizes)  # no host for 8 ranks
    assert calls.local == [(tmp_path / "local", LOCAL_RANKS)]
    ((request, *rest),) = calls.trained
    assert rest == [tmp_path, cluster, "because"]
    assert (request.ranks, request.mpi, request.time_limit) == ((2, 4), "mpich", USUAL.training)


def test_without_a_cluster_local_ranks_are_measured_once_and_the_reason_is_told(
    tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    standing(monkeypatch, calls, places.Local(), ("no cluster can be made here (no namespaces)",))
    assert scale(tmp_path, (2, 4, 8), USUAL, "openmpi", "auto") == ["one"]
    assert calls.scaled[0][0].ranks == (2, 4, 8)
    assert calls.local == []
    assert calls.trained[0][0].ranks == LOCAL_RANKS
    assert "ciranda: no cluster can be made here (no namespaces)\n" in capsys.readouterr().err


def test_the_default_leaves_time_for_the_set_up_within_five_minutes() -> None:
    # 80 s of set-up, 10 s of forecast, and some 25 s of a cluster, of starts and of the page.
    local = USUAL.local.time_limit + len(LOCAL_RANKS) * (USUAL.local.calibration + 3)
    assert 80 + USUAL.time_limit + USUAL.training + local + 10 + 25 <= 300
    assert QUICK.time_limit + 2 * QUICK.calibration <= 20


def test_a_profile_that_is_named_is_read_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(tmp_path / "report")
    assert cli.run(["report", "--output", place, "--profile", str(tmp_path / "none.json")]) == 2
    assert "no profile at" in capsys.readouterr().err
    assert cli.run(["report", "--output", place, "--profile", "4", "--quick"]) == 2
    assert "--profile is for a measurement of scaling" in capsys.readouterr().err
    assert not Path(place).exists()
