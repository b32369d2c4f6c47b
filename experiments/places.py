"""Where ranks run: on this machine, on the emulated cluster, on the hosts of a file, or in a Slurm allocation."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from experiments import installations, launch
from experiments.cluster.holder import Holder
from experiments.cluster.shape import Shape, host
from experiments.errors import UsageFault

__all__ = ["LOCAL", "Cluster", "Hostfile", "Local", "On", "Place", "Slurm", "parse"]

On = Annotated[str, typer.Option("--on", help="Where ranks run: local, cluster, hostfile:FILE or slurm.")]
"""The option by which commands take a place, for ``parse``; its default is ``"local"``."""

_WAITING = {
    # Ranks share the cores of one machine with its network, so who waits lets others work.
    "CIRANDA_WAITING": "nap",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "MPIR_CVAR_POLLS_BEFORE_YIELD": "1",
}

_MPICH = {
    # UCX sees that the hosts are one machine and goes through its memory; libfabric's sockets do not.
    "MPIR_CVAR_CH4_NETMOD": "ofi",
    "FI_PROVIDER": "tcp",
    "FI_TCP_IFACE": "data",
}

_ENTER = Path(__file__).parent / "cluster" / "enter.py"
_PASSED = ("CIRANDA_", "OMPI_MCA_", "MPI4PY_", "PYTHON", "OMP_", "NUMBA_")


class Place(Protocol):
    """Where ranks run, and how a program is started on them."""

    @property
    def name(self) -> str:
        """``local``, ``cluster``, ``hostfile`` or ``slurm``."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON-able facts for the ``environment`` object."""
        ...

    def hosts(self) -> int | None:
        """How many hosts there are; None where that is not known, or all ranks are on this machine."""
        ...

    def command(self, ranks: int, program: Sequence[str], mpi: str) -> launch.Launch:
        """How to start a program there; raises UsageFault as ``launch.command`` does."""
        ...


@dataclass(frozen=True, slots=True)
class Local:
    """All ranks on this machine, which talk through its memory."""

    name = "local"

    def describe(self) -> dict[str, Any]:
        """Nothing beside its name."""
        return {}

    def hosts(self) -> None:
        """There is one machine."""
        return

    def command(self, ranks: int, program: Sequence[str], mpi: str) -> launch.Launch:
        """``launch.command``."""
        return launch.command(ranks, program, mpi)


LOCAL = Local()
"""All that takes a place runs here unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The hosts of an emulated cluster; rank r runs on host r mod hosts, and ``mpirun`` on host 0."""

    shape: Shape
    holder: Holder
    name = "cluster"

    def describe(self) -> dict[str, Any]:
        """The shape of the cluster: hosts, rate (bytes/s), delay (s), topology, shaping."""
        return self.shape.describe()

    def hosts(self) -> int:
        """How many hosts it has."""
        return self.shape.hosts

    def command(self, ranks: int, program: Sequence[str], mpi: str) -> launch.Launch:
        """One rank a host, round robin; between hosts messages go over TCP and the shaped links alone."""
        plain = launch.command(ranks, program, mpi)
        used = [host(number) for number in range(min(ranks, self.shape.hosts))]
        mpirun, *rest = plain.argv
        waiting = {name: value for name, value in _WAITING.items() if name not in os.environ}
        settings = {**plain.environment, **waiting, "TMPDIR": "/run/tmp"}
        if plain.mpi.family == "openmpi":
            settings |= _open_mpi(plain.mpi)
            rest = ["--host", ",".join(f"{name}:{-(-ranks // len(used))}" for name in used), "--map-by", "node", *rest]
        else:
            rest = [
                "-launcher", "ssh", "-launcher-exec", "/run/agent", "-iface", "data", "-hosts", ",".join(used),
                "-ppn", "1", *rest,
            ]  # fmt: skip
            settings |= _MPICH
        return replace(
            plain,
            argv=(*self.entering(0, tied=True), mpirun, *rest),
            environment=settings,
            notes=(*plain.notes, f"on the emulated cluster: {self.shape}"),
        )

    def entering(self, number: int, *, tied: bool = False) -> tuple[str, ...]:
        """What to put before a command to run it on a host; ``tied``: it ends with the process that starts it."""
        if not 0 <= number < self.shape.hosts:
            raise UsageFault(f"host {number}: the cluster has hosts 0 to {self.shape.hosts - 1}")
        how = ("--tied",) if tied else ()
        return (sys.executable, "-I", "-S", str(_ENTER), *how, str(self.holder.first), host(number))


@dataclass(frozen=True, slots=True)
class Hostfile:
    """The hosts that a file names, as the MPI in use spells them; ranks are started there by ssh."""

    file: Path
    name = "hostfile"

    def describe(self) -> dict[str, Any]:
        """How many hosts there are; their names are nobody's business."""
        return {"hosts": self.hosts()}

    def hosts(self) -> int:
        """How many lines name a host."""
        lines = [line.partition("#")[0].strip() for line in self.file.read_text(encoding="utf-8").splitlines()]
        return len([line for line in lines if line])

    def command(self, ranks: int, program: Sequence[str], mpi: str) -> launch.Launch:
        """``mpirun`` with the file; Open MPI is told which variables to take along."""
        plain = launch.command(ranks, program, mpi, crowded=False)
        mpirun, *rest = plain.argv
        if plain.mpi.family == "mpich":
            return replace(plain, argv=(mpirun, "-f", str(self.file.resolve()), *rest))
        names = sorted({*plain.environment, *(name for name in os.environ if name.startswith(_PASSED))})
        passed = [word for name in names if not name.startswith("PRTE_") for word in ("-x", name)]
        return replace(plain, argv=(mpirun, "--hostfile", str(self.file.resolve()), *passed, *rest))


@dataclass(frozen=True, slots=True)
class Slurm:
    """The nodes of the Slurm allocation that this process runs in; ``srun`` starts the ranks."""

    nodes: int
    name = "slurm"

    def describe(self) -> dict[str, Any]:
        """How many nodes there are."""
        return {"hosts": self.nodes}

    def hosts(self) -> int:
        """How many nodes the allocation has."""
        return self.nodes

    def command(self, ranks: int, program: Sequence[str], mpi: str) -> launch.Launch:
        """``srun`` with the interface that the MPI speaks."""
        plain = launch.command(ranks, program, mpi, crowded=False)
        interface = "pmix" if plain.mpi.family == "openmpi" else "pmi2"
        srun = ("srun", f"--mpi={interface}", "--kill-on-bad-exit=1", "-n", str(ranks))
        return replace(plain, argv=(*srun, *plain.argv[3:]))


def parse(text: str) -> Place:
    """The place that ``--on`` names; UsageFault where there is none such, or it is not ready."""
    kind, _, rest = text.partition(":")
    if text == "local":
        return LOCAL
    if text == "cluster":
        return _cluster()
    if kind == "hostfile" and rest:
        if not Path(rest).is_file():
            raise UsageFault(f"host file {rest!r} was not found")
        return Hostfile(Path(rest))
    if text == "slurm":
        return _slurm()
    raise UsageFault(f"--on {text}: write local, cluster, hostfile:FILE or slurm")


def _cluster() -> Cluster:
    from experiments import cluster

    found = cluster.current()
    if found is None:
        raise UsageFault("no cluster is up; bring one up first: ciranda cluster up --hosts 8")
    return found


def _slurm() -> Slurm:
    nodes = os.environ.get("SLURM_JOB_NUM_NODES", "")
    if not nodes.isdigit() or shutil.which("srun") is None:
        raise UsageFault("--on slurm: this is no Slurm allocation (salloc or sbatch makes one), or srun is not there")
    return Slurm(int(nodes))


def _open_mpi(mpi: installations.Installation) -> dict[str, str]:
    """Its launcher and its messages take the hosts' network, whatever else the environment says."""
    launcher = "PRTE_MCA_" if int(mpi.version.split(".")[0]) >= 5 else "OMPI_MCA_"
    prefix = "prte" if launcher == "PRTE_MCA_" else "oob_tcp"
    plm = "plm_ssh_agent" if launcher == "PRTE_MCA_" else "plm_rsh_agent"
    return {
        f"{launcher}{plm}": "/run/agent",
        f"{launcher}{prefix}_if_include": "data",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",  # without root outside, one is root within
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_pml": "ob1",
        "OMPI_MCA_btl": "tcp,self",
        "OMPI_MCA_btl_tcp_if_include": "data",
    }
