"""The processes that hold a cluster: their first one is process 1 of its namespaces, and all ends with it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from experiments.cluster.namespaces import environment, shortened, unsharing
from experiments.cluster.shape import Shape, script
from experiments.errors import UsageFault
from experiments.processes import fields, started_at

__all__ = ["MARK", "Holder", "clear", "start", "started_at"]

MARK = "CIRANDA_CLUSTER_HOLDER"
"""The variable by which the processes that hold a cluster are found; its value names the cluster's state file."""

_PATIENCE = 30.0  # seconds that the namespaces may take to come up, or to go
_READY = "ready"
# Who made the cluster is told to go on by a line, so that nothing is left where it ended before it wrote the state.
_KEEP = f"trap '' CHLD\necho {_READY}\nread go || exit 1\nexec sleep infinity\n"
# cat, for dash's own read ends with the first SIGCHLD, even an ignored one, and with it the whole cluster.
_KEEP_WHILE_HELD = f"trap '' CHLD\necho {_READY}\nread go || exit 1\nexec cat >/dev/null\n"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process outside the namespaces and its child, process 1 within them; each with its start in clock ticks."""

    pid: int
    started: int
    first: int
    first_started: int

    def alive(self) -> bool:
        """Whether both are the very processes that they were, and ours."""
        return all(
            started_at(pid) == started and Path(f"/proc/{pid}").stat().st_uid == os.getuid()
            for pid, started in ((self.pid, self.started), (self.first, self.first_started))
        )

    def end(self) -> None:
        """End it, and with it all processes within; returns when they are gone."""
        for pid, started in ((self.first, self.first_started), (self.pid, self.started)):
            _kill(pid, started)


def start(shape: Shape, mark: str, *, while_held: bool) -> tuple[Holder, IO[str]]:
    """Make a cluster, and return its holder and the line to it: it goes on alone once ``go`` is written there.

    Until then it ends with this process, and with ``while_held`` also after that, or as soon as the line is closed.
    Raises UsageFault where this machine cannot make it.
    """
    way = unsharing()
    # The commands go by a file in memory: they may be longer than an argument, and nobody wants them in ps.
    program = os.memfd_create("cluster")
    os.write(program, f"set -e\n{script(shape)}{_KEEP_WHILE_HELD if while_held else _KEEP}".encode())
    # setsid goes at once, so the holder is no child of this process, which may end long before it.
    process = subprocess.Popen(
        ["setsid", "--fork", *way, "sh", f"/proc/self/fd/{program}"], env=environment() | {MARK: mark},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
        pass_fds=[program],
    )  # fmt: skip
    os.close(program)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        if not _came_up(process.stdout):
            clear(mark)
            raise UsageFault(_why(process.stderr.read(), shape))
        return _found(mark), process.stdin
    except BaseException:
        clear(mark)
        process.stdin.close()
        raise
    finally:
        process.stdout.close()
        process.stderr.close()
        process.wait()


def clear(mark: str) -> int:
    """End all processes of this user that hold the cluster ``mark``; how many there were."""
    found = _marked(mark)
    for pid, started in found.items():
        _kill(pid, started)
    return len(found)


def _came_up(output: IO[str]) -> bool:
    readable, _, _ = select.select([output], [], [], _PATIENCE)
    return bool(readable) and output.readline().strip() == _READY


def _why(told: str, shape: Shape) -> str:
    if shape.delay and "netem" not in told and "qdisc kind is unknown" in told:
        return "--delay needs netem, and this kernel has none (sch_netem); leave --delay away"
    return f"the cluster did not come up: {shortened(told) or 'no answer'}"


def _marked(mark: str) -> dict[int, int]:
    """The processes of this user that hold the cluster, each with its start."""
    wanted, found = f"{MARK}={mark}".encode(), dict[int, int]()
    for pid in [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]:
        started = started_at(pid)
        try:
            ours = Path(f"/proc/{pid}").stat().st_uid == os.getuid()
            if ours and wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found[pid] = started
        except OSError:  # it has ended meanwhile, or is none of ours
            continue
    return found


def _found(mark: str) -> Holder:
    marked = _marked(mark)
    for pid, started in marked.items():
        if (outer := _parent(pid)) in marked and not _within(outer):
            return Holder(outer, marked[outer], pid, started)
    raise UsageFault("the cluster ended while it came up")


def _parent(pid: int) -> int:
    try:
        return int(fields(pid)[1])
    except OSError:
        return -1


def _within(pid: int) -> bool:
    return os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")


def _kill(pid: int, started: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while started != -1 and started_at(pid) == started:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        if time.monotonic() > deadline:
            raise UsageFault(f"process {pid} of the cluster does not end")
        time.sleep(0.005)
