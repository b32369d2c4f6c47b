"""`ciranda scale`: what it measures is what it says."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from collectives import catalogue
from experiments import cli
from experiments.scale import Case, measure
from simulator import networks, simulate


@pytest.mark.parametrize("kind", ["star", "symmetric"])
def test_a_case_plays_the_run_that_it_names(kind: str) -> None:
    found = measure(Case(kind, "ring", 64, 64 * 1024))
    run = simulate(catalogue.get("ring"), 64, 64 * 1024, networks.star(64, 1e-6, 12.5e9))
    assert found.messages == run.messages == 64 * 126
    assert found.simulated_seconds == pytest.approx(run.seconds, rel=1e-12)
    assert found.messages_per_second == pytest.approx(found.messages / found.run_seconds)
    assert min(value for value in asdict(found).values() if isinstance(value, float)) > 0
    assert 10**7 < found.peak_bytes < 10**11


def test_on_an_oversubscribed_tree_messages_share_links() -> None:
    """The most distant exchange of halving-doubling has half the bandwidth that it would have on a star."""
    tree, star = (measure(Case(kind, "halving_doubling", 16, 1 << 20)) for kind in ("fat_tree", "star"))
    assert tree.messages == star.messages
    assert tree.simulated_seconds > 1.1 * star.simulated_seconds


def test_the_command_measures_each_case_in_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-n", "8", "--symmetric", "16", "--size", "1KiB", "--contended", "recursive_doubling"]
    assert cli.run(["scale", *arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    cases = [(record["kind"], record["algorithm"], record["ranks"]) for record in document["records"]]
    assert cases == [
        ("star", "ring", 8), ("fat_tree", "recursive_doubling", 8), ("symmetric", "ring", 16),
        ("symmetric", "recursive_doubling", 16),
    ]  # fmt: skip
    assert all(record["started_seconds"] > 0.05 for record in document["records"])
    assert "cpu" in document["environment"]


def test_bad_use_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["scale", "--free", "rings"]) == 2
    assert "no algorithm is called 'rings'" in capsys.readouterr().err
    assert cli.run(["scale", "-n", "0"]) == 2
    assert cli.run(["scale", "-n", "4", "--symmetric", "", "--free", "parameter_server:servers=9", "--contended",
                    "parameter_server:servers=8"]) == 2  # fmt: skip
    assert "neither works for 4 ranks" in capsys.readouterr().err
