import json
import resource
import subprocess
import sys

import pytest
import typer

from experiments import __version__, cli
from experiments.errors import Failure

COMMANDS = ("prove", "draw", "simulate", "trace", "validate", "run", "bench", "calibrate", "report", "doctor")


@pytest.fixture(autouse=True)
def _no_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRANDA_DEBUG", "")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"ciranda {__version__}\n"


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f" {name} " in printed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([name, "--help"]) == 0
    assert f"Example: ciranda {name}" in capsys.readouterr().out


def test_the_help_waits_for_nothing_heavy() -> None:
    code = "import sys, experiments.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy", "scipy", "mpi4py", "matplotlib", "plotly", "ml_dtypes", "jinja2"}.isdisjoint(loaded)


@pytest.mark.parametrize("package", ["collectives", "kernels", "simulator", "experiments", "experiments.cli"])
def test_importing_a_package_starts_no_mpi_and_touches_no_gpu(package: str) -> None:
    code = f"import sys, {package}; print(*sys.modules); print(open('/proc/self/maps').read())"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "mpi4py" not in loaded
    assert "libmpi" not in loaded
    assert "libcuda" not in loaded


@pytest.mark.parametrize(
    "line",
    [
        "dance",
        "prove rnig",
        "prove chain:segments=0",
        "prove chain:size=3",
        "prove --max-size zero",
        "prove --size 3-1",
        "prove --size 1 parameter_server_separate",
        "run -n 2",
        "run -n 2 -- no-such-program",
        "run -n 2 --timeout soon -- true",
        "run -n 2 --mpi lam -- true",
        "run -n 0 -- true",
        "draw rnig",
        "simulate rnig",
        "bench rnig",
        "bench --sizes 3lbs",
        "bench -n none",
        "bench --op nonsense",
        "report -n 1",
        "report --lang tlh",
    ],
)
def test_bad_use_is_told_in_one_line(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(line.split()) == cli.BAD_USE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("ciranda: ")
    assert printed.err.count("\n") == 1


def test_an_unknown_algorithm_is_told_the_nearest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["prove", "rnig"]) == cli.BAD_USE
    assert "known: ring," in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "code", "told"),
    [
        (Failure("a result was wrong"), 1, "a result was wrong"),
        (PermissionError(13, "Permission denied", "/nowhere"), 2, "/nowhere: Permission denied"),
        (ZeroDivisionError("oh"), 1, "a defect in ciranda: ZeroDivisionError: oh"),
    ],
)
def test_faults_become_one_line_and_a_code(
    fault: BaseException, code: int, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def fails() -> None:
        raise fault

    monkeypatch.setattr(cli, "app", app)
    assert cli.run([]) == code
    printed = capsys.readouterr().err
    assert told in printed
    assert "Traceback" not in printed
    monkeypatch.setenv("CIRANDA_DEBUG", "1")
    assert cli.run([]) == code
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_no_defect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()

    @app.command()
    def waits() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", app)
    assert cli.run([]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_fault() -> None:
    line = f"{sys.executable} -m experiments.cli prove --size 2-6 --json | head -c 10"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


class TestProve:
    def test_all_sizes_of_one_algorithm(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run(["prove", "--max-size", "9", "ring", "circulant", "--jobs", "1"]) == 0
        printed = capsys.readouterr().out
        assert "18 cases, all proven" in printed
        assert "must commute" in printed

    def test_records_for_machines(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run(["prove", "--size", "4,8", "ring", "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert content["environment"]["ciranda"] == __version__
        assert [(r["algorithm"], r["ranks"], r["rounds"], r["bytes_per_rank"]) for r in content["records"]] == [
            ("ring", 4, 6, 1.5),
            ("ring", 8, 14, 1.75),
        ]

    def test_roots_are_the_first_and_the_last(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run(["prove", "--size", "5", "reduce_chain", "--json"]) == 0
        records = json.loads(capsys.readouterr().out)["records"]
        assert [record["algorithm"] for record in records] == ["reduce_chain", "reduce_chain:root=4"]

    def test_a_fault_is_named_and_is_exit_code_1(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run(["prove", "--size", "3", "--blocking", "ring"]) == 1
        printed = capsys.readouterr().out
        assert "1 with a fault" in printed
        assert "cyclic wait" in printed

    @pytest.mark.timeout(300)
    def test_the_whole_catalogue_to_64_is_proven_within_a_minute(self, capsys: pytest.CaptureFixture[str]) -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert cli.run(["prove", "--max-size", "64", "--jobs", "2"]) == 0
        assert "all proven" in capsys.readouterr().out
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # What two processes take of two cores; the clock on the wall would measure what else is running.
        assert (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 2 < 60
