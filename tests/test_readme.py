"""The READMEs do what they say, where that takes the whole machine: ranks, clusters and measurements."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import cluster
from tests.readme import DEMANDING, blocks, commands, ran, run_well


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with the README's program in it."""
    path = tmp_path_factory.mktemp("readme")
    path.chmod(0o700)
    (path / "ten_lines.py").write_text(blocks("README.md", "python")[0], encoding="utf-8")
    return path


@pytest.mark.parametrize("words", [words for words in commands("README.md") if words[1] in DEMANDING], ids=" ".join)
def test_each_demanding_command_of_the_readme_runs(words: list[str], folder: Path) -> None:
    if "cluster" in words and (reason := cluster.available()):
        pytest.skip(reason)
    run_well(words, folder)


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
