"""One run of a fault test: start the ranks, let some die, and judge what is left."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from collectives.parameter_server.sharding import Sharding
from experiments import launch
from experiments.parameter_server_faults.ranks import BEGAN
from experiments.parameter_server_faults.scenarios import CLOCKS, SCENARIOS, TENSORS, Floats, Plan, Scenario

__all__ = ["SECONDS", "TIMEOUT", "Verdict", "run"]

SECONDS = 0.5
"""About how long a training takes once it has begun: deaths come within this time."""

TIMEOUT = 300.0
"""Seconds after which a job counts as hung; its ranks give up sooner and say why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was wrong with a run, in words; empty if nothing was. ``dead``: ranks killed; ``starts``: of the job."""

    scenario: str
    seed: int
    seconds: float
    dead: int
    starts: int
    hung: str = ""
    lost: str = ""
    wrong: str = ""

    @property
    def fine(self) -> bool:
        """Whether it neither hung, nor lost an acknowledged update, nor ended with a wrong model."""
        return not (self.hung or self.lost or self.wrong)


def run(name: str, seed: int, expected: list[Floats]) -> Verdict:
    """Run scenario ``name``, deaths drawn by ``seed``; ``expected``: ``models`` of the worker that dies or joins."""
    scenario, begin = SCENARIOS[name], time.monotonic()
    plan = scenario.plan(seed, SECONDS)
    with TemporaryDirectory(prefix="ciranda-faults-") as text:
        folder = Path(text)
        starts, hung = _train(name, plan, folder)
        lost, wrong = ("", "") if hung else _judged(scenario, plan, folder, expected)
    dead = len(plan.deaths) + len(plan.job) * scenario.configuration.ranks
    return Verdict(name, seed, time.monotonic() - begin, dead, starts, hung, lost, wrong)


def special(scenario: Scenario, plan: Plan) -> int:
    """The worker that dies or joins; the last one where none does."""
    if scenario.joining:
        return scenario.configuration.workers - 1
    return next((rank for rank in plan.deaths if rank < scenario.configuration.workers), 0)


def _train(name: str, plan: Plan, folder: Path) -> tuple[int, str]:
    """How often the job was started, and what kept it from its end."""
    for number, after in enumerate(plan.job, 1):
        ended = _until_killed(name, plan, folder, after)
        if ended.code not in (0, launch.TIMED_OUT, 137):
            return number, f"start {number} ended with exit code {ended.code}: {ended.stderr[-2000:]}"
    ended = launch.capture(_command(name, plan, folder), timeout=TIMEOUT)
    fault = f"exit code {ended.code}: {ended.stderr[-2000:]}" if ended.code != 0 else ""
    return 1 + len(plan.job), fault


def _until_killed(name: str, plan: Plan, folder: Path, after: float) -> launch.Captured:
    """All ranks are killed ``after`` seconds of training; one that ends sooner has ended well."""
    for left in (folder / BEGAN, *folder.glob("rank*.pid")):
        left.unlink(missing_ok=True)
    stopped = threading.Event()

    def kill() -> None:
        while not (folder / BEGAN).exists() and not stopped.is_set():
            time.sleep(0.001)
        time.sleep(after)
        _kill_ranks(folder)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        return launch.capture(_command(name, plan, folder), timeout=TIMEOUT)
    finally:
        stopped.set()
        killer.join()


def _kill_ranks(folder: Path) -> None:
    for entry in folder.glob("rank*.pid"):
        try:
            os.kill(int(entry.read_text()), 9)
        except (ProcessLookupError, ValueError):
            continue


def _command(name: str, plan: Plan, folder: Path) -> launch.Launch:
    program = ["python", "-m", f"{__package__}.ranks", name, json.dumps(asdict(plan)), str(folder)]
    started = launch.command(SCENARIOS[name].configuration.ranks, program)
    return started if plan.job else launch.surviving(started)


def _judged(scenario: Scenario, plan: Plan, folder: Path, expected: list[Floats]) -> tuple[str, str]:
    """What is lost and what is wrong."""
    configuration = scenario.configuration
    sharding = Sharding.plan(TENSORS, configuration.servers, configuration.partition)
    copies: dict[str, list[Floats]] = {}
    for file in sorted(folder.glob("server*.npz")):
        with np.load(file) as arrays:
            for part in arrays.files:
                copies.setdefault(part, []).append(arrays[part])
    if missing := [part.number for part in sharding.parts if str(part.number) not in copies]:
        return f"nobody has the parts {missing}", ""
    if differing := [part for part, found in copies.items() if any((each != found[0]).any() for each in found)]:
        return "", f"replicas of the parts {', '.join(differing)} differ"
    at_least, at_most = _turns(scenario, plan, folder)
    for part in sharding.parts:
        found = copies[str(part.number)][0]
        fitting = [turn for turn in range(CLOCKS + 1) if (found == expected[turn][part.lo : part.hi]).all()]
        if not fitting:
            return "", f"part {part.number} is what no order of the same pushes gives"
        if max(fitting) < at_least:
            return f"part {part.number} has {max(fitting)} pushes, and {at_least} were acknowledged", ""
        if min(fitting) > at_most:
            return "", f"part {part.number} has {min(fitting)} pushes, and {at_most} were made"
    return "", _models_of_workers(scenario, copies, sharding, folder)


def _turns(scenario: Scenario, plan: Plan, folder: Path) -> tuple[int, int]:
    """How many updates the special worker was part of (or not, while it had not joined): at least, and at most."""
    if scenario.joining:
        joined = int((folder / "joined").read_text())
        return joined, joined
    worker = special(scenario, plan)
    if worker not in plan.deaths:
        return CLOCKS, CLOCKS
    file = folder / f"rank{worker}.clock"
    acknowledged = int.from_bytes(file.read_bytes() if file.exists() else b"", "little")
    return acknowledged, min(acknowledged + 1, CLOCKS)


def _models_of_workers(scenario: Scenario, copies: Mapping[str, list[Floats]], sharding: Sharding, folder: Path) -> str:
    """In lockstep the workers that lived end with the servers' model."""
    if scenario.configuration.consistency.spare is None:
        return ""
    whole = np.concatenate([copies[str(part.number)][0] for part in sharding.parts])
    files = sorted(folder.glob("worker*.npy"))
    if not files:
        return "no worker ended"
    differing = [file.stem for file in files if (np.load(file) != whole).any()]
    return f"the servers' model is not that of {', '.join(differing)}" if differing else ""
