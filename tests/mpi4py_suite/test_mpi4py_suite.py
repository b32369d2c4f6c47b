"""mpi4py's own tests of the methods that we override, with Communicator in the place of Intracomm.

The source distribution is fetched from the package index with pip into a cache inside the virtual environment; nothing
of it is kept here. Where it can't be had, the tests skip and say why.
"""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import mpi4py
import pytest

from experiments import launch

PLAY = Path(__file__).with_name("play.py")
CACHE = Path(sys.prefix, "cache", "mpi4py-suite")
LIMIT = 500.0

# Everything that calls a method of ours, or that makes, copies, compares and frees communicators.
MODULES = (
    "test_cco_buf", "test_cco_vec", "test_msgspec", "test_msgzero", "test_comm", "test_comm_topo", "test_attributes",
    "test_subclass", "test_op",
)  # fmt: skip

# pickle looks MPI.COMM_WORLD up by name and wants to find the very object there, which is now ours.
NOT_FOR_A_SUBSTITUTE = ("testPickle",)

# On five ranks, where two cores need minutes for the same calls on a duplicate once more.
REPETITIONS = ("WorldDup", "SelfDup")

# What our methods leave to mpi4py's: only calls that the tests make in order to see them refused.
PASSED_ON = {
    "alltoall goes to mpi4py's own method: a buffer that is no multiple of its blocks and datatype",
    "reduce goes to mpi4py's own method: different datatypes or counts to send and to receive",
    "reduce_scatter goes to mpi4py's own method: different datatypes to send and to receive",
    "reduce_scatter goes to mpi4py's own method: counts that do not suit the buffers",
}

COLLECTIVES = ("allgather_", "alltoall_", "barrier_", "broadcast_", "reduce_", "reduce_scatter_")


@pytest.fixture(scope="session")
def suite() -> Path:
    """The ``test`` folder of the installed mpi4py's source distribution."""
    folder = CACHE / f"mpi4py-{mpi4py.__version__}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Only mpi4py itself as source: pip would otherwise compile the tools that it reads the metadata with.
        fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "mpi4py", "--dest", str(CACHE)]
        done = subprocess.run(
            [*fetch, f"mpi4py=={mpi4py.__version__}"], capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            pytest.skip(f"the source of mpi4py {mpi4py.__version__} can't be had here: {reason}")
        _unpack_tests(next(CACHE.glob(f"mpi4py-{mpi4py.__version__}.tar.gz")), folder)
    return folder / "test"


def _unpack_tests(source: Path, folder: Path) -> None:
    """File by file, because Python 3.11.2 (Debian's) has no ``filter`` to keep an archive inside its folder."""
    with tarfile.open(source) as archive:
        for member in archive.getmembers():
            place = CACHE / member.name
            if member.isfile() and place.is_relative_to(folder / "test") and ".." not in place.parts:
                content = archive.extractfile(member)
                assert content is not None
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content.read())


@pytest.mark.timeout(LIMIT + 320)
@pytest.mark.parametrize("ranks", [2, 5])
def test_mpi4py_s_own_tests_pass_on(ranks: int, suite: Path, request: pytest.FixtureRequest) -> None:
    flavour = os.environ.get("CIRANDA_TEST_MPI", "openmpi")
    left_out = (*NOT_FOR_A_SUBSTITUTE, *(REPETITIONS if ranks > 3 else ()))
    program = ["python", str(PLAY), str(suite), "ours", ",".join(left_out), *MODULES]
    captured = launch.capture(launch.command(ranks, program, flavour), timeout=LIMIT)
    lines = captured.stdout.strip().splitlines()
    assert lines, f"exit code {captured.code}, and nothing said but:\n{captured.stderr[-5000:]}"
    said = json.loads(lines[-1])
    request.node.add_report_section("call", "mpi4py's suite", json.dumps(said, indent=1))
    print(json.dumps(said, indent=1))
    assert (said["failed"], captured.code) == ([], 0), captured.stderr[-20_000:]
    assert said["run"] > 200
    # Ours did the work, every collective of them, and nothing else went past us.
    for collective in COLLECTIVES:
        assert sum(runs for name, runs in said["runs"].items() if name.startswith(collective)) > 20, collective
    assert sum(runs for name, runs in said["runs"].items() if not name.startswith(COLLECTIVES)) > 20, "allreduce"
    assert set(said["passed_on"]) <= PASSED_ON
