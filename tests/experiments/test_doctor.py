import json
import os
import sys
from pathlib import Path

import pytest

from experiments import cli, doctor, installations
from experiments.doctor import Finding
from experiments.errors import UsageFault
from kernels.cuda import presence

FLAVOUR = os.environ.get("CIRANDA_TEST_MPI", "openmpi")
pytestmark = pytest.mark.timeout(120)


def test_this_machine_is_examined(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    findings = {record["topic"]: record for record in content["records"]}
    assert {"Python", "cores", "load", "GPU", "user", "user namespaces", "browser"} <= findings.keys()
    assert findings[f"MPI {FLAVOUR}"]["status"] == "fine"
    memory = findings[f"GPU memory, {FLAVOUR}"]["found"]
    assert memory.startswith("not taken; " if not presence.count() else ("taken; ", "not taken; "))
    for asked in ("CIRANDA_CUDA_AWARE: ", "MPIX_", "mpi_memory_alloc_kinds: "):
        assert asked in memory
    assert findings["user"]["found"] == ("root" if os.geteuid() == 0 else "not root")
    assert content["environment"]["cores"] >= 1


def test_the_table_shows_advice_below(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [Finding("teapot", "note", "short and stout", "tips over", "put the kettle on")]
    monkeypatch.setattr(doctor, "examine", lambda: shown)
    assert cli.run(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "short and stout" in printed
    assert printed.rstrip().endswith("teapot: put the kettle on")


def test_something_broken_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("teapot", "broken", "a crack", "leaks", "glue it")])
    assert cli.run(["doctor"]) == 1


def test_an_mpi_that_starts_lone_ranks_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The classic: mpirun of one MPI and libmpi of another, so every process is alone in a world of its own.
    real = installations.find(FLAVOUR)
    mpirun = tmp_path / "mpirun"
    mpirun.write_text('#!/bin/sh\nshift 2\n"$@"\n')
    mpirun.chmod(0o755)
    lone = installations.Installation("system", real.family, mpirun, real.libmpi, real.version)
    monkeypatch.setattr(installations, "find", lambda flavour: lone)
    finding = doctor.examine_mpi("system")
    assert finding.status == "broken"
    assert "do not match" in finding.found


@pytest.mark.parametrize(
    ("script", "told"), [("echo no orted here >&2; exit 3", "no orted here"), ("exec true", "exit code 0")]
)
def test_an_mpi_that_does_not_start_is_broken(
    script: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mpirun = tmp_path / "mpirun"
    mpirun.write_text(f"#!/bin/sh\n{script}\n")
    mpirun.chmod(0o755)
    dead = installations.Installation("system", "openmpi", mpirun, "libmpi.so.40", "5.0.0")
    monkeypatch.setattr(installations, "find", lambda flavour: dead)
    finding = doctor.examine_mpi("system")
    assert finding.status == "broken"
    assert told in finding.found
    assert finding.advice


def test_no_mpi_at_all_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(flavour: str) -> installations.Installation:
        raise UsageFault(f"no {flavour} here")

    monkeypatch.setattr(installations, "find", nowhere)
    broken = [finding for finding in doctor.examine() if finding.status == "broken"]
    assert [finding.topic for finding in broken] == ["MPI"]
    assert "make setup" in broken[0].advice


def test_what_is_not_on_path_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = {finding.topic: finding for finding in doctor.examine()}
    assert findings["user namespaces"].status == "note"
    assert findings["browser"].found == "no Chromium"
    assert sys.prefix in findings["Python"].found


def test_shaping_is_tried_and_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def only_rates(script: str) -> bool:
        tried.append(script)
        return "tbf" in script

    monkeypatch.setattr(doctor, "_in_namespace", only_rates)
    monkeypatch.setattr(doctor.shutil, "which", lambda name, path=None: f"/usr/sbin/{name}")
    finding = next(finding for finding in doctor.examine() if finding.topic == "traffic shaping")
    assert finding.found == "rates (tbf) can be set; not delays (netem)"
    assert sum(script.startswith("/usr/sbin/tc qdisc add") for script in tried) == 2
