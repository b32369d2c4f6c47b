"""The READMEs do what they say: commands run, the example runs, tables and pictures come from the code."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from experiments import cluster

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.pt-BR.md")
DOCUMENTS = [ROOT / name for name in READMES] + sorted((ROOT / "docs").rglob("*.md"))
BESIDE_PYTHON = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of one language in a README."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def commands(name: str) -> list[list[str]]:
    """Each `ciranda ...` line as its words, comments left out."""
    lines = (line for block in blocks(name, "sh") for line in block.splitlines())
    return [words for line in lines if (words := shlex.split(line, comments=True)) and words[0] == "ciranda"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with the README's program in it."""
    path = tmp_path_factory.mktemp("readme")
    path.chmod(0o700)
    (path / "ten_lines.py").write_text(blocks("README.md", "python")[0], encoding="utf-8")
    return path


def ran(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    # A cluster of this user's that is up is none of the test's business.
    surroundings = {**BESIDE_PYTHON, "XDG_RUNTIME_DIR": str(folder)}
    return subprocess.run(words, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("words", commands("README.md"), ids=" ".join)
def test_each_command_of_the_readme_runs(words: list[str], folder: Path) -> None:
    if "cluster" in words and (reason := cluster.available()):
        pytest.skip(reason)
    result = ran(words, folder)
    assert result.returncode == 0, result.stdout + result.stderr
    for option, value in pairwise(words):
        if option == "--output":
            assert (folder / value).stat().st_size > 0


def test_the_ten_lines_print_the_sum_and_the_choice(folder: Path) -> None:
    result = ran(["ciranda", "run", "-n", "3", "--", "python", "ten_lines.py"], folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("3.0 "), "0 + 1 + 2"
    assert "ring" in result.stdout


def test_the_encoded_gradient_says_what_travels(folder: Path) -> None:
    (folder / "encoded.py").write_text(blocks("README.md", "python")[1], encoding="utf-8")
    result = ran(["ciranda", "run", "-n", "2", "--", "python", "encoded.py"], folder)
    assert result.returncode == 0, result.stderr
    assert "as int8 the vector takes 1015628 bytes" in result.stdout
    assert "int8 with feedback on the wire" in result.stdout


def test_the_example_is_ten_lines() -> None:
    code = [line for line in blocks("README.md", "python")[0].splitlines() if line.strip()]
    assert len(code) <= 10


def test_both_languages_show_the_same_commands_and_code() -> None:
    def code(name: str) -> list[str]:
        return [re.sub(r"\s*#.*", "", block) for block in blocks(name, "python")]

    assert commands(READMES[0]) == commands(READMES[1])
    assert code(READMES[0]) == code(READMES[1])


def test_generated_documents_are_up_to_date() -> None:
    documents = runpy.run_path(str(ROOT / "docs" / "generate.py"))["documents"]()
    stale = [str(path) for path, text in documents.items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run python docs/generate.py"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert not missing
