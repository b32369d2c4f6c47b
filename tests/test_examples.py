"""The examples fit on a page, and do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.readme import ROOT, ran

EXAMPLES = ROOT / "experiments" / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*_in_*_lines.py")), ids=lambda path: path.stem)
def test_each_example_has_no_more_lines_than_it_says(path: Path) -> None:
    [promised] = re.findall(r"_in_(\d+)_lines", path.stem)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= int(promised)


def test_the_parameter_server_learns_digits(tmp_path: Path) -> None:
    example = EXAMPLES / "parameter_server_in_60_lines.py"
    result = ran(["ciranda", "run", "-n", "3", "--", "python", str(example), "async"], tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    found = dict(re.findall(r"worker (\d): ([\d.]+)% right", result.stdout))
    assert sorted(found) == ["0", "1"]
    assert min(map(float, found.values())) > 90
    assert max(float(each) for each in re.findall(r"missed ([\d.]+) updates", result.stdout)) > 0


def test_data_parallel_learns_digits(tmp_path: Path) -> None:
    example = EXAMPLES / "ddp_in_40_lines.py"
    result = ran(["ciranda", "run", "-n", "3", "--", "python", str(example)], tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    [right] = re.findall(r"3 ranks: ([\d.]+)% right", result.stdout)
    assert float(right) > 90
