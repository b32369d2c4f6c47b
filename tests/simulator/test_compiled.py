"""Compiled code on disk is never older than any of its sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "simulator"


def test_a_function_is_compiled_anew_when_one_that_it_calls_has_changed(tmp_path: Path) -> None:
    for name in ("__init__", "compiled"):
        source = "" if name == "__init__" else (PACKAGE / "compiled.py").read_text("utf-8")
        folder = tmp_path / "pack"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    (folder / "upper.py").write_text(
        "from pack.compiled import lean\nfrom pack.lower import one\n@lean\ndef two(x):\n    return one(x) + one(x)\n",
        encoding="utf-8",
    )
    assert [_said(tmp_path, factor) for factor in (1, 5)] == [2, 10]


def _said(path: Path, factor: int) -> int:
    lower = path / "pack" / "lower.py"
    lower.write_text(f"from pack.compiled import lean\n@lean\ndef one(x):\n    return {factor} * x\n", encoding="utf-8")
    os.utime(lower)
    program = "import pack.compiled\nfrom pack.upper import two\nprint(two(1))"
    return int(
        subprocess.run([sys.executable, "-c", program], cwd=path, capture_output=True, check=True, text=True).stdout
    )
