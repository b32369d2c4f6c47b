"""What a newcomer meets first: make, and the files around it."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from experiments import __version__, cli

ROOT = Path(__file__).resolve().parents[2]
CLUSTERS = ROOT / "docs" / "clusters"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile and pyproject.toml alone."""
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # These tests may run under `make test`, whose own settings are not theirs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "MPI"))}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def program(folder: Path, name: str, script: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_make_alone_lists_the_targets(clone: Path) -> None:
    printed = make(clone).stdout
    assert all(
        re.search(rf"^  {name} ", printed, re.MULTILINE) for name in ("setup", "test", "report", "lint", "types")
    )


def test_an_unknown_mpi_is_refused(clone: Path) -> None:
    done = make(clone, "setup", "MPI=lam")
    assert done.returncode == 2
    assert "MPI=lam is not known" in done.stderr


def test_no_python_is_told(clone: Path) -> None:
    done = make(clone, "setup", "PYTHON=no-such-python")
    assert done.returncode == 2
    assert "no-such-python was not found" in done.stderr


def test_an_old_python_is_told(clone: Path) -> None:
    old = program(clone, "python3", '[ "$1" = -V ] && echo Python 3.9.2; exit 1')
    done = make(clone, "setup", f"PYTHON={old}")
    assert done.returncode == 2
    assert "is Python 3.9.2, and Ciranda needs Python 3.11 or newer" in done.stderr
    assert not (clone / ".venv").exists()


def test_a_python_without_venv_is_told(clone: Path) -> None:
    bare = program(clone, "python3", 'case "$2" in *ensurepip*) exit 1;; esac')
    done = make(clone, "setup", f"PYTHON={bare}")
    assert done.returncode == 2
    assert "apt install python3-venv" in done.stderr


def test_setup_is_made_anew_when_the_dependencies_change(clone: Path) -> None:
    (clone / ".venv").mkdir()
    for name in (".ready-venv", ".ready", ".ready-openmpi"):
        (clone / ".venv" / name).touch()
    os.utime(clone / "pyproject.toml", (1_000_000_000, 1_000_000_000))
    assert make(clone, "--question", "setup").returncode == 0
    os.utime(clone / "pyproject.toml")
    assert make(clone, "--question", "setup").returncode == 1


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_lint_exception_has_its_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    ignored = lines.partition("\nignore = [\n")[2].partition("\n]")[0].splitlines()
    assert ignored
    assert all(re.search(r",\s+# \S", line) for line in ignored)


def test_every_package_is_in_the_wheel_and_under_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")}
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == packages
    assert set(project["tool"]["importlinter"]["root_packages"]) == packages
    assert set(project["tool"]["pyright"]["include"]) == packages


@pytest.mark.parametrize("script", [ROOT / ".ci" / "run", CLUSTERS / "allreduce.slurm"], ids=lambda path: path.name)
def test_shell_scripts_are_well_formed(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("name", ["clusters.md", "clusters/allreduce.slurm"])
def test_the_benchmark_takes_the_options_that_the_cluster_page_gives_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"-m experiments\.benchmark ([^\n>]*)", text)
    assert lines
    cli.run(["bench", "--help"])
    known = capsys.readouterr().out
    options = {word for line in lines for word in shlex.split(line) if word.startswith("--")}
    assert {option for option in options if f"{option} " not in known} == set()
