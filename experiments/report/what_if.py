"""What the same network would do with far more hosts: simulated from the profile, in a process that ends in time.

    echo JOB | python -m experiments.report.what_if

does the simulating; ``foresee`` starts it. Some schedules take a moment for 16,384 hosts and some take hours, and
which ones is not known beforehand; so every simulation is a process of its own that an alarm ends in time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from collectives import catalogue
from collectives.catalogue import Algorithm
from collectives.profile import Profile
from experiments.errors import UsageFault
from simulator import Network, networks, simulate, theory

__all__ = ["HOSTS", "LIMIT", "SCHEMA", "Forecast", "Outlook", "foresee", "with_hosts"]

SCHEMA = 1
"""Version of ``what_if.json``."""

_KIND = "ciranda-what-if"

HOSTS = (64, 1024, 16384)
LIMIT = 10
"""Seconds for all simulations of a page."""

_EACH = 1.0  # seconds for one of them
_WARM = 8  # hosts of the simulations that load the compiled code


@dataclass(frozen=True, slots=True)
class Outlook:
    """One algorithm on ``hosts`` hosts: seconds by the simulator (None: no time for it) and by the closed form."""

    algorithm: str
    hosts: int
    nbytes: int
    simulated: float | None
    theory: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a profile of ``ranks`` ranks says of more hosts, as far as it could be simulated in ``limit`` seconds."""

    ranks: int
    limit: int
    outlooks: Sequence[Outlook]

    def to_json(self) -> dict[str, Any]:
        """The content of ``what_if.json``."""
        return {"schema": SCHEMA, "kind": _KIND, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Forecast:
        """What ``to_json`` wrote; raises UsageFault for anything else."""
        if content.get("kind") != _KIND or content.get("schema") != SCHEMA:
            raise UsageFault(f"this is no forecast of schema {SCHEMA}; remove the file, and it is made anew")
        try:
            return cls(content["ranks"], content["limit"], [Outlook(**item) for item in content["outlooks"]])
        except (KeyError, TypeError) as problem:
            raise UsageFault(f"the forecast is not complete ({problem}); remove it, and it is made anew") from None


def foresee(
    profile: Profile, names: Iterable[str], sizes: Sequence[int], *, hosts: Sequence[int] = HOSTS, limit: int = LIMIT
) -> Forecast:
    """Every algorithm that runs on so many hosts, at every size; takes about ``limit`` seconds at most."""
    alone = profile.at(2)
    costs = alone.alpha, alone.beta, alone.gamma
    tasks = [(algorithm.label, count, nbytes) for algorithm, count in _cheapest_first(names, hosts) for nbytes in sizes]
    seconds = _simulated(profile, tasks, limit)
    outlooks = [
        Outlook(*task, seconds.get(task), theory.seconds(catalogue.parse(task[0]), task[1], task[2], *costs))
        for task in tasks
    ]
    return Forecast(profile.ranks, limit, outlooks)


def with_hosts(profile: Profile, hosts: int) -> Network:
    """So many hosts, each with cores of its own: ranks that shared cores while they were measured do not any more."""
    return networks.from_profile(profile, hosts, [term for term in networks.TERMS if term != "processor"])


def _cheapest_first(names: Iterable[str], hosts: Sequence[int]) -> list[tuple[Algorithm, int]]:
    """Algorithms on hosts by the length of the longest path, which makes simulating long; the fewest hosts first."""
    known = [catalogue.parse(name) for name in names]
    pairs = [(algorithm, count) for algorithm in known for count in hosts if algorithm.supports(count)]
    return sorted(pairs, key=lambda pair: (pair[1] > min(hosts), pair[0].cost(pair[1]).messages, pair[1]))


def _simulated(
    profile: Profile, tasks: Sequence[tuple[str, int, int]], limit: int
) -> dict[tuple[str, int, int], float]:
    """Seconds of those tasks that the process came to."""
    job = json.dumps({"profile": profile.to_json(), "tasks": tasks, "limit": limit})
    worker = [sys.executable, "-m", "experiments.report.what_if"]
    # An own process, as nothing else can end a simulation that is deep in compiled code.
    ended = subprocess.run(worker, input=job, capture_output=True, text=True, check=False)
    lines = [line for line in ended.stdout.splitlines(keepends=True) if line.endswith("\n")]
    done: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return {(item["algorithm"], item["hosts"], item["nbytes"]): item["seconds"] for item in done}


def _work() -> None:
    """Simulate one task after the other; an algorithm that took too long is not tried again, nor on more hosts."""
    job = json.load(sys.stdin)
    profile, deadline = Profile.from_json(job["profile"]), time.monotonic() + job["limit"]
    for name in dict.fromkeys(task[0] for task in job["tasks"]):  # what is loaded here need not be in every child
        if (algorithm := catalogue.parse(name)).supports(_WARM):
            simulate(algorithm, _WARM, 8, with_hosts(profile, _WARM))
    slow: set[str] = set()
    for name, hosts, nbytes in job["tasks"]:
        left = deadline - time.monotonic()
        if left <= 0:
            return
        if name not in slow and not _in_time(profile, name, hosts, nbytes, min(_EACH, left)):
            slow.add(name)


def _in_time(profile: Profile, name: str, hosts: int, nbytes: int, limit: float) -> bool:
    """Simulate in a process of its own that prints what it found; False where it did not end in ``limit`` seconds."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    signal.setitimer(signal.ITIMER_REAL, limit)  # whose default action is to end the process, wherever it is
    seconds = simulate(catalogue.parse(name), hosts, nbytes, with_hosts(profile, hosts)).seconds
    print(json.dumps({"algorithm": name, "hosts": hosts, "nbytes": nbytes, "seconds": seconds}), flush=True)
    os._exit(0)  # the parent's clean-up is not the child's


if __name__ == "__main__":
    _work()
