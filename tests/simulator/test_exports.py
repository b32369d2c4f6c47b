"""Exports: each is read back by a parser, and where a foreign simulator is at hand, it agrees with ours."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectives import catalogue
from simulator import Conditions, Network, Run, models, networks, simulate
from simulator.exports import goal, paje, perfetto, platform, smpi
from simulator.exports.slices import lanes, slices

LAW = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
EVERY = [catalogue.get(name) for name in catalogue.names()]
BUSY = models.Model(
    message=models.LogGOPS(L=2e-6, o=1e-6, g=1e-7, G=1e-9, S=4096),
    reduction=models.Reduction(((math.inf, 1e-10),)),
)
NASTY = "ring\"</script>\\ \n% 0 'x'"


def played(name: str, size: int, nbytes: int = 1 << 16, *, busy: bool = False, gamma: float = 1e-10) -> Run:
    network = networks.star(size, 5e-6, 1.25e9, gamma)
    return simulate(catalogue.parse(name), size, nbytes, replace(network, model=BUSY) if busy else network)


def nasty() -> Run:
    return simulate(replace(catalogue.get("ring"), name=NASTY), 3, 64, networks.star(3, 5e-6, 1.25e9))


# --- what ranks do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("algorithm", EVERY, ids=str)
def test_no_lane_is_busy_with_two_things(algorithm: catalogue.Algorithm, busy: bool) -> None:
    size = next(count for count in (8, 9) if algorithm.supports(count))
    run = played(algorithm.name, size, busy=busy)
    found = lanes(slices(run, run.timeline()))
    for mine in found.values():
        for one, other in pairwise(mine):
            assert 0 <= one.begin <= one.end <= other.begin
    sends = [each for (_, lane, _), mine in found.items() if lane == "sends" for each in mine]
    assert sorted(each.index for each in sends) == list(range(run.messages))


# --- Perfetto -----------------------------------------------------------------------------------------------------


def events(run: Run) -> dict[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for event in json.loads(perfetto.text(run))["traceEvents"]:
        found[event["ph"]].append(event)
    return found


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("name", ["ring", "double_tree", "alltoall_pairwise", "parameter_server"])
def test_every_flow_of_a_trace_has_both_its_ends_inside_slices(name: str, busy: bool) -> None:
    run = played(name, 6, busy=busy)
    found = events(run)
    tracks = defaultdict(list)
    for each in found["X"]:
        assert each["dur"] >= 0
        tracks[each["pid"], each["tid"]].append((each["ts"], each["ts"] + each["dur"]))
    for kind in "sf":
        assert sorted(each["id"] for each in found[kind]) == list(range(run.messages))
        for each in found[kind]:
            inside = tracks[each["pid"], each["tid"]]
            assert any(begin <= each["ts"] <= end + 1e-9 for begin, end in inside), each
    starts, ends = ({each["id"]: each for each in found[kind]} for kind in "sf")
    for index, message in enumerate(run.timeline()):
        assert starts[index]["ts"] == pytest.approx(message.start * 1e6)
        assert ends[index]["ts"] == pytest.approx(message.arrived * 1e6)


def test_a_trace_names_a_thread_for_each_rank_and_counts_links() -> None:
    run = played("ring", 4)
    found = events(run)
    threads = {each["args"]["name"] for each in found["M"] if each["name"] == "thread_name"}
    assert {f"rank {rank}" for rank in range(4)} <= threads
    assert {f"rank {rank} {way}" for rank in range(4) for way in ("sends", "receives")} <= threads
    shares = defaultdict(list)
    for each in found["C"]:
        assert 0 <= each["args"]["share"] <= 1 + 1e-9
        shares[each["name"]].append(each["ts"])
    assert set(shares) == {f"host {rank} → switch" for rank in range(4)} | {
        f"switch → host {rank}" for rank in range(4)
    }
    assert all(moments == sorted(moments) for moments in shares.values())


def test_a_trace_has_folds_and_overheads_and_compute_phases() -> None:
    star = replace(networks.star(2, 5e-6, 1.25e9), model=BUSY)
    conditions = Conditions(compute={(0, 0): 1e-3})
    run = simulate(catalogue.get("ring"), 2, 1 << 16, star, conditions=conditions)
    names = [each["name"] for each in events(run)["X"]]
    assert {"compute", "fold in round 0", "send to 1", "take from 0", "to 1", "from 0"} <= set(names)
    (phase,) = (each for each in events(run)["X"] if each["name"] == "compute")
    assert phase["dur"] == pytest.approx(1000)


# --- GOAL ---------------------------------------------------------------------------------------------------------


def again(run: Run, network: Network, tick: float = 1e-15) -> Run:
    """The run once more from its GOAL text, on ``network``."""
    read = goal.read(goal.text(run, tick), tick)
    assert read.size == run.size
    conditions = Conditions(compute=read.compute)
    return simulate(read.algorithm(), run.size, read.nbytes, network, conditions=conditions)


@LAW
@given(st.sampled_from(EVERY), st.integers(1, 12), st.integers(0, 10**6), st.booleans())
def test_a_goal_text_read_back_takes_the_same_time(
    algorithm: catalogue.Algorithm, size: int, nbytes: int, busy: bool
) -> None:
    if not algorithm.supports(size):
        size = next(count for count in range(size, 40) if algorithm.supports(count))
    run = played(algorithm.name, size, nbytes, busy=busy)
    back = again(run, run.network)
    assert back.messages == run.messages
    assert back.bytes == run.bytes
    assert back.seconds == pytest.approx(run.seconds, rel=1e-9)
    assert back.completion == pytest.approx(run.completion, rel=1e-9, abs=1e-13)


def test_a_goal_text_keeps_contention_to_the_network_that_replays_it() -> None:
    ring = networks.ring(8, 1e-6, 1e9)
    far = simulate(catalogue.get("halving_doubling"), 8, 1 << 16, ring)
    assert again(far, ring).seconds == pytest.approx(far.seconds, rel=1e-9)
    star = networks.star(8, 1e-6, 1e9)
    assert again(far, star).seconds == pytest.approx(
        simulate(catalogue.get("halving_doubling"), 8, 1 << 16, star).seconds, rel=1e-9
    )


def test_what_a_goal_text_looks_like() -> None:
    """Two ranks exchange halves of 8 bytes, fold 4 of them at 25 ns a byte, and exchange again."""
    run = simulate(catalogue.get("ring"), 2, 8, networks.star(2, 1e-6, 1e9, 25e-9))
    assert goal.text(run).splitlines()[:14] == [
        "// ring, 8 bytes, calc in units of 1e-09 s",
        "num_ranks 2",
        "",
        "rank 0 {",
        "l1: send 4b to 1 tag 0",
        "l2: recv 4b from 1 tag 0",
        "l3: calc 100",
        "l3 requires l1",
        "l3 requires l2",
        "l4: send 4b to 1 tag 1",
        "l5: recv 4b from 1 tag 1",
        "l4 requires l3",
        "l5 requires l3",
        "}",
    ]


def test_goal_by_hand_with_comments_and_idle_ranks() -> None:
    """Rank 0 works for 3 µs and sends 1000 bytes to 2, which works for 2 µs: 3 + (1 + 5) + 2 = 11 µs."""
    text = """num_ranks 3 // three
rank 0 {
work: calc 3000
out: send 1000b to 2 tag 7 cpu 0 nic 0
out requires work /* a line
and another */
}
rank 2 {
recv 1000b from 0 tag 7
l2: calc 2000 cpu 0
}
"""
    with pytest.raises(ValueError, match="line 10"):
        goal.read(text.replace("l2: calc", "l2 calc"))
    whole = text.replace("recv 1000b", "l1: recv 1000b").replace("cpu 0\n}", "cpu 0\nl2 requires l1\n}")
    read = goal.read(whole)
    assert [len(mine) for mine in read.ranks] == [2, 0, 2]
    assert read.compute == {(0, 0): pytest.approx(3e-6), (2, 1): pytest.approx(2e-6)}
    star = networks.star(3, 5e-6, 1e9)
    run = simulate(read.algorithm(), 3, read.nbytes, star, conditions=Conditions(compute=read.compute))
    assert run.seconds == pytest.approx(11e-6)


TWO = "num_ranks 2\nrank 0 {{\n{}\n}}\nrank 1 {{\n{}\n}}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: there is no num_ranks"),
        ("rank 0 {\n}\n", "line 1: num_ranks must come first"),
        ("num_ranks 0\n", "line 1: num_ranks"),
        ("num_ranks 1\nnum_ranks 1\n", "line 2: num_ranks stands once"),
        ("num_ranks 1\nrank 1 {\n}\n", "line 2: rank 1 is not one of 1"),
        ("num_ranks 1\nrank 0 {\n}\nrank 0 {\n}\n", "line 4: rank 0 .* second time"),
        ("num_ranks 2\nrank 0 {\nrank 1 {\n", "line 3: rank 0 is still open"),
        ("num_ranks 1\nrank 0 {\n", "rank 0 is not closed"),
        ("num_ranks 1\ncalc 5\n", "line 2: 'calc 5' stands outside"),
        ("num_ranks 1\nrank 0 {\nl1: sing 5\n}\n", "line 3: 'sing 5' is no operation"),
        ("num_ranks 1\nrank 0 {\ncalc -5\n}\n", "line 3: .* is no operation"),
        (TWO.format("send 8b from 1", "recv 8b from 0"), "line 3: .* is no operation"),
        (TWO.format("send 8b to 2", ""), "line 3: rank 0 cannot exchange messages with rank 2"),
        (TWO.format("send 8b to 0", ""), "line 3: rank 0 cannot exchange messages with rank 0"),
        (TWO.format("send 8b to 1 cpu 1", "recv 8b from 0"), "line 3: cpu 1 cannot be played"),
        (TWO.format("send 8b to 1", "recv 8b from -1"), "line 6: .* is no operation"),
        (TWO.format("send 8b to 1", "recv 9b from 0"), "line 6: expects 9 bytes, and line 3 sends 8"),
        (TWO.format("send 8b to 1 tag 1", "recv 8b from 0 tag 2"), "line 3: no receive meets this message"),
        (TWO.format("", "recv 8b from 0"), "line 6: no send meets this message"),
        (TWO.format("l1: calc 5\nl1: calc 6", ""), "line 4: there is a second operation called 'l1'"),
        (TWO.format("l1: calc 5\nl1 requires l2", ""), "line 4: no operation of this rank is called 'l2'"),
        (TWO.format("l1: calc 5\nl2: calc 5\nl2 irequires l1", ""), "line 5: irequires"),
        (TWO.format("l1: calc 5\nl2: calc 5\nl1 requires l2\nl2 requires l1", ""), "line [34]: .* waits for itself"),
    ],
)
def test_a_bad_goal_text_is_refused_by_line(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        goal.read(text)


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        (
            "a: send 8b to 1 tag 0\nb: send 8b to 1 tag 1\nc: calc 1\nc requires a",
            "a: recv 8b from 0 tag 0\nb: recv 8b from 0 tag 1\nb requires a",
            "line 3: a second message|line 5: this does not wait for line 4",
        ),
        (
            "a: send 8b to 1 tag 0\nb: send 8b to 1 tag 1\nb requires a",
            "a: recv 8b from 0 tag 1\nb: recv 8b from 0 tag 0\nb requires a",
            "different rounds",
        ),
        (
            "a: send 8b to 1 tag 0\nb: recv 8b from 1 tag 1\nw: calc 9\nb requires w",
            "a: recv 8b from 0 tag 0\nb: send 8b to 0 tag 1",
            "line 3: this does not wait for all the work",
        ),
    ],
)
def test_a_goal_text_that_is_not_made_of_rounds_is_read_but_not_played(first: str, second: str, complaint: str) -> None:
    read = goal.read(TWO.format(first, second))
    with pytest.raises(ValueError, match=complaint):
        read.algorithm()


def test_ticks_are_longer_than_nothing() -> None:
    with pytest.raises(ValueError, match="a tick must be longer than 0 s"):
        goal.text(played("ring", 2), tick=0)


# --- SMPI ---------------------------------------------------------------------------------------------------------


def test_every_rank_says_what_it_does_and_nothing_of_when(tmp_path: Path) -> None:
    """A ring of 2 folds 32 KiB at 0.1 ns: 3.2768 µs are 3276.8 flops at 1 Gflop/s."""
    index = smpi.write_folder(played("ring", 2), tmp_path / "trace")
    files = [Path(line) for line in index.read_text().splitlines()]
    assert [file.name for file in files] == ["rank0.txt", "rank1.txt"]
    lines = files[0].read_text().splitlines()
    assert [line for line in lines if "compute" not in line] == [
        "0 init", "0 irecv 1 0 32768", "0 isend 1 0 32768", "0 waitall", "0 irecv 1 1 32768", "0 isend 1 1 32768",
        "0 waitall", "0 finalize",
    ]  # fmt: skip
    (work,) = (float(line.split()[2]) for line in lines if "compute" in line)
    assert work == pytest.approx(3276.8)
    assert smpi.text(played("ring", 2)) == "".join(file.read_text() for file in files)


@pytest.mark.parametrize("algorithm", EVERY, ids=str)
def test_every_isend_meets_an_irecv(algorithm: catalogue.Algorithm) -> None:
    size = next(count for count in (6, 8) if algorithm.supports(count))
    sends, recvs = [], []
    for line in smpi.text(played(algorithm.name, size)).splitlines():
        rank, action, *rest = line.split()
        if action == "isend":
            sends.append((rank, rest[0], *rest[1:]))
        elif action == "irecv":
            recvs.append((rest[0], rank, *rest[1:]))
    assert len(set(sends)) == len(sends)
    assert sorted(sends) == sorted(recvs)


SHAPES = {
    "star": lambda: networks.star(8, 5e-6, 1.25e9),
    "ring": lambda: networks.ring(8, 1e-6, 1.25e9),
    "torus": lambda: networks.torus((4, 4), 1e-6, 1.25e9),
    "fat tree": lambda: networks.fat_tree(4, 1e-6, 1.25e9, oversubscription=2),
    "dragonfly": lambda: networks.dragonfly(2, 2, 2, 1e-6, 1.25e9),
    "hierarchical": lambda: networks.hierarchical((4, 2), (1e-6, 2e-6), (1e10, 1.25e9)),
    "rails": lambda: networks.rails(2, 4, 1e-6, 1e10, 2e-6, 1.25e9),
    "bus": lambda: networks.bus(8, 5e-6, 1.25e9, shared=2e9),
}


def replayed(run: Run, folder: Path) -> float:
    """How long SimGrid says that the run takes, on the same network."""
    index = smpi.write_folder(run, folder / "trace")
    (folder / "platform.xml").write_text(platform.text(run.network))
    (folder / "hosts").write_text("".join(f"{name}\n" for name in platform.host_names(run.network)))
    options = [f"--cfg={option}" for option in smpi.OPTIONS]
    where = ["-platform", str(folder / "platform.xml"), "-hostfile", str(folder / "hosts")]
    done = subprocess.run(
        ["smpirun", "-np", str(run.size), *where, "-replay", str(index), *options],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    (told,) = re.findall(r"Simulation time ([\d.]+)", done.stdout + done.stderr)
    return float(told)


needs_simgrid = pytest.mark.skipif(
    not shutil.which("smpirun"), reason="no SimGrid; on Debian: apt install libsimgrid-dev"
)


@needs_simgrid
@pytest.mark.parametrize(
    ("name", "size"),
    [("ring", 8), ("ring", 5), ("recursive_doubling", 8), ("halving_doubling", 8), ("binomial", 6), ("double_tree", 7)],
)
def test_simgrid_replays_a_trace_in_the_same_time(name: str, size: int, tmp_path: Path) -> None:
    run = played(name, size, 1 << 22)
    assert replayed(run, tmp_path) == pytest.approx(run.seconds, rel=0.005)


@needs_simgrid
@pytest.mark.parametrize("algorithm", ["ring", "recursive_doubling", "halving_doubling", "circulant", "binomial"])
@pytest.mark.parametrize("shape", SHAPES)
def test_simgrid_shares_the_links_of_every_shape_as_here(shape: str, algorithm: str, tmp_path: Path) -> None:
    network = SHAPES[shape]()
    run = simulate(catalogue.get(algorithm), network.size, 1 << 22, network)
    assert replayed(run, tmp_path) == pytest.approx(run.seconds, rel=0.005)


@needs_simgrid
@pytest.mark.parametrize("algorithm", ["double_tree", "parameter_server", "chain"])
@pytest.mark.parametrize("shape", SHAPES)
def test_and_messages_of_different_distance_where_latency_gives_none_a_larger_share(
    shape: str, algorithm: str, tmp_path: Path
) -> None:
    """SimGrid shares links in inverse proportion to latency, as TCP does; without latency both share evenly."""
    network = SHAPES[shape]()
    quick = replace(network, topology=replace(network.topology, latency=0 * network.topology.latency))
    run = simulate(catalogue.get(algorithm), network.size, 1 << 22, quick)
    assert replayed(run, tmp_path) == pytest.approx(run.seconds, rel=0.005)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_platform_holds_all_hosts_links_and_routes(shape: str) -> None:
    network = SHAPES[shape]()
    found = ET.fromstring(platform.text(network).split('simgrid.dtd">')[1])
    assert len(found.findall(".//host")) == network.size
    assert len(found.findall(".//link")) == len(network.topology.ends)
    routes = found.findall(".//route")
    assert len(routes) == network.size * (network.size - 1)
    for route in routes:
        source, dest = (int(route.attrib[end][1:]) for end in ("src", "dst"))
        assert [int(link.attrib["id"][1:]) for link in route] == [hop.link for hop in network.route(source, dest)]


def test_what_a_platform_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="has links, and no processor time"):
        platform.text(networks.uniform(4, 1e-6, 1e-9))


# --- Paje ---------------------------------------------------------------------------------------------------------


def paje_lines(text: str) -> list[tuple[str, dict[str, str]]]:
    """The events of a Paje trace as (name, fields), by its own definitions."""
    names: dict[str, str] = {}
    fields: dict[str, list[str]] = defaultdict(list)
    found = []
    defining = ""
    for line in text.splitlines():
        if start := re.fullmatch(r"%EventDef (\w+) (\d+)", line):
            defining = start[2]
            names[defining] = start[1]
        elif line.startswith("% "):
            fields[defining].append(line.split()[1])
        elif not line.startswith("%"):
            number, *values = [text.strip('"') for text in re.findall(r'"[^"]*"|\S+', line)]
            found.append((names[number], dict(zip(fields[number], values, strict=True))))
    return found


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("name", ["ring", "linear", "parameter_server"])
def test_paje_states_and_links_begin_and_end(name: str, busy: bool) -> None:
    run = played(name, 6, busy=busy)
    found = paje_lines(paje.text(run))
    known, depth, under_way, now = {"0"}, defaultdict(int), {}, 0.0
    arrived = []
    for event, values in found:
        if "Time" in values:
            assert float(values["Time"]) >= now
            now = float(values["Time"])
        if event == "PajeCreateContainer":
            assert values["Container"] in known
            known.add(values["Alias"])
        elif event in ("PajePushState", "PajePopState"):
            key = values["Type"], values["Container"]
            depth[key] += 1 if event == "PajePushState" else -1
            assert 0 <= depth[key] <= 1
        elif event == "PajeStartLink":
            assert values["StartContainer"] in known
            under_way[values["Key"]] = float(values["Time"])
        elif event == "PajeEndLink":
            arrived.append((under_way.pop(values["Key"]), float(values["Time"])))
    assert not any(depth.values())
    assert sorted(arrived) == sorted((message.start, message.arrived) for message in run.timeline())
    assert now == run.seconds


@pytest.mark.skipif(not shutil.which("pj_dump"), reason="no pj_dump; on Debian: apt install pajeng")
def test_pj_dump_reads_the_trace(tmp_path: Path) -> None:
    run = played("halving_doubling", 8)
    (tmp_path / "run.paje").write_text(paje.text(run), encoding="utf-8")
    done = subprocess.run(
        ["pj_dump", str(tmp_path / "run.paje")], capture_output=True, text=True, timeout=60, check=True
    )
    assert sum(line.startswith("Link,") for line in done.stdout.splitlines()) == run.messages


# --- names --------------------------------------------------------------------------------------------------------


def test_names_break_no_format() -> None:
    run = nasty()
    assert json.loads(perfetto.text(run))["otherData"]["algorithm"] == NASTY
    assert goal.read(goal.text(run)).size == 3
    names = [values.get("Name") for event, values in paje_lines(paje.text(run)) if event == "PajeCreateContainer"]
    assert "ring'</script>\\  % 0 'x' on star" in names
    assert NASTY not in smpi.text(run)
