"""What this machine offers: how many cores a program may really use."""

from __future__ import annotations

import os
from collections.abc import Set
from pathlib import Path

__all__ = ["cores", "oversubscribed"]

_TOPOLOGY = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")


def cores(affinity: Set[int] | None = None) -> int:
    """How many cores a program may use, at least 1: the fewest that affinity mask and cgroup quota allow.

    Hardware threads of one core count once, for two ranks on them share its arithmetic units. ``affinity`` is a set
    of CPU numbers, this process's own by default. A rank that its launcher has bound passes the union of the masks
    of all ranks on its node.
    """
    cpus = os.sched_getaffinity(0) if affinity is None else affinity
    within_mask = len({_siblings(cpu) for cpu in cpus})
    quota = _quota()
    return max(1, within_mask if quota is None else min(within_mask, int(quota)))


def oversubscribed(ranks: int, affinity: Set[int] | None = None) -> bool:
    """Whether ``ranks`` processes on this machine are more than its ``cores(affinity)``."""
    return ranks > cores(affinity)


def _siblings(cpu: int) -> str:
    try:
        return (_TOPOLOGY / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _quota() -> float | None:
    """CPUs' worth of time that this process's cgroup and its ancestors (version 2) grant, or None for no limit."""
    try:
        entries = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    group = next((Path(entry[3:].lstrip("/")) for entry in entries if entry.startswith("0::")), Path())
    limits = [_limit(_CGROUPS / folder / "cpu.max") for folder in (group, *group.parents)]
    return min((limit for limit in limits if limit is not None), default=None)


def _limit(file: Path) -> float | None:
    try:
        quota, period = file.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else float(quota) / float(period)
