"""Machine code on disk is found again by what it depends on, and by nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from numba import njit

from kernels.cpu.cache import Sources, keep

LOWER = "from numba import njit\n@njit\ndef inner(x):\n    return {factor} * x\n"
UPPER = """
from lower import inner
def make(summand, called=inner):
    def outer(x):
        return called(x) + summand
    return outer
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")  # which somebody may have set for all of Numba
    (tmp_path / "upper.py").write_text(UPPER, encoding="utf-8")
    return tmp_path


def loaded(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module anew, as a new process would have it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of two texts written within a second it would be one's
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def called(
    folder: Path, monkeypatch: pytest.MonkeyPatch, argument: float, summand: int, factor: int
) -> tuple[Any, int]:
    """The result, and how many times the code was found on disk."""
    lower, text = folder / "lower.py", LOWER.format(factor=factor)
    if not lower.exists() or lower.read_text("utf-8") != text:
        lower.write_text(text, encoding="utf-8")
    loaded(folder, "lower", monkeypatch)
    function = njit(loaded(folder, "upper", monkeypatch).make(summand))
    keep(function, Sources(folder))
    return function(argument), sum(function.stats.cache_hits.values())


def test_it_is_found_by_types_constants_and_sources(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(argument: float, summand: int, factor: int) -> tuple[Any, int]:
        return called(folder, monkeypatch, argument, summand, factor)

    assert call(2, 10, 3) == (16, 0)
    assert call(2, 10, 3) == (16, 1), "the next process has to find it, though it closes over compiled code"
    assert call(2.5, 10, 3) == (17.5, 0), "other types are other code"
    assert call(2, 20, 3) == (26, 0), "other constants are other code"
    assert call(2, 10, 3) == (16, 1), "which have not put themselves in the place of the first"
    assert len(list(folder.glob("__pycache__/*.nbc"))) == 3
    assert call(2, 10, 5) == (20, 0), "what it calls has changed"
    assert len(list(folder.glob("__pycache__/*.nbc"))) == 1, "code from other sources is of no use"
