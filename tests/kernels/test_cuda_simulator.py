"""Numba's CUDA simulator as a smoke test, in a process of its own: it replaces numba.cuda for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.kernels.cuda_cases import CASES
from tests.ptx.simulated import WITHOUT

ROOT = Path(__file__).parents[2]


def simulated(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    command = [sys.executable, "-m", "tests.ptx.simulated", *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


def test_families_give_the_bits_of_the_cpu_in_the_simulator() -> None:
    ran = simulated()
    assert ran.returncode == 0, ran.stderr
    assert set(json.loads(ran.stdout)) == set(CASES) - WITHOUT
    assert len(CASES) > len(WITHOUT)


def test_the_simulator_is_what_runs_and_a_wrong_result_is_told() -> None:
    ran = simulated("--wrong")
    assert ran.returncode == 1
    assert "AssertionError: 141 of 141 elements differ" in ran.stderr
