"""What the READMEs show, taken apart: their code, their commands, and how a command is run as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BESIDE_PYTHON = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

# These start ranks or measure, and so want the machine for themselves.
DEMANDING = ("run", "bench", "calibrate", "kernels", "cluster", "scaling", "train")


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of one language in a README."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def commands(name: str) -> list[list[str]]:
    """Each `ciranda ...` line as its words, comments left out."""
    lines = (line for block in blocks(name, "sh") for line in block.splitlines())
    return [words for line in lines if (words := shlex.split(line, comments=True)) and words[0] == "ciranda"]


def ran(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The command, run in ``folder``."""
    # A cluster of this user's that is up is none of the test's business.
    surroundings = {**BESIDE_PYTHON, "XDG_RUNTIME_DIR": str(folder)}
    return subprocess.run(words, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=120, check=False)


def run_well(words: Sequence[str], folder: Path) -> None:
    """Run the command, and see that it says so and leaves what it should."""
    result = ran(words, folder)
    assert result.returncode == 0, result.stdout + result.stderr
    for option, value in pairwise(words):
        if option == "--output":
            assert (folder / value).stat().st_size > 0
