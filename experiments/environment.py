"""Where a number was taken: the ``environment`` object beside every set of results."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments import __version__
from experiments.machine import cores

__all__ = ["collect", "load_average"]

# Settings that change how fast messages are. The launchers' own variables (addresses, job keys) are left out.
_TELLING = (
    "OMPI_MCA_btl", "OMPI_MCA_coll", "OMPI_MCA_mpi_", "OMPI_MCA_mtl", "OMPI_MCA_pml", "OMPI_MCA_rmaps", "OMP_NUM_",
    "PRTE_MCA_rmaps", "MPIR_CVAR_", "MPICH_", "UCX_", "FI_", "I_MPI_", "CIRANDA_CHECK", "CIRANDA_TIMEOUT",
)  # fmt: skip


def collect() -> dict[str, Any]:
    """This machine, this Python and this program, without starting MPI; no host, user or folder names."""
    return {
        "ciranda": __version__,
        "revision": _revision(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": cores(),
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": load_average(),
        "packages": {name: _version(name) for name in ("numpy", "scipy", "mpi4py", "ml_dtypes", "numba")},
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(_TELLING)},
    }


def load_average() -> float:
    """How many processes wanted a core over the last minute: much above 0 before a run means a busy machine."""
    return round(os.getloadavg()[0], 2)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _revision() -> str | None:
    """The commit, with ``+`` behind it where files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    git = ["git", "-C", str(root)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
        dirty = subprocess.run(
            [*git, "diff", "--quiet", "HEAD"], capture_output=True, timeout=10, check=False
        ).returncode
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if dirty else "")
