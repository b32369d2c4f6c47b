"""Where ranks run: what `--on` takes, and the command lines that places make. No rank is started here."""

import os
from pathlib import Path

import pytest

from experiments import launch, places
from experiments.cluster.holder import Holder
from experiments.cluster.shape import Shape
from experiments.errors import UsageFault

FLAVOUR = os.environ.get("CIRANDA_TEST_MPI", "openmpi")
PROGRAM = ["python", "-c", "pass"]


def _cluster(hosts: int) -> places.Cluster:
    return places.Cluster(Shape(hosts, 12.5e6), Holder(1, 2, 3, 4))


def _hosts(file: Path, *lines: str) -> str:
    file.write_text("\n".join(lines))
    return f"hostfile:{file}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "local, cluster, hostfile:FILE or slurm"),
        ("Local", "local, cluster, hostfile:FILE or slurm"),
        ("cluster:8", "local, cluster, hostfile:FILE or slurm"),
        ("hostfile", "local, cluster, hostfile:FILE or slurm"),
        ("hostfile:/no/such/file", "/no/such/file"),
        ("slurm", "no Slurm allocation"),
        ("cluster", "ciranda cluster up"),
    ],
)
def test_what_is_no_place_is_refused_in_one_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_NUM_NODES", raising=False)
    with pytest.raises(UsageFault, match=f"^[^\n]*{message}[^\n]*$"):
        places.parse(text)


def test_here_the_command_is_the_launcher_s_own() -> None:
    place = places.parse("local")
    assert (place.name, place.hosts(), place.describe()) == ("local", None, {})
    assert place.command(2, PROGRAM, FLAVOUR) == launch.command(2, PROGRAM, FLAVOUR)


@pytest.mark.parametrize(("ranks", "used"), [(1, 1), (3, 3), (4, 4), (9, 4)])
def test_no_more_hosts_than_ranks_are_used_and_the_program_comes_last(ranks: int, used: int) -> None:
    started = _cluster(4).command(ranks, PROGRAM, FLAVOUR)
    words = [word.partition(":")[0] for text in started.argv for word in text.split(",")]
    assert [number for number in range(9) if f"host{number}" in words] == list(range(used))
    plain = launch.command(ranks, PROGRAM, FLAVOUR).argv
    assert started.argv[-len(plain) + 1 :] == plain[1:]


def test_messages_of_the_cluster_keep_to_its_links_whatever_the_user_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_MCA_btl", "self,sm")
    monkeypatch.setenv("CIRANDA_WAITING", "mpi")
    started = _cluster(4).command(4, PROGRAM, FLAVOUR)
    if started.mpi.family == "openmpi":
        assert started.environment["OMPI_MCA_btl"] == "tcp,self"
    else:
        assert started.argv[started.argv.index("-iface") + 1] == "data"
    assert "CIRANDA_WAITING" not in started.environment  # that one is the user's to choose


def test_a_host_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageFault, match="hosts 0 to 3"):
        _cluster(4).entering(4)


def test_facts_of_the_cluster_are_told_in_si_units() -> None:
    facts = places.Cluster(Shape(8, 12.5e6, topology="two-racks"), Holder(1, 2, 3, 4)).describe()
    assert (facts["hosts"], facts["rate"], facts["topology"]) == (8, 12.5e6, "two-racks")
    assert (facts["trunk"], facts["racks"]) == (12.5e6, [0, 0, 0, 0, 1, 1, 1, 1])


def test_a_host_file_goes_to_mpirun_and_counts_its_hosts(tmp_path: Path) -> None:
    place = places.parse(_hosts(tmp_path / "hosts", "# ours", "node01 slots=4", "", "node02 slots=4  # big"))
    started = place.command(64, PROGRAM, FLAVOUR)
    assert (place.hosts(), place.describe()) == (2, {"hosts": 2})
    assert str(tmp_path / "hosts") in started.argv
    assert not started.oversubscribed  # this machine's cores say nothing of theirs
    assert started.notes == () or "root" in started.notes[0]
    if started.mpi.family == "openmpi":
        assert started.argv[started.argv.index("MPI4PY_LIBMPI") - 1] == "-x"


def test_in_a_slurm_allocation_srun_starts_the_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "4")
    place = places.parse("slurm")
    argv = place.command(16, PROGRAM, FLAVOUR).argv
    assert (place.hosts(), argv[0], argv[argv.index("-n") + 1]) == (4, "srun", "16")
    assert argv[-len(PROGRAM) :] == ("mpi4py", "-c", "pass")
