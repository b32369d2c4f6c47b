"""The command `ciranda`: one noun or verb each, and exit code 0 (fine), 1 (found a fault) or 2 (bad use).

The commands live in modules of their own, whose heavy imports stay inside functions so that `--help` is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from collectives.schedule import ScheduleError
from experiments import (
    __version__,
    benchmark,
    calibrate,
    doctor,
    draw,
    kernels,
    on_ranks,
    pipeline,
    prove,
    report,
    scale,
    scaling,
    server,
    simulate,
    step,
    sweep,
    trace,
    validate,
)
from experiments import run as run_command
from experiments.cluster import command as cluster
from experiments.errors import Failure, UsageFault
from experiments.training import command as train
from experiments.training import large_batch_command, uneven_command
from experiments.training.comparison import command as compare_training

__all__ = ["app", "main", "run"]

FINE, FAULT, BAD_USE = 0, 1, 2

app = typer.Typer(
    name="ciranda",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ciranda {__version__}")
        raise typer.Exit


def _show_tracebacks(wanted: bool) -> None:
    if wanted:
        os.environ["CIRANDA_DEBUG"] = "1"  # the environment, so that ranks which we start show theirs too


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.", callback=_show_tracebacks)
    ] = False,
) -> None:
    """MPI collectives as values: one schedule, proven, run, priced, drawn and reported."""


app.command("prove")(prove.command)
app.command("draw")(draw.command)
app.command("simulate")(simulate.command)
app.command("trace")(trace.command)
app.command("step")(step.command)
app.command("pipeline")(pipeline.command)
app.command("server")(server.command)
app.command("validate")(validate.command)
app.command("run", context_settings={"allow_interspersed_args": False})(run_command.command)
app.add_typer(cluster.app)
app.command("bench")(benchmark.command)
app.command("calibrate")(calibrate.command)
app.command("kernels")(kernels.command)
app.command("report")(report.command)
app.command("sweep")(sweep.command)
app.command("scale")(scale.command)
app.command("scaling", cls=scaling.Command)(scaling.command)
app.command("train")(train.command)
app.command("large-batch")(large_batch_command.command)
app.command("uneven")(uneven_command.command)
app.command("compare-training")(compare_training.command)
app.command("doctor")(doctor.command)


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line (without the program's name) and return the exit code; errors are one line each."""
    try:
        code = app(args=list(arguments), standalone_mode=False)
    except typer.TyperException as fault:
        return _report(fault, fault.format_message(), BAD_USE)
    except UsageFault as fault:
        return _report(fault, str(fault), BAD_USE)
    except (Failure, ScheduleError) as fault:
        return _report(fault, str(fault), FAULT)
    except typer.Abort as fault:
        return _report(fault, "interrupted", 130)
    except OSError as fault:
        return _report(fault, f"{fault.filename}: {fault.strerror}" if fault.filename else str(fault), BAD_USE)
    except Exception as fault:  # noqa: BLE001 - the last resort: a defect is reported, not dumped on the user
        return _report(fault, f"a defect in ciranda: {type(fault).__name__}: {fault} (see it with --debug)", FAULT)
    return code if isinstance(code, int) else FINE


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def _report(fault: BaseException, message: str, code: int) -> int:
    if message:  # empty where the help was printed because no command was given
        on_ranks.complain(fault, message)
    return code


if __name__ == "__main__":
    main()
