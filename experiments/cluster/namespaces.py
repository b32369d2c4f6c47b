"""Can this machine make namespaces for a cluster, and by which command?"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from experiments.errors import UsageFault

__all__ = ["available", "environment", "shortened", "unsharing"]

_TOOLS = ("unshare", "setsid", "nsenter", "mount", "hostname", "ip", "tc")
_ADMIN_FOLDERS = ("/usr/sbin", "/sbin")  # not on the PATH of an ordinary user, who may use them in namespaces
_SPACES = ("--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
_SO = "no cluster can be made here: "
_LIMIT = 30.0  # seconds
_TRIAL = """
mount -t tmpfs ciranda /run
ip link add name end0 type veth peer name end1
ip link add name rack0 type bridge
ip netns add host0
tc qdisc add dev end0 root handle 1: htb default 3
tc class add dev end0 parent 1: classid 1:3 htb rate 1mbit burst 10000
tc qdisc add dev end0 parent 1:3 pfifo limit 100
tc filter add dev end0 parent 1: protocol ip prio 1 u32 match u16 0x0000 0xff00 at 2 flowid 1:3
"""


def available() -> str | None:
    """Why no cluster can be made on this machine, or None where it can; takes some 20 ms."""
    try:
        unsharing()
    except UsageFault as fault:
        return str(fault).removeprefix(_SO)
    return None


def unsharing() -> list[str]:
    """The command that runs another in namespaces of its own, found by a trial; UsageFault where none is allowed."""
    found = {name: shutil.which(name, path=environment()["PATH"]) for name in _TOOLS}
    if missing := ", ".join(name for name, path in found.items() if path is None):
        raise UsageFault(f"{_SO}{missing} not found (apt install iproute2 util-linux hostname)")
    # A root without rights over namespaces, as in some containers, may still have them as an ordinary user has.
    users: list[list[str]] = [[], ["--user", "--map-root-user"]]
    refusals: list[str] = []
    for user in users if os.geteuid() == 0 else users[1:]:
        command = [found["unshare"] or "", *user, *_SPACES]
        refusal = _refusal(command)
        if refusal is None:
            return command
        refusals.append(refusal)
    raise UsageFault(f"{_SO}this machine does not allow its namespaces: {refusals[0]}")


def environment() -> dict[str, str]:
    """What the programs that make a cluster need of the environment, with the folders for administrators."""
    return {"PATH": os.pathsep.join([*os.get_exec_path(), *_ADMIN_FOLDERS]), "LC_ALL": "C"}


def shortened(text: str) -> str:
    """What a program has complained of, in one line."""
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())[-300:]


def _refusal(command: Sequence[str]) -> str | None:
    try:
        tried = subprocess.run(
            [*command, "sh", "-ec", _TRIAL], env=environment(), capture_output=True, text=True, timeout=_LIMIT,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as fault:
        return str(fault)
    return None if tried.returncode == 0 else shortened(tried.stderr) or f"exit code {tried.returncode}"
