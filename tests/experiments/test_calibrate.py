"""Calibration: the fit finds the costs that made the samples, the traffic is what it says, and real ranks agree."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives.profile import Profile
from collectives.schedule import Recv, Send
from experiments import cli, launch
from experiments.calibrate import calibrate, fitted
from experiments.probing import MESSAGE_SIZES, REDUCTION_SIZES
from experiments.traffic import Exchange, PingPong, partner

MPI = os.environ.get("CIRANDA_TEST_MPI", "openmpi")


def made_up(alpha: float, beta: float, gamma: float, overhead: float, duplex: float) -> dict[str, object]:
    random = np.random.default_rng(11)

    def noisy(seconds: float) -> list[float]:
        return (seconds * random.lognormal(0, 0.03, 20)).tolist()

    samples = {
        "pingpong": [noisy(alpha + beta * size) for size in MESSAGE_SIZES],
        "exchange": [noisy(duplex * (alpha + beta * size)) for size in MESSAGE_SIZES],
        "reduction": [noisy(gamma * size) for size in REDUCTION_SIZES],
        "overhead": [noisy(overhead)],
    }
    job = {"ranks": 4, "library": "Open MPI 5.0.11", "oversubscribed": True}
    return json.loads(json.dumps({"samples": samples, "job": job}))


def test_the_fit_finds_what_made_the_samples() -> None:
    truth = {"alpha": 3e-6, "beta": 2e-10, "gamma": 1e-10, "overhead": 6e-7}
    profile = fitted(made_up(**truth, duplex=2.0))
    for name, value in truth.items():
        assert getattr(profile, name) == pytest.approx(value, rel=0.05)
        low, high = profile.intervals[name]
        assert low <= getattr(profile, name) <= high
        assert high / low < 1.2
    assert profile.measured
    assert (profile.ranks, profile.oversubscribed, profile.library) == (4, True, "Open MPI 5.0.11")
    assert [size for size, _ in profile.duplex] == list(MESSAGE_SIZES)
    assert all(factor == pytest.approx(2, rel=0.1) for _, factor in profile.duplex)
    residuals = {pattern: [p.residual for p in profile.points if p.pattern == pattern] for pattern in
                 ("pingpong", "exchange", "reduction")}  # fmt: skip
    assert all(abs(residual) < 0.1 for residual in residuals["pingpong"] + residuals["reduction"])
    # The model is full duplex, so an exchange that takes twice as long shows as half.
    assert all(residual == pytest.approx(-0.5, abs=0.05) for residual in residuals["exchange"])
    assert profile.environment["job"]["ranks"] == 4
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


@given(st.integers(2, 20), st.integers(1, 6), st.sampled_from([PingPong, Exchange]))
def test_traffic_obeys_the_laws_of_schedules(size: int, messages: int, pattern: type[PingPong | Exchange]) -> None:
    rounds = [list(pattern(messages).rounds(rank, size)) for rank in range(size)]
    assert {len(own) for own in rounds} == {messages}
    for index in range(messages):
        sends = {
            (rank, op.dest, op.chunks) for rank in range(size) for op in rounds[rank][index] if isinstance(op, Send)
        }
        receives = {
            (op.source, rank, op.chunks) for rank in range(size) for op in rounds[rank][index] if isinstance(op, Recv)
        }
        assert sends == receives
        # Every pair is at work in every round: one message each for ping-pong, two for the exchange.
        assert len(sends) == size // 2 * (1 if pattern is PingPong else 2)


@given(st.integers(2, 100))
def test_partners_are_mutual(size: int) -> None:
    pairs = [partner(rank, size) for rank in range(size)]
    assert sum(other is None for other in pairs) == size % 2
    assert all(pairs[other] == rank for rank, other in enumerate(pairs) if other is not None)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("ranks", [2, 3])
def test_real_ranks(ranks: int) -> None:
    profile = calibrate(ranks, mpi=MPI, time_limit=1.0)
    assert profile.ranks == ranks
    assert profile.oversubscribed == launch.oversubscribed(ranks)
    # From a fast cache to a slow or very busy machine.
    assert 1e-7 < profile.alpha < 1e-1
    assert 1e-12 < profile.beta < 1e-6
    assert 1e-12 < profile.gamma < 1e-6
    assert 1e-8 < profile.overhead < 1e-1
    assert all(point.seconds > 0 and point.samples >= 6 for point in profile.points)
    assert len(profile.points) == 2 * len(MESSAGE_SIZES) + len(REDUCTION_SIZES)


@pytest.mark.timeout(120)
def test_the_command_saves_where_the_others_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("CIRANDA_PROFILE", raising=False)
    assert cli.run(["calibrate", "-n", "2", "--time-limit", "1s", "--mpi", MPI]) == 0
    profile = Profile.find(2)
    assert profile.measured
    shown = capsys.readouterr().out
    assert "seconds per reduced byte" in shown
    assert "residual" in shown
    assert str(tmp_path / "ciranda" / "profile-2.json") in shown.replace("\n", "")


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
        (["--time-limit", "soon"], "soon"),
        (["--mpi", "lam"], "lam"),
    ],
)
def test_bad_use_is_one_line_and_code_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["calibrate", *arguments]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
