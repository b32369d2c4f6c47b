"""Calibration: the fit finds the costs that made the samples, the traffic is what it says, and real ranks agree."""

import json
import os
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives.profile import Profile, interpolated
from collectives.schedule import Recv, Send
from experiments import cli, launch, residuals
from experiments.calibrate import calibrate, usual_name
from experiments.probing import DTYPES, MESSAGE_SIZES, REDUCTION_SIZES
from experiments.probing.pairs import ALL_PAIRS, chosen, crossing, matchings, seated
from experiments.probing.sizes import Budget, crowds
from experiments.profiles import fitted
from experiments.traffic import Exchange, PingPong, Stream, partner

MPI = os.environ.get("CIRANDA_TEST_MPI", "openmpi")
ALPHA, BETA, GAMMA, OVERHEAD, PER_BYTE = 3e-6, 2e-10, 1e-10, 6e-7, 1e-10
EAGER, LATE = 65_456, 1e-4
TOGETHER = (1 << 14, 1 << 18, 1 << 22)
BURSTS = (8, 16_384, 32_768)


def one_way(size: float, crowd: int = 4) -> float:
    """A leap beyond the eager limit, and everything slower by a quarter of the ranks at work."""
    return (ALPHA * (1 if size <= EAGER else 3) + BETA * size) * crowd / 4


def made_up(groups: list[int], *, cross: float = 1.0, trunk: float | None = None) -> dict[str, Any]:
    random = np.random.default_rng(11)

    def noisy(seconds: float, spread: float = 0.01) -> list[float]:
        return (seconds * random.lognormal(0, spread, 20)).tolist()

    def crowd(ranks: int) -> dict[str, Any]:
        wagons = 10
        found = {
            "pingpong": [noisy(one_way(size, ranks)) for size in MESSAGE_SIZES],
            "exchange": [noisy(2 * one_way(size, ranks)) for size in MESSAGE_SIZES],
            "stream": [noisy(one_way(size, ranks) * (1 + (wagons - 1) / 2) / wagons) for size in MESSAGE_SIZES],
            "effort": [noisy(OVERHEAD + PER_BYTE * size) for size in BURSTS],
            "start": [noisy(2 * one_way(8, ranks) + LATE)],
        }
        sizes: dict[str, Any] = dict.fromkeys(("pingpong", "exchange", "stream"), MESSAGE_SIZES) | {
            "effort": BURSTS,
            "start": (8,),
        }
        if ranks == len(groups):
            found["reduction"] = [noisy(GAMMA * size) for size in TOGETHER]
            found |= {dtype: [noisy(GAMMA * size) for size in REDUCTION_SIZES] for dtype in DTYPES}
            sizes |= {"reduction": TOGETHER} | dict.fromkeys(DTYPES, REDUCTION_SIZES)
        return {"sizes": sizes, "samples": found, "wagons": [wagons] * len(MESSAGE_SIZES)}

    pairs = chosen(len(groups))
    far = [cross if groups[low] != groups[high] else 1.0 for low, high in pairs]
    topology = {
        "pairs": pairs, "typical": 1 << 20,
        "small": [noisy(ALPHA * factor) for factor in far],
        "large": [noisy(ALPHA * factor + BETA * factor * (1 << 20)) for factor in far],
        "company": [], "groups": groups,
        "trunk": trunk and {"pairs": crossing(groups), "rate": trunk},
    }  # fmt: skip
    samples = {"calls": "made up", "crowds": {str(ranks): crowd(ranks) for ranks in crowds(len(groups))},
               "eager": EAGER, "cores": 2, "waiting": "yields", "topology": topology}  # fmt: skip
    job = {"ranks": len(groups), "library": "Open MPI 5.0.11", "oversubscribed": True}
    return json.loads(json.dumps({"samples": samples, "job": job}))


def test_the_fit_finds_what_made_the_samples() -> None:
    profile = fitted(made_up([0] * 4))
    truth = {"alpha": ALPHA, "beta": BETA, "gamma": GAMMA, "overhead": OVERHEAD, "overhead_per_byte": PER_BYTE}
    for name, value in truth.items():
        loose = 0.5 if name == "alpha" else 0.1  # one line through a leap
        assert getattr(profile, name) == pytest.approx(value, rel=loose)
    for name, (low, high) in profile.intervals.items():
        assert low <= getattr(profile, name) * 1.02
        assert high >= getattr(profile, name) * 0.98
    assert {"alpha", "beta", "gamma", "overhead"} == set(profile.intervals)
    assert (profile.ranks, profile.oversubscribed, profile.library) == (4, True, "Open MPI 5.0.11")
    assert (profile.eager, profile.cores, profile.waiting) == (EAGER, 2, "yields")
    assert EAGER + 1 in profile.changes
    assert profile.start == pytest.approx(LATE, rel=0.05)
    for size in (8, 4096, EAGER, EAGER + 1, 1 << 18, 1 << 22):
        assert profile.one_way(size) == pytest.approx(one_way(size), rel=0.04)
    assert [size for size, _ in profile.duplex] == list(MESSAGE_SIZES)
    assert all(factor == pytest.approx(2, rel=0.05) for _, factor in profile.duplex)
    assert all(factor == pytest.approx(0.5, rel=0.15) for _, factor in profile.streams)
    assert all(rate == pytest.approx(GAMMA, rel=0.05) for points in profile.reductions.values() for _, rate in points)
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_the_points_show_how_far_the_fits_are_from_what_was_measured() -> None:
    profile = fitted(made_up([0] * 4))
    curves = {pattern: [p.curve_residual for p in profile.points if p.pattern == pattern]
              for pattern in ("pingpong", "exchange", "stream")}  # fmt: skip
    assert all(residual is not None and abs(residual) < 0.06 for residual in curves["pingpong"] + curves["exchange"])
    lines = [p.residual for p in profile.points if p.pattern == "pingpong"]
    assert max(map(abs, lines)) > 0.15, "a straight line cannot leap"


def test_fewer_ranks_at_work_cost_what_they_did() -> None:
    profile = fitted(made_up([0] * 4))
    assert [part.ranks for part in profile.crowd] == [2, 4]
    for ranks in (2, 3, 4):
        assert profile.at(ranks).one_way(1 << 20) == pytest.approx(one_way(1 << 20, ranks), rel=0.05)
    assert profile.at(4).duplex == profile.duplex


def test_two_racks_show_in_classes_and_in_what_they_share() -> None:
    racks = [0, 0, 0, 0, 1, 1, 1, 1]
    declared = {"name": "cluster", "topology": "two-racks", "hosts": 8, "racks": racks}
    profile = fitted(made_up(racks, cross=3.0, trunk=1.3 / BETA), declared)
    near, far = profile.classes
    assert (near.name, near.pairs, far.name, far.pairs) == ("near", 12, "far", 16)
    assert near.beta == pytest.approx(BETA, rel=0.05)
    assert far.beta == pytest.approx(3 * BETA, rel=0.05)
    assert far.intervals["alpha"][0] <= far.alpha <= far.intervals["alpha"][1]
    assert profile.trunk == 0, "four pairs that have a third of a link each get what they have alone"
    assert (profile.groups, profile.declared, profile.agrees) == (tuple(racks), "two-racks", True)
    assert fitted(made_up(racks, trunk=1 / BETA)).trunk == 1 / BETA
    assert fitted(made_up([0] * 8), declared).agrees is False
    assert fitted(made_up([0] * 8), {"topology": "star", "hosts": 8}).agrees is True
    assert fitted(made_up([0] * 8)).agrees is None
    assert usual_name(profile) == "cluster-8"
    assert usual_name(fitted(made_up([0] * 8))) == "8"


PATTERNS = st.sampled_from([PingPong, Exchange, Stream])


@given(st.integers(2, 20), st.integers(1, 6), PATTERNS, st.data())
def test_traffic_obeys_the_laws_of_schedules(
    size: int, messages: int, kind: type[PingPong | Exchange | Stream], data: st.DataObject
) -> None:
    named = data.draw(st.none() | st.sampled_from(matchings(size)))
    pattern = kind(messages, named)
    rounds = [list(pattern.rounds(rank, size)) for rank in range(size)]
    assert {len(own) for own in rounds} == {2 * messages if kind is Stream else messages}
    pairs = size // 2 if named is None else len(named)
    for index in range(len(rounds[0])):
        sends = {
            (rank, op.dest, op.chunks) for rank in range(size) for op in rounds[rank][index] if isinstance(op, Send)
        }
        receives = {
            (op.source, rank, op.chunks) for rank in range(size) for op in rounds[rank][index] if isinstance(op, Recv)
        }
        assert sends == receives
        # Every pair is at work in every round: two messages each for the exchange, one for the others.
        assert len(sends) == pairs * (2 if kind is Exchange else 1)
    if kind is Stream:
        assert list(Stream(messages, named, back=False).rounds(0, size)) == rounds[0][:messages]


@given(st.integers(2, 33))
def test_in_the_matchings_every_pair_meets_once(size: int) -> None:
    rounds = matchings(size)
    assert sorted(pair for pairs in rounds for pair in pairs) == list(combinations(range(size), 2))
    for pairs in rounds:
        ranks = [rank for pair in pairs for rank in pair]
        assert len(set(ranks)) == len(ranks)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=16))
def test_partners_are_near_each_other_where_that_can_be(ranks: list[tuple[int, int]]) -> None:
    hosts, groups = [host for host, _ in ranks], [group for _, group in ranks]
    seats = seated(range(len(ranks)), hosts, groups)
    assert sorted(seats) == list(range(len(ranks)))
    half = len(ranks) // 2
    pairs = list(zip(seats[:half], seats[half:], strict=False))
    across = sum(groups[first] != groups[second] for first, second in pairs)
    assert across <= sum(groups.count(group) % 2 for group in set(groups)) // 2


def test_two_racks_of_hosts_with_two_ranks_each_are_paired_within_a_rack_and_between_hosts() -> None:
    hosts, groups = [0, 1, 2, 3, 0, 1, 2, 3], [0, 0, 1, 1, 0, 0, 1, 1]
    seats = seated(range(8), hosts, groups)
    for first, second in zip(seats[:4], seats[4:], strict=True):
        assert groups[first] == groups[second]
        assert hosts[first] != hosts[second]


@given(st.integers(2, 100))
def test_every_rank_has_a_measured_pair_and_few_ranks_have_all(size: int) -> None:
    pairs = chosen(size)
    assert len(set(pairs)) == len(pairs)
    assert all(low < high for low, high in pairs)
    assert {rank for pair in pairs for rank in pair} == set(range(size))
    assert len(pairs) == (size * (size - 1) // 2 if size <= ALL_PAIRS else max(28, size))


@given(st.floats(1e-5, 1.0), st.floats(1e-11, 1e-5))
def test_a_slow_network_is_asked_less(limit: float, beta: float) -> None:
    budget = Budget(limit, MESSAGE_SIZES, tuple(1e-6 + beta * size for size in MESSAGE_SIZES))
    assert set(budget.crowded()) <= set(budget.trains()) <= set(budget.single()) <= set(MESSAGE_SIZES)
    assert 65536 in budget.crowded()
    assert budget.typical() in budget.single()
    assert all(size <= 65536 or budget.one(size) <= limit / 120 for size in budget.single())


@given(st.integers(2, 200))
def test_crowds_double_up_to_all(ranks: int) -> None:
    first, *others = crowds(ranks)
    assert first == ranks
    assert others == [2**power for power in range(1, 10) if 2**power < ranks]


@given(st.integers(2, 100))
def test_partners_are_mutual(size: int) -> None:
    pairs = [partner(rank, size) for rank in range(size)]
    assert sum(other is None for other in pairs) == size % 2
    assert all(pairs[other] == rank for rank, other in enumerate(pairs) if other is not None)


@pytest.mark.timeout(200)
def test_real_ranks() -> None:
    ranks = 3
    profile = calibrate(ranks, mpi=MPI, time_limit=1.0)
    assert profile.ranks == ranks
    assert profile.oversubscribed == launch.oversubscribed(ranks)
    assert profile.cores == launch.cores()
    # From a fast cache to a slow or very busy machine.
    assert 1e-7 < profile.alpha < 1e-1
    assert 1e-12 < profile.beta < 1e-6
    assert 1e-12 < profile.gamma < 1e-6
    assert 1e-8 < profile.overhead < 1e-1
    assert all(point.seconds > 0 and point.samples >= 2 for point in profile.points)
    assert {point.pattern for point in profile.points} == {"pingpong", "exchange", "stream", "reduction"}
    assert [part.ranks for part in profile.crowd] == sorted(crowds(ranks))
    assert [(pair.source, pair.dest) for pair in profile.pairs] == chosen(ranks)
    assert profile.groups == (0,) * ranks
    assert interpolated(profile.curve, 8) > 0
    assert set(profile.reductions) == set(DTYPES)
    assert profile.environment["place"]["name"] == "local"


@pytest.mark.timeout(120)
def test_the_command_saves_where_the_others_look_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("CIRANDA_PROFILE", raising=False)
    plots = tmp_path / "plots"
    assert cli.run(["calibrate", "-n", "2", "--time-limit", "1s", "--mpi", MPI, "--plots", str(plots)]) == 0
    profile = Profile.find(2)
    assert profile.measured
    shown = capsys.readouterr().out
    assert "seconds per reduced byte" in shown
    assert "residual" in shown
    assert str(tmp_path / "ciranda" / "profile-2.json") in shown.replace("\n", "")
    assert sorted(path.name for path in plots.iterdir()) == ["2-messages.svg", "2-reductions.svg"]
    assert cli.run(["simulate", "ring", "-n", "4", "--profile", "2"]) == 0


def test_the_same_profile_gives_the_same_pictures(tmp_path: Path) -> None:
    profile = fitted(made_up([0] * 4))
    first, second = (residuals.draw(profile, tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    for path in first:
        assert ET.parse(path).getroot().tag.endswith("svg")
    assert "piecewise fit" in first[0].read_text(encoding="utf-8")
    assert residuals.draw(Profile(1, 1, 1), tmp_path / "three") == []


@pytest.mark.timeout(120)
def test_plain_mpirun_works_too(tmp_path: Path) -> None:
    program = ["python", "-m", "experiments.calibrate", "--time-limit", "1s", "--output", str(tmp_path / "p.json")]
    ended = launch.capture(launch.command(2, [*program, "--json"], MPI), timeout=60)
    assert ended.code == 0, ended.stderr
    assert Profile.from_json(json.loads(ended.stdout)) == Profile.load(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-n", "1"], "needs two ranks"),
        (["-n", "2,4", "--output", "p.json"], "makes 2 profiles"),
        (["-n", "2,4", "--name", "both"], "makes 2 profiles"),
        (["--name", "mine", "--output", "p.json"], "give one of them"),
        (["--name", "a/b"], "no folder"),
        (["--on", "moon"], "moon"),
        (["--time-limit", "soon"], "soon"),
        (["--mpi", "lam"], "lam"),
    ],
)
def test_bad_use_is_one_line_and_code_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["calibrate", *arguments]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
