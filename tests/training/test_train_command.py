"""`ciranda train` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments import cli


def test_a_run_leaves_metrics_events_checkpoints_and_what_it_came_to(tmp_path: Path) -> None:
    names = {name: tmp_path / name for name in ("metrics", "tensorboard", "checkpoint", "json")}
    code = cli.run([
        "train", "-n", "2", "--model", "mlp:hidden=32", "--steps", "40", "--evaluate", "20", "--deterministic",
        "--compute", "2ms", *(f"--{name}={path}" for name, path in names.items()),
    ])  # fmt: skip
    assert code == 0
    lines = [json.loads(line) for line in names["metrics"].read_text(encoding="utf-8").splitlines()]
    assert [line["kind"] for line in lines] == ["run", *["step"] * 20, "evaluation", *["step"] * 20, "evaluation"]
    found = json.loads(names["json"].read_text(encoding="utf-8"))
    assert found["accuracy"] == lines[-1]["accuracy"] > 0.8
    assert found["step_seconds"] >= found["computing_seconds"] >= 0.002
    assert (found["ranks"], found["samples"], found["threads"]["OMP_NUM_THREADS"]) == (2, 38, "1")
    assert [path.suffix for path in names["checkpoint"].iterdir()] == [".checkpoint"]
    assert any(b"train/loss" in path.read_bytes() for path in names["tensorboard"].iterdir())


@pytest.mark.parametrize(("options", "said"), [
    (["--strategy", "alreduce"], "no strategy is called"),
    (["--optimiser", "sgd:rate=1"], "--optimiser sgd:rate=1: sgd has no parameter 'rate'"),
    (["--metrics", "/nowhere/m.jsonl"], "its folder is not there"),
])  # fmt: skip
def test_what_cannot_be_is_told_before_ranks_start(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["train", *options]) == 2
    assert said in capsys.readouterr().err
