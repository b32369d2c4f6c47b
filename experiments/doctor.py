"""`ciranda doctor`: what is here, what Ciranda makes of it, and what to do about what is wrong."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

import typer

from experiments import installations, launch
from experiments.errors import UsageFault
from experiments.machine import cores
from experiments.units import format_bytes

__all__ = ["Finding", "command", "examine", "examine_mpi"]

_PROBE_LIMIT = 60.0
_OLDEST_PYTHON = (3, 11)
_BUSY = 0.5  # processes beside ours: from here on a timing shares its core
_LITTLE_SHARED_MEMORY = 256 * 2**20  # eight ranks of Open MPI map 16 to 32 MiB each there
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_ADMIN_FOLDERS = ":/usr/sbin:/sbin"  # not on the PATH of an ordinary user, who may use tc in a namespace of their own
_DRIVER = "/proc/driver/nvidia/version"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``advice`` is a line for the person, empty where nothing is to be done.

    ``status`` is "fine", "note" (it works, with a limit) or "broken" (something needed does not work).
    """

    topic: str
    status: Literal["fine", "note", "broken"]
    found: str
    action: str
    advice: str = ""


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print a record for each finding, for machines.")] = False,
) -> None:
    """Look at this machine: Python, MPI, cores, load, GPU, namespaces, and say what is wrong.

    Exit code 1 where something needed is broken.

    Example: ciranda doctor
    """
    findings = examine()
    if as_json:
        _print_json(findings)
    else:
        _print_table(findings)
    if any(finding.status == "broken" for finding in findings):
        raise typer.Exit(1)


def examine() -> list[Finding]:
    """Look at everything; this starts two ranks of each MPI that is installed, and changes nothing."""
    checks: tuple[Callable[[], Finding], ...] = (
        _python, _cores, _load, _shared_memory, _gpu, _user, _namespaces, _shaping, _browser,
    )  # fmt: skip
    first, *others = [check() for check in checks]
    return [first, *_all_mpi(), *others]


def examine_mpi(flavour: str) -> Finding:
    """Start two ranks of one MPI and let them exchange a message. UsageFault where it is not installed."""
    return _tried(flavour)[0]


def _tried(flavour: str) -> tuple[Finding, dict[str, Any]]:
    """The finding, and what the two ranks told (nothing if they did not)."""
    started = launch.command(2, ["python", "-m", "experiments.probe"], flavour)
    topic, version = f"MPI {flavour}", f"{started.mpi.family} {started.mpi.version}"
    done = launch.capture(started, timeout=_PROBE_LIMIT)
    try:
        facts: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        facts = {}
    if done.code == launch.TIMED_OUT:
        why = f"two ranks did not end within {_PROBE_LIMIT:g} s"
    elif done.code != 0 or not facts:
        why = f"two ranks ended with exit code {done.code}: {_telling_line(done)}"
    elif (facts["size"], facts["sum"]) != (2, 3):
        why = f"asked for 2 ranks, the library made {facts['size']}: mpirun and {started.mpi.libmpi} do not match"
    else:
        return Finding(topic, "fine", _mpi_line(facts), f"starts ranks with {started.mpi.mpirun}"), facts
    advice = f"try `ciranda run -n 2 --mpi {flavour} --show -- python -m experiments.probe`"
    return Finding(topic, "broken", f"{version}: {why}", "cannot use it", advice), {}


def _all_mpi() -> list[Finding]:
    findings: list[Finding] = []
    for flavour in installations.FLAVOURS:
        try:
            finding, facts = _tried(flavour)
            findings += [finding, *_gpu_memory(flavour, facts)]
        except UsageFault as fault:
            findings.append(Finding(f"MPI {flavour}", "note", "not here", "does without it", str(fault)))
    if not any(finding.status == "fine" and finding.topic.startswith("MPI") for finding in findings):
        findings.append(Finding("MPI", "broken", "none that works", "cannot run ranks", "`make setup` brings Open MPI"))
        return findings
    # One MPI that works is enough, so how to get the others is no advice.
    return [finding if finding.status == "broken" else _silent(finding) for finding in findings]


def _gpu_memory(flavour: str, facts: dict[str, Any]) -> list[Finding]:
    """Whether that MPI takes GPU memory, and how that was found out."""
    if not facts:
        return []
    action = "hands arrays on a GPU to it" if facts["cuda_aware"] else "stages arrays on a GPU through pinned memory"
    word = "taken" if facts["cuda_aware"] else "not taken"
    found = "; ".join([word, *facts["cuda_evidence"]])
    return [Finding(f"GPU memory, {flavour}", "fine", found, action)]


def _silent(finding: Finding) -> Finding:
    return replace(finding, advice="")


def _mpi_line(facts: dict[str, Any]) -> str:
    library = " ".join(facts["library"].split())
    return f"{library}, MPI {facts['standard']}, mpi4py {facts['mpi4py']}"


def _telling_line(done: launch.Captured) -> str:
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines()]
    return next((line for line in lines if any(letter.isalpha() for letter in line)), "no output")[:200]


def _python() -> Finding:
    found = f"{platform.python_version()} in {sys.prefix}"
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("Python", "broken", found, "cannot run", "make .venv anew: make setup PYTHON=python3.11")
    return Finding("Python", "fine", found, "runs ranks with it")


def _cores() -> Finding:
    usable, present = cores(), os.cpu_count() or 1
    action = f"marks timings of more than {usable} ranks as oversubscribed"
    if usable < present:
        found = f"{usable} usable of {present} hardware threads (hyperthreads, affinity or a quota)"
        return Finding("cores", "note", found, action)
    return Finding("cores", "fine", str(usable), action)


def _load() -> Finding:
    load = os.getloadavg()[0]
    if load > _BUSY:
        advice = "close what else is running before you believe a timing"
        return Finding("load", "note", f"{load:.1f} over the last minute", "writes it beside each result", advice)
    return Finding("load", "fine", f"{load:.1f} over the last minute", "writes it beside each result")


def _shared_memory() -> Finding:
    try:
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108 - only its free space is read
    except OSError:
        return Finding("shared memory", "note", "no /dev/shm", "leaves the way between ranks to MPI")
    found = f"{format_bytes(free // 2**20 * 2**20)} free in /dev/shm"
    if free < _LITTLE_SHARED_MEMORY:
        advice = "give the container more: docker run --shm-size=1g"
        return Finding("shared memory", "note", found, "many ranks may fail to start", advice)
    return Finding("shared memory", "fine", found, "lets ranks exchange messages through it")


def _gpu() -> Finding:
    from collectives import devices

    number = devices.count()
    if number:
        return Finding("GPU", "fine", f"{number} CUDA", "runs kernels and collectives on GPU arrays where they are")
    if os.path.exists(_DRIVER):
        advice = "the NVIDIA driver is there but shows no device; see nvidia-smi and CUDA_VISIBLE_DEVICES"
        return Finding("GPU", "note", "a driver without a device", "works on the CPU", advice)
    return Finding("GPU", "fine", "none", "works on the CPU")


def _user() -> Finding:
    if os.geteuid() == 0:
        return Finding("user", "fine", "root", "tells Open MPI to allow it")
    return Finding("user", "fine", "not root", "needs nothing else")


def _namespaces() -> Finding:
    if _in_namespace("true"):
        return Finding("user namespaces", "fine", "allowed", "can emulate a cluster without root")
    if os.geteuid() == 0:
        return Finding("user namespaces", "note", "not allowed", "needs root to emulate a cluster, and has it")
    advice = "to emulate a cluster: sysctl kernel.unprivileged_userns_clone=1, or run as root"
    return Finding("user namespaces", "note", "not allowed", "cannot emulate a cluster", advice)


def _shaping() -> Finding:
    tc = shutil.which("tc", path=f"{os.environ.get('PATH', '')}{_ADMIN_FOLDERS}")
    if tc is None:
        return Finding("traffic shaping", "note", "no tc", "cannot shape a network", "apt install iproute2")
    kinds = {"rates (tbf)": "tbf rate 100mbit burst 32k latency 50ms", "delays (netem)": "netem delay 1ms"}
    able = {name: _in_namespace(f"{tc} qdisc add dev lo root {rule}") for name, rule in kinds.items()}
    can = ", ".join(name for name, works in able.items() if works)
    if all(able.values()):
        return Finding("traffic shaping", "fine", can, "can limit an emulated cluster's rate and delay")
    missing = ", ".join(name for name, works in able.items() if not works)
    found = f"{can or 'nothing'} can be set; not {missing}"
    return Finding("traffic shaping", "note", found, "shapes an emulated cluster by what there is")


def _in_namespace(script: str) -> bool:
    """Whether a shell line works in a network of its own, which is gone afterwards."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    line = [unshare, "--user", "--map-root-user", "--net", "sh", "-c", script]
    try:
        return subprocess.run(line, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _browser() -> Finding:
    name = next(filter(shutil.which, _BROWSERS), None)
    if name is None:
        return Finding("browser", "note", "no Chromium", "does not look at the report's page in its tests")
    return Finding("browser", "fine", name, "looks at the report's page in its tests")


def _print_json(findings: Sequence[Finding]) -> None:
    from experiments.environment import collect

    json.dump({"environment": collect(), "records": [asdict(finding) for finding in findings]}, sys.stdout, indent=1)
    print()


def _print_table(findings: Sequence[Finding]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    marks = {"fine": "[green]fine[/]", "note": "[yellow]note[/]", "broken": "[bold red]BROKEN[/]"}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for header in ("", "", "found", "so Ciranda"):
        table.add_column(header, overflow="fold")
    for finding in findings:
        table.add_row(marks[finding.status], finding.topic, finding.found, finding.action)
    console = Console()
    console.print(table)
    for finding in findings:
        if finding.advice:
            console.print(f"{finding.topic}: {finding.advice}", markup=False, soft_wrap=True, highlight=False)
