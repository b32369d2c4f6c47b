"""A real cluster of namespaces: what it isolates, what it carries, and that nothing is left of it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import cli, cluster, launch
from experiments.cluster import holder, lifetime, rates
from experiments.cluster.check import ENOUGH, Finding, Flow, Pair, Stations, repeated, stations
from experiments.cluster.shape import Shape
from experiments.errors import Failure
from experiments.places import Cluster

FLAVOUR = os.environ.get("CIRANDA_TEST_MPI", "openmpi")
RATE = 25e5  # bytes/s: low, so that a busy machine carries it too
REASON = cluster.available()
LIMIT = 60
SMALL = Shape(3, RATE)

needs_namespaces = pytest.mark.skipif(REASON is not None, reason=f"no cluster can be made here: {REASON}")

Ciranda = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """An environment in which no cluster is up, whatever else runs on this machine."""
    return {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}


@pytest.fixture
def ciranda(surroundings: dict[str, str]) -> Ciranda:
    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_ciranda(*arguments)], env=surroundings | more, capture_output=True, text=True, timeout=LIMIT, check=False
        )

    return run


@pytest.fixture
def nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where leftovers of others are none of this test's
    return tmp_path


@pytest.fixture
def up(nothing_up: Path) -> Generator[None]:
    lifetime.up(SMALL)
    yield
    lifetime.down()


@pytest.fixture(scope="module")
def place() -> Generator[Cluster]:
    with cluster.temporary(hosts=3, rate=RATE) as found:
        yield found


def _ciranda(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "experiments.cli", "cluster", *arguments]


def _on(place: Cluster, number: int, *command: str) -> str:
    return subprocess.run(
        [*place.entering(number), *command], capture_output=True, text=True, timeout=LIMIT, check=True
    ).stdout.strip()


def _flow(ready: Stations, pairs: Sequence[Pair], seconds: float = 0.4) -> Flow:
    """Measured once more where another process kept all cores from the streams."""
    for _ in range(5):
        flow = ready.stream(pairs, seconds)
        if min(flow.rates.values()) > 0:
            return flow
    raise AssertionError(f"no stream flows: {pairs}")


def _processes(word: str) -> list[int]:
    """Those that have ``word`` in their command line and have not ended."""
    found: list[int] = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and holder.started_at(pid) != -1:
                found.append(pid)
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def _holders(mark: str) -> list[int]:
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has(pid, f"{holder.MARK}={mark}")]


def _has(pid: int, setting: str) -> bool:
    try:
        there = setting.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return there and holder.started_at(pid) != -1


def _until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.02)


def _outside() -> tuple[str, ...]:
    """What a cluster could disturb in the machine's own namespaces."""
    tables = ("/proc/net/dev", "/proc/net/route", "/proc/self/mounts", "/etc/hosts")
    network, *others = [Path(table).read_text() for table in tables]
    names = " ".join(line.split(":")[0] for line in network.splitlines())
    return names, *others, os.uname().nodename, " ".join(os.listdir("/run")), str(os.path.exists("/run/netns"))


@needs_namespaces
def test_hosts_have_names_addresses_and_reach_one_another(place: Cluster) -> None:
    assert [_on(place, number, "hostname") for number in range(3)] == ["host0", "host1", "host2"]
    links = [_on(place, number, "ip", "-brief", "-4", "address") for number in range(3)]
    for number, text in enumerate(links):
        assert [line.split()[0].partition("@")[0] for line in text.splitlines()] == ["lo", "data"]
        assert f"10.203.0.{number + 1}/24" in text
    assert "host2" in _on(place, 0, "cat", "/etc/hosts")


@needs_namespaces
def test_no_host_has_a_way_out(place: Cluster) -> None:
    routes = _on(place, 0, "ip", "route", "show", "table", "main").splitlines()
    assert [route.split()[0] for route in routes] == ["10.203.0.0/24"]


@needs_namespaces
def test_nothing_outside_is_touched() -> None:
    before = _outside()
    with cluster.temporary(hosts=2, rate=RATE):
        during = _outside()
    assert before == during == _outside()


@needs_namespaces
@pytest.mark.parametrize("topology", ["star", "ring", "two-racks"])
def test_links_carry_what_they_promise_and_no_more(topology: str) -> None:
    with cluster.temporary(hosts=4, rate=RATE, topology=topology) as place, stations(place) as ready:
        flows = [_flow(ready, pairs) for pairs in ([(0, 1)], [(1, 2), (2, 1)], [(0, 1), (1, 2), (2, 3), (3, 0)])]
    for flow in flows:
        shares = [rate / place.shape.share(*pair) for pair, rate in flow.rates.items()]
        assert max(shares) <= 1.5, shares  # unshaped it is a thousand, and what a buffer held may come late
        assert min(shares) > 0, shares  # how near to 1 is for `cluster check`, on an idle machine


@needs_namespaces
def test_hosts_of_a_rack_share_the_link_to_the_other() -> None:
    racks = cluster.temporary(hosts=4, rate=RATE, topology="two-racks", oversubscription=4)
    with racks as place, stations(place) as ready:
        flow = _flow(ready, [(0, 2), (1, 3)], seconds=0.8)
    assert place.shape.trunk == RATE / 2
    assert 0 < sum(flow.rates.values()) / place.shape.trunk <= 1.5


def test_what_is_too_slow_is_measured_again_and_then_told() -> None:
    shares = iter([0.5, 0.7, 0.6, 0.99])
    found = repeated(lambda: Finding("one way", 1, RATE, next(shares), 0.7, 0.1))
    assert (found.lowest, found.repeats, found.holds) == (0.7, 2, False)
    assert repeated(lambda: Finding("one way", 1, RATE, next(shares), 1, 0.1)).repeats == 0


@given(st.floats(0.01, 1.5), st.floats(0, 3.2))
def test_a_rate_is_warned_about_exactly_where_it_is_not_carried(lowest: float, cpu: float) -> None:
    told = rates.warning(Shape(8, 12.5e6), Finding("all hosts at once", 8, 12.5e6, lowest, lowest, cpu))
    assert (told is None) == (lowest >= ENOUGH and cpu <= rates.MOST_CPU)
    assert told is None or "100Mbit/s" in told


@given(st.floats(1e5, 4e8), st.floats(1e-10, 1e-8))
def test_the_rate_chosen_is_the_highest_that_is_carried(limit: float, cost: float) -> None:
    def measured(shape: Shape) -> Finding:
        share = 0.99 if shape.rate <= limit else 0.5
        return Finding("all hosts at once", shape.hosts, shape.rate, share, share, cost * shape.rate * shape.hosts)

    good = [rate for rate in rates.LADDER if rate <= limit and cost * rate * 8 <= rates.MOST_CPU]
    if good:
        assert rates.choose(Shape(8, 12.5e6), measured).rate == max(good)
    else:
        with pytest.raises(Failure, match="8 hosts"):
            rates.choose(Shape(8, 12.5e6), measured)


@needs_namespaces
def test_ranks_go_round_the_hosts_and_share_no_memory(ciranda: Ciranda, up: None) -> None:
    program = (
        "from mpi4py import MPI; import os; c = MPI.COMM_WORLD;"
        "near = c.Split_type(MPI.COMM_TYPE_SHARED).size;"
        "print(c.gather((c.rank, os.uname().nodename, near, c.allreduce(1))) or '')"
    )
    done = ciranda("run", "-n", "4", "--mpi", FLAVOUR, "--", "python", "-c", program)
    assert done.returncode == 0, done.stderr
    ranks = next(line for line in done.stdout.splitlines() if line.startswith("["))
    expected = [(0, "host0", 2, 4), (1, "host1", 1, 4), (2, "host2", 1, 4), (3, "host0", 2, 4)]
    assert ranks == str(expected)


@needs_namespaces
def test_messages_of_mpi_take_the_time_of_the_shaped_link(ciranda: Ciranda, up: None) -> None:
    program = (
        "from mpi4py import MPI; import numpy, time; c = MPI.COMM_WORLD; box = numpy.zeros(1 << 20, 'u1'); c.Barrier();"
        "began = time.monotonic(); c.Send(box, 1) if c.rank == 0 else c.Recv(box, 0);"
        "print(time.monotonic() - began) if c.rank else None"
    )
    done = ciranda("run", "-n", "2", "--mpi", FLAVOUR, "--", "python", "-c", program)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.9 * (1 << 20) / RATE  # through memory it would be a thousandth


@needs_namespaces
def test_the_time_limit_of_a_job_ends_all_of_it(ciranda: Ciranda, up: None, tmp_path: Path) -> None:
    word = f"limit-of-{tmp_path.name}-{os.getpid()}"
    done = ciranda("run", "-n", "3", "--mpi", FLAVOUR, "--timeout", "2s", "--", "sh", "-c", "sleep 99; exit", word)
    assert done.returncode == launch.TIMED_OUT
    _until(lambda: not _processes(word))


@needs_namespaces
def test_exit_code_and_signals_pass_and_files_land_where_they_should(
    ciranda: Ciranda, up: None, surroundings: dict[str, str], tmp_path: Path
) -> None:
    assert ciranda("run", "--host", "2", "--", "sh", "-c", "hostname; exit 7").returncode == 7
    assert ciranda("run", "--", "no-such-program").returncode == 127
    assert ciranda("run", "--", "python", "-c", "import typer").returncode == 0  # this very interpreter
    cut_short = ciranda("run", "--", "sh", "-c", "yes | head -n 1")
    assert (cut_short.stdout, cut_short.stderr) == ("y\n", "")
    assert ciranda("run", "--host", "9", "--", "true").returncode == 2
    waiting = ["sh", "-c", "trap 'touch told; exit 3' TERM; touch began; while :; do sleep 0.05; done"]
    process = subprocess.Popen(_ciranda("run", "--", *waiting), env=_importable(surroundings), cwd=tmp_path)
    _until((tmp_path / "began").exists)
    process.terminate()
    assert process.wait(LIMIT) == 3
    assert (tmp_path / "told").exists()


@needs_namespaces
def test_kill_9_of_a_launcher_ends_its_ranks_and_leaves_the_cluster(
    ciranda: Ciranda, up: None, surroundings: dict[str, str], tmp_path: Path
) -> None:
    word = f"ranks-of-{tmp_path.name}-{os.getpid()}"
    program = (
        f"from mpi4py import MPI; import time; open('{tmp_path}/' + str(MPI.COMM_WORLD.rank), 'w').close();"
        "time.sleep(99)"
    )
    command = _ciranda("run", "-n", "3", "--mpi", FLAVOUR, "--", "python", "-c", program, word)
    launcher = subprocess.Popen(command, env=surroundings, stderr=subprocess.DEVNULL)
    _until(lambda: all((tmp_path / str(rank)).exists() for rank in range(3)))
    assert len(_processes(word)) > 3
    launcher.kill()
    launcher.wait()
    _until(lambda: not _processes(word))
    assert ciranda("run", "--", "true").returncode == 0


@needs_namespaces
def test_down_in_the_middle_ends_everything(
    ciranda: Ciranda, up: None, surroundings: dict[str, str], tmp_path: Path
) -> None:
    word = f"middle-of-{tmp_path.name}-{os.getpid()}"
    command = ["sh", "-c", "touch $0; sleep 99 || exit", str(tmp_path / word)]
    process = subprocess.Popen(_ciranda("run", "--", *command), env=surroundings)
    _until((tmp_path / word).exists)
    assert ciranda("down").returncode == 0
    assert process.wait(LIMIT) != 0
    _until(lambda: not _processes(word))
    assert not _holders(str(tmp_path / "ciranda" / "cluster.json"))
    assert list(tmp_path.iterdir()) == [tmp_path / word]


@needs_namespaces
@pytest.mark.parametrize(
    ("clear", "left"), [(lambda: lifetime.up(SMALL), 2), (lifetime.down, 0)], ids=["by up", "by down"]
)
def test_a_killed_cluster_is_found_and_cleared(nothing_up: Path, clear: Callable[[], object], left: int) -> None:
    mark = str(nothing_up / "ciranda" / "cluster.json")
    lifetime.up(SMALL)
    os.kill(min(_holders(mark)), signal.SIGKILL)
    _until(lambda: not _holders(mark))
    assert cluster.current() is None
    clear()
    assert len(_holders(mark)) == left
    lifetime.down()
    assert list(nothing_up.iterdir()) == []


@needs_namespaces
@pytest.mark.parametrize("seconds", [0.4, 0.6, 0.9])
def test_kill_9_of_up_at_any_moment_leaves_nothing_that_down_does_not_clear(
    ciranda: Ciranda, surroundings: dict[str, str], tmp_path: Path, seconds: float
) -> None:
    process = subprocess.Popen(
        _ciranda("up", "--hosts", "8", "--rate", "20Mbit/s"), env=surroundings,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(seconds)
    process.kill()
    process.wait()
    assert ciranda("down").returncode == 0
    mark = str(tmp_path / "ciranda" / "cluster.json")
    _until(lambda: not _holders(mark))
    assert list(tmp_path.iterdir()) == []


@needs_namespaces
def test_a_temporary_cluster_ends_with_a_killed_owner(tmp_path: Path) -> None:
    code = (
        "from experiments import cluster; import time\n"
        "with cluster.temporary(hosts=2, rate=25e5) as place: print(place.holder.pid, flush=True); time.sleep(99)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        held = int(owner.stdout.readline())
    started = holder.started_at(held)
    assert started != -1
    owner.kill()
    owner.wait()
    _until(lambda: holder.started_at(held) != started)


@needs_namespaces
def test_only_ones_own_cluster_is_cleared(ciranda: Ciranda, up: None, place: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert ciranda("down", XDG_RUNTIME_DIR=str(other)).stdout.strip() == "no cluster was up"
    assert ciranda("run", "--", "true").returncode == 0
    assert ciranda("down").returncode == 0
    assert _on(place, 1, "hostname") == "host1"


@needs_namespaces
def test_a_second_cluster_is_refused(ciranda: Ciranda, up: None) -> None:
    second = ciranda("up", "--hosts", "2", "--rate", "20Mbit/s")
    assert second.returncode == 2
    assert "is up already" in second.stderr
    assert json.loads(ciranda("status", "--json").stdout)["hosts"] == 3


@needs_namespaces
def test_a_delay_works_or_is_refused_by_name(ciranda: Ciranda) -> None:
    done = ciranda("up", "--hosts", "2", "--rate", "20Mbit/s", "--delay", "30ms")
    if done.returncode == 2:
        assert "netem" in done.stderr
        return
    program = (
        "import socket, time; began = time.time();"
        "socket.socket().connect_ex(('host1', 9)); print(time.time() - began)"  # nobody listens, and the host says so
    )
    late = ciranda("run", "--", sys.executable, "-c", program)
    assert ciranda("down").returncode == 0
    assert float(late.stdout) > 0.055


def _importable(environment: dict[str, str]) -> dict[str, str]:
    return environment | {"PYTHONPATH": str(Path(__file__).parents[2])}


def _bin(folder: Path, programs: dict[str, str]) -> str:
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    "arguments", [["up", "--hosts", "2"], ["up", "--hosts", "2", "--rate", "20Mbit/s"]], ids=["choosing", "given"]
)
def test_where_namespaces_are_forbidden_up_says_so(ciranda: Ciranda, tmp_path: Path, arguments: Sequence[str]) -> None:
    fake = tmp_path / "bin"
    fake.mkdir()
    path = _bin(fake, {"unshare": "echo unshare: unshare failed: Operation not permitted >&2; exit 1"})
    done = ciranda(*arguments, PATH=path)
    assert done.returncode == 2
    assert "Operation not permitted" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == [fake]


def test_where_programs_are_missing_up_names_them(
    ciranda: Ciranda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = ciranda("up", "--hosts", "2", PATH=str(tmp_path / "empty"))
    assert done.returncode == 2
    assert "unshare" in done.stderr
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "unshare" in (cluster.available() or "")


def test_without_a_cluster_status_and_down_are_fine_and_run_is_not(
    nothing_up: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["cluster", "status"]) == 0
    assert cli.run(["cluster", "down"]) == 0
    assert capsys.readouterr().out.splitlines() == ["no cluster is up", "no cluster was up"]
    for words in ("cluster run -- true", "cluster check", "run --on cluster -n 2 -- true"):
        assert cli.run(words.split()) == 2
        assert "no cluster is up" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"shape": {"hosts": 1}}', "\x00"])
def test_a_state_file_that_makes_no_sense_is_no_cluster(
    nothing_up: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    state = nothing_up / "ciranda"
    state.mkdir(mode=0o700)
    (state / "cluster.json").write_text(text)
    assert cli.run(["cluster", "status"]) == 0
    assert capsys.readouterr().out.strip() == "no cluster is up"
    assert cli.run(["cluster", "down"]) == 0
    assert list(nothing_up.iterdir()) == []


def test_a_folder_that_others_may_write_is_not_believed(nothing_up: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = nothing_up / "ciranda"
    state.mkdir()
    state.chmod(0o777)
    for arguments in (["status"], ["down"], ["up", "--hosts", "2", "--rate", "20Mbit/s"]):
        assert cli.run(["cluster", *arguments]) == 2
        assert "0700" in capsys.readouterr().err
