"""`ciranda simulate` by several ways: what GPUDirect gives, what an encoding gives, and what that rests on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collectives import catalogue
from experiments import cli
from experiments.ways import KIND
from simulator import networks, simulate


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["simulate", *arguments]) == 0
    return " ".join(capsys.readouterr().out.split())


def read(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    content = json.loads(shown(capsys, *arguments, "--json"))
    assert content["kind"] == KIND
    return content["records"]


def test_what_would_gpudirect_give_me(capsys: pytest.CaptureFixture[str]) -> None:
    """Both times are those of the simulator on the preset's own servers, the quicker first."""
    wanted = ("ring", "--network", "dgx-h100", "-n", "16", "--size", "16MiB", "--device-path", "staged,gpudirect")
    staged, direct = read(capsys, *wanted)
    for record, path in ((staged, "staged"), (direct, "gpudirect")):
        run = simulate(catalogue.get("ring"), 16, 1 << 24, networks.preset("dgx-h100", 16, path))
        assert record["device_path"] == path
        assert record["simulated_seconds"] == run.seconds
        assert sum(record["critical_path"].values()) == pytest.approx(run.seconds)
        assert record["wire_nbytes"] == run.bytes
    assert "core of process" in staged["busiest_link"]  # inside a machine a core copies
    assert 0 < direct["busiest_share"] <= 1
    text = shown(capsys, *wanted)
    more, times = (staged["simulated_seconds"] / direct["simulated_seconds"] - 1), "times as long"
    assert f"{more + 1:.2f} {times}" in text
    assert text.index("ring, gpudirect:") < text.index("ring, staged:")
    assert "the first piece through host memory" in text
    assert "Assumed:" in text
    assert "None of this has been measured here" in text


def test_encodings_beside_none(capsys: pytest.CaptureFixture[str]) -> None:
    plain, half, blocks = read(capsys, "ring", "-n", "4", "--size", "4MiB", "--encoding", "none float16 int8:block=64")
    assert [record["encoding"] for record in (plain, half, blocks)] == [None, "float16", "int8:block=64"]
    assert half["wire_nbytes"] * 2 == plain["wire_nbytes"]
    assert blocks["wire_nbytes"] * 4 == plain["wire_nbytes"] * (1 + 4 / 64)
    assert half["simulated_seconds"] < plain["simulated_seconds"]
    assert half["theory_seconds"] < plain["theory_seconds"]
    assert (half["dtype"], half["device"]) == ("float32", "cpu")


def test_a_server_and_a_piece_of_your_own(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("broadcast_linear", "-n", "2", "--size", "1MiB", "--device-path", "staged")
    (large,) = read(capsys, *given)
    (small,) = read(capsys, *given, "--piece", "256KiB")
    (old,) = read(capsys, *given, "--server", "a100")
    assert small["simulated_seconds"] < large["simulated_seconds"] < old["simulated_seconds"]
    assert (large["piece_nbytes"], small["piece_nbytes"]) == (1 << 20, 1 << 18)
    assert "PCIe switch 0 of node 0" in shown(capsys, *given, "--show-route", "0", "1")


def test_the_whole_explanation_follows_if_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("ring", "-n", "4", "--device-path", "staged")
    assert "The critical path ends" not in shown(capsys, *given)
    assert "The critical path ends" in shown(capsys, *given, "--explain")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--device-path", "teleport"), "use host, staged, peer, gpudirect"),
        (("--device-path", "staged", "--server", "h1000"), "known: h100"),
        (("--device-path", "staged", "--piece", "0B"), "at least one byte"),
        (("--server", "h100"), "give --device-path too"),
        (("--encoding", "int9"), "known: int8"),
        (("--encoding", "int8:blocks=3"), "int8 has no parameter 'blocks'"),
        (("--encoding", "int8", "--dtype", "float64"), "elements of 4 bytes, not of 8"),
    ],
)
def test_what_cannot_be_is_said(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str) -> None:
    assert cli.run(["simulate", "ring", "-n", "4", *arguments]) == 2
    assert complaint in " ".join(capsys.readouterr().err.split())
