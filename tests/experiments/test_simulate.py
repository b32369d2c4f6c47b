"""`ciranda simulate`: tables, records and refusals."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pytest
import typer

from collectives import catalogue
from collectives.profile import Profile
from collectives.schedule import OVERWRITE, Recv
from experiments import cli, network, records
from experiments.network import Costs
from experiments.option_groups import grouped
from experiments.simulate import Setting, outcomes


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["simulate", *arguments]) == 0
    return capsys.readouterr().out


def read(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[records.Record]:
    found, _ = records.read_document(json.loads(shown(capsys, *arguments, "--json")))
    return found


def test_a_record_carries_what_was_computed(capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = read(capsys, "ring", "-n", "4", "--size", "1MiB", "--latency", "5us", "--bandwidth", "10Gbit/s")
    seconds = 6 * 5e-6 + 1.5 * 2**20 * 8e-10
    assert (record.algorithm, record.collective, record.ranks, record.nbytes) == ("ring", "allreduce", 4, 2**20)
    assert record.simulated_seconds == pytest.approx(seconds, rel=1e-9)
    assert record.theory_seconds == pytest.approx(seconds, rel=1e-9)
    assert record.bound_seconds == pytest.approx(1.5 * 2**20 * 8e-10)
    assert record.algbw == pytest.approx(2**20 / seconds)
    assert record.busbw == pytest.approx(1.5 * 2**20 / seconds)
    assert record.measured_seconds is None
    assert record.samples == 0


def test_without_names_it_takes_every_allreduce_fastest_first(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(capsys, "-n", "5", "--size", "64KiB")
    assert sorted(record.algorithm for record in found) == catalogue.names("allreduce")
    seconds = [record.simulated_seconds for record in found]
    assert seconds == sorted(seconds, key=lambda value: value or 0.0)


def test_ranks_and_sizes_make_a_grid(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(capsys, "ring", "chain:segments=3", "-n", "2:8", "--size", "8:32")
    cells = {(record.algorithm, record.ranks, record.nbytes) for record in found}
    assert cells == {(name, p, n) for name in ("ring", "chain:segments=3") for p in (2, 4, 8) for n in (8, 16, 32)}


def test_the_table_has_a_line_for_each_and_the_bound_above(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "ring", "linear", "-n", "4").splitlines()
    assert "1.258ms" in lines[0]
    assert [line.split()[0] for line in lines if line.startswith(("ring", "linear"))] == ["ring", "linear"]
    ring = next(line for line in lines if line.startswith("ring")).split()
    assert ring == ["ring", "1.288ms", "1.288ms", "1.02", "6", "24", "814MB/s", "1.22GB/s"]
    assert all(len(line) <= 80 for line in lines)


def test_a_barrier_and_a_single_rank_have_no_bandwidth(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(capsys, "barrier_dissemination", "ring", "-n", "1,4", "--size", "8")
    assert [record.busbw is None for record in found] == [True, True, False, True]
    assert shown(capsys, "ring", "-n", "1")


def test_a_profile_gives_the_costs_and_options_replace_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = Profile(alpha=1e-3, beta=1e-6, gamma=1e-6).save(tmp_path / "profile.json")
    (measured,) = read(capsys, "recursive_doubling", "-n", "2", "--size", "1000B", "--profile", str(path))
    assert measured.simulated_seconds == pytest.approx(1e-3 + 1e-3 + 1e-3)
    (mixed,) = read(
        capsys, "recursive_doubling", "-n", "2", "--size", "1000B", "--profile", str(path), "--gamma", "0s"
    )  # fmt: skip
    assert mixed.simulated_seconds == pytest.approx(2e-3)


def test_chunks_end_between_elements() -> None:
    setting = Setting(Costs(0.0, 1.0, 0.0).network)
    (bytewise,) = outcomes([catalogue.get("ring")], [3], [16], setting, "uint8")
    (whole,) = outcomes([catalogue.get("ring")], [3], [16], setting, "float64")
    assert (bytewise.run.seconds, whole.run.seconds) == (24.0, 32.0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["rng"], "no algorithm is called 'rng'; known: ring"),
        (["ring", "--bandwidth", "0"], "nothing moves at zero"),
        (["ring", "--latency", "nan"], "'nan' is no number"),
        (["ring", "--size", "7", "--dtype", "float32"], "no whole number of float32"),
        (["ring", "--dtype", "float7"], "dtype 'float7' is not known"),
        (["ring", "-n", "0"], "rank counts '0'"),
        (["parameter_server_separate", "-n", "1"], "none works for 1"),
        (["ring", "--profile", "/nowhere/profile.json"], "no profile at /nowhere/profile.json"),
        (["ring", "--network", "dgx-h200"], "no network is called 'dgx-h200'"),
        (["ring", "--network", "torus:2x2", "-n", "5"], "torus has 4 hosts, too few for 5 ranks"),
        (["ring", "--network", "torus:2x0"], "each of dims must be at least 1"),
        (["ring", "--network", "torus:2x2", "--bandwidth", "0"], "bandwidth must be above 0"),
        (["ring", "--network", "torus:2x2", "--bandwidth=-1Gbit/s"], "'-1Gbit/s' is no number"),
        (["ring", "--network", "torus:2x2", "--latency", "nan"], "'nan' is no number"),
        (["ring", "--network", "torus:2x2", "--placement", "0,1,2"], "rank 3 has no place"),
        (["ring", "--network", "torus:2x2", "--placement", "0,1,2,2"], "host 2 of torus was given to ranks 2 and 3"),
        (["ring", "--network", "torus:2x2", "--placement", "0,1,2,9"], "rank 3 has no place"),
        (["ring", "--network", "torus:2x2", "--placement", "near"], "--placement: a host is a whole number"),
        (["ring", "--network", "torus:2x2", "--profile", "p"], "--profile describes a star"),
        (["ring", "--network", "dgx-h100", "--latency", "1us"], "--latency: dgx-h100 has its own"),
        (["ring", "--network", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["ring", "--overhead=-1us"], "'-1us' is no number"),
        (["ring", "--duplex", "0.5"], "a duplex factor is 1 (full duplex) or more"),
        (["ring", "--duplex", "half"], "'half' is no factor"),
        (["ring", "--cores", "0"], "at least one core"),
        (["ring", "--cores", "2:sleeps"], "yields or spins"),
        (["ring", "--straggler", "99=2"], "rank 99, and there are ranks 0 to 7"),
        (["ring", "--straggler", "1=0.5"], "at least 1, got 0.5"),
        (["ring", "--straggler", "slow"], "write it like 3=2"),
        (["ring", "--late", "1=nan"], "'nan' is no number"),
        (["ring", "--slow-link", "77=0.5"], "link 77"),
        (["ring", "--slow-link", "0-1=2"], "0 to 1 times"),
        (["ring", "--slow-link", "0-99=0.5"], "there is no rank 99"),
        (["ring", "--slow-link", "0-1=0"], "the run cannot end: link 0 (host 0 to switch) failed"),
        (["ring", "--jitter", "gamma:1us"], "no jitter is called 'gamma'"),
        (["ring", "--jitter", "uniform"], "write it like exponential:5us"),
        (["ring", "--background", "0-0"], "two different ranks"),
        (["ring", "--background", "0-99"], "there is no rank 99"),
        (["ring", "--show-route", "0", "99"], "there is no rank 99"),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert cli.run(["simulate", *arguments]) == cli.BAD_USE
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_a_disconnected_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "halves.toml"
    file.write_text('hosts = ["a", "b", "c", "d"]\nlinks = [["a", "b"], ["c", "d"]]\nlatency = 1e-6\nbandwidth = 1e9\n')
    assert cli.run(["simulate", "ring", "--network", str(file)]) == cli.BAD_USE
    (line,) = capsys.readouterr().err.splitlines()
    assert "no route" in line


def test_a_schedule_that_does_not_prove_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = catalogue.get("ring")

    def no_fold(rank: int, size: int) -> list[tuple[object, ...]]:
        return [tuple(replace(op, fold=OVERWRITE) if isinstance(op, Recv) else op for op in each)
                for each in ring.rounds(rank, size)]  # fmt: skip

    monkeypatch.setattr("experiments.simulate.algorithm", lambda text: replace(ring, function=no_fold))
    assert cli.run(["simulate", "ring", "-n", "4"]) == cli.BAD_USE
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert "ring is not simulated, for it does not prove: " in line


class TestNetworks:
    def test_a_ring_pays_its_way_on_a_torus_and_far_partners_pay_for_each_other(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        # Four hosts in a circle, 5 us and 1.25e9 B/s a link, 1 MiB. Recursive doubling: neighbours in round 0, then
        # 0 <-> 2 and 1 <-> 3, two links away; ties go clockwise, so each link has two messages at half its rate.
        line = ("recursive_doubling", "--network", "ring:4", "--size", "1MiB")
        (shared,) = read(capsys, *line)
        assert shared.simulated_seconds == pytest.approx(5e-6 + 2**20 * 8e-10 + 2 * 5e-6 + 2 * 2**20 * 8e-10)
        (alone,) = read(capsys, *line, "--no-contention")
        assert alone.simulated_seconds == pytest.approx(3 * 5e-6 + 2 * 2**20 * 8e-10)
        # The closed form takes the farthest pair's latency, 10 us, in both rounds.
        assert shared.theory_seconds == pytest.approx(2 * 10e-6 + 2 * 2**20 * 8e-10)

    def test_the_number_of_ranks_is_the_network_s_own(self, capsys: pytest.CaptureFixture[str]) -> None:
        (whole,) = read(capsys, "ring", "--network", "torus:2x3")
        (preset,) = read(capsys, "ring", "--network", "ethernet-10g")
        (fewer,) = read(capsys, "ring", "--network", "torus:2x3", "-n", "4")
        assert (whole.ranks, preset.ranks, fewer.ranks) == (6, 8, 4)

    @pytest.mark.parametrize("text", ["fat-tree:4", "fat_tree:k=4,latency=5us,bandwidth=10Gbit/s"])
    def test_shapes_are_spelled_short_or_in_full(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        (record,) = read(capsys, "ring", "--network", text, "--size", "64KiB")
        (again,) = read(
            capsys,
            "ring",
            "--network",
            "fat-tree:k=4",
            "--latency",
            "5us",
            "--bandwidth",
            "1.25GB/s",
            "--size",
            "64KiB",
        )
        assert (record.ranks, record.simulated_seconds) == (16, again.simulated_seconds)

    def test_placement_moves_ranks(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = ("recursive_doubling", "--network", "ring:4")
        (block,) = read(capsys, *line)
        (given,) = read(capsys, *line, "--placement", "0,1,2,3")
        (crossed,) = read(capsys, *line, "--placement", "0,2,1,3")
        assert block.simulated_seconds == given.simulated_seconds
        assert crossed.simulated_seconds == pytest.approx(block.simulated_seconds)  # far first, near then
        one, other = (read(capsys, *line, "--placement", f"random:{seed}") for seed in (1, 1))
        assert one == other

    def test_a_file_is_a_network(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "pair.yaml"
        file.write_text("hosts: [a, b]\nlinks: [[a, b]]\nlatency: 1us\nbandwidth: 1GB/s\n")
        (record,) = read(capsys, "recursive_doubling", "--network", str(file), "--size", "1000B")
        assert record.simulated_seconds == pytest.approx(2e-6)

    def test_the_route_is_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines = shown(capsys, "--network", "torus:4x4", "--show-route", "0", "5").splitlines()
        assert lines[0] == "rank 0 to rank 5 on torus: 2 links"
        assert "host 0 (0, 0) → host 4 (1, 0) (5us, 1.25GB/s)" in lines[1]
        assert "host 4 (1, 0) → host 5 (1, 1)" in lines[2]

    def test_a_source_and_what_was_assumed_are_printed(self, capsys: pytest.CaptureFixture[str]) -> None:
        printed = " ".join(shown(capsys, "ring", "--network", "dgx-a100", "-n", "16").split())
        assert "dgx-a100, farthest ranks: alpha" in printed
        assert printed.index("Source:") < printed.index("Assumed:") < printed.index("Messages share links")


class TestModel:
    def test_overhead_is_paid_at_both_ends(self, capsys: pytest.CaptureFixture[str]) -> None:
        (plain,) = read(capsys, "recursive_doubling", "-n", "2", "--size", "8")
        (paid,) = read(capsys, "recursive_doubling", "-n", "2", "--size", "8", "--overhead", "1us")
        assert (paid.simulated_seconds or 0) - (plain.simulated_seconds or 0) == pytest.approx(2e-6)

    def test_half_duplex_doubles_an_exchange_and_spares_a_ring(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = ("ring", "recursive_doubling", "-n", "4", "--size", "1MiB", "--latency", "0s")
        full = {one.algorithm: one.simulated_seconds or 0 for one in read(capsys, *line)}
        half = {one.algorithm: one.simulated_seconds or 0 for one in read(capsys, *line, "--duplex", "2@128KiB")}
        assert half["ring"] == pytest.approx(full["ring"])
        assert half["recursive_doubling"] == pytest.approx(2 * full["recursive_doubling"])

    def test_ranks_share_the_cores_of_a_machine(self, capsys: pytest.CaptureFixture[str]) -> None:
        # eight ranks reduce 1 MiB at 1 ns a byte in each of three rounds: on two cores that takes four times as long
        line = ("recursive_doubling", "--latency", "0s", "--bandwidth", "1TB/s", "--gamma", "1ns", "--size", "1MiB")
        (many,) = read(capsys, *line)
        (two,) = read(capsys, *line, "--cores", "2")
        moved = 3 * 2**20 / 1e12
        assert many.simulated_seconds == pytest.approx(3 * 2**20 * 1e-9 + moved)
        assert two.simulated_seconds == pytest.approx(4 * 3 * 2**20 * 1e-9 + moved)

    def test_messages_above_the_eager_size_ask_first(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = ("recursive_doubling", "-n", "2", "--size", "4KiB", "--overhead", "1us")
        (eager,) = read(capsys, *line, "--eager", "4KiB")
        (asked,) = read(capsys, *line, "--eager", "4095B")
        assert (asked.simulated_seconds or 0) - (eager.simulated_seconds or 0) == pytest.approx(2 * 5e-6)


class TestDisturbances:
    @pytest.mark.parametrize(
        "options",
        [
            ("--straggler", "3=2"),
            ("--late", "3=5ms"),
            ("--slow-link", "0-1=0.5"),
            ("--slow-link", "0=0.5@100us"),
            ("--jitter", "exponential:5us"),
            ("--background", "0-1"),
        ],
    )
    def test_a_disturbed_run_takes_longer_and_is_repeated_to_the_bit(
        self, options: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (plain,) = read(capsys, "ring")
        (disturbed,), (again,) = read(capsys, "ring", *options), read(capsys, "ring", *options)
        assert (disturbed.simulated_seconds or 0) > (plain.simulated_seconds or 0)
        assert disturbed == again
        assert disturbed.theory_seconds == plain.theory_seconds
        assert options[1].split("=")[0] in shown(capsys, "ring", *options).splitlines()[-1]

    def test_a_seed_draws_other_jitter(self, capsys: pytest.CaptureFixture[str]) -> None:
        one, other = (read(capsys, "ring", "--jitter", "exponential:5us", "--seed", seed) for seed in "12")
        assert one != other

    def test_a_late_rank_delays_by_as_much(self, capsys: pytest.CaptureFixture[str]) -> None:
        (plain,), (late,) = read(capsys, "recursive_doubling"), read(capsys, "recursive_doubling", "--late", "3=5ms")
        assert (late.simulated_seconds or 0) - (plain.simulated_seconds or 0) == pytest.approx(5e-3)


def test_the_explanation_follows_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    printed = " ".join(shown(capsys, "ring", "--network", "torus:2x2", "--explain").split())
    assert "ring takes" in printed
    assert "latency (α)" in printed


def test_a_run_that_is_too_long_is_not_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("experiments.simulate._EXPLAINED", 100)
    printed = shown(capsys, "ring", "linear", "-n", "8", "--explain")
    assert "ring: 112 messages are too many to explain" in printed
    assert "linear takes" in printed


@dataclass(frozen=True)
class Group:
    one: Annotated[int, typer.Option(help="First.")] = 1
    two: Annotated[str, typer.Option(help="Second.")] = "b"


def test_options_are_declared_once() -> None:
    found: list[object] = []

    @grouped
    def command(name: str, *, group: Group, last: bool = False) -> None:
        found.extend([name, group, last])

    app = typer.Typer()
    app.command()(command)
    app(["x", "--two", "c", "--last"], standalone_mode=False)
    assert found == ["x", Group(1, "c"), True]


def test_costs_say_what_they_are() -> None:
    assert "5us per message" in str(network.costs(None, None, None, None))
    assert "infinite bandwidth" in str(Costs(1.0, 0.0, 0.0))
    assert math.isclose(network.costs("1ms", "1GB/s", "1ns", None).beta, 1e-9)
