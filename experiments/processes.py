"""What the kernel tells of processes, for those that must be sure to mean the very process that they once knew."""

from __future__ import annotations

from pathlib import Path

__all__ = ["fields", "started_at"]


def fields(pid: int) -> list[str]:
    """What ``/proc/PID/stat`` says after the name (proc(5)): the state first. Raises OSError where there is none."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def started_at(pid: int) -> int:
    """When a process started, in clock ticks since boot; -1 where there is none, or only what its parent keeps."""
    try:
        known = fields(pid)
    except OSError:
        return -1
    return -1 if known[0] in "ZX" else int(known[19])
