"""Programs that run on the ranks: one clear line for a fault, and no rank left waiting for one that failed."""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections.abc import Callable

import typer

from experiments.errors import Failure, UsageFault

__all__ = ["complain", "run"]

_LIMIT = 300.0
"""Seconds after which a program that has set itself no shorter limit is taken to hang."""


def run(command: Callable[..., None]) -> None:
    """Run a Typer command on every rank and exit: 0, 1 for a fault, 2 for bad use.

    A command that hangs writes the stack of each rank to stderr and ends; it may set a limit of its own by
    ``faulthandler.dump_traceback_later``.
    """
    faulthandler.dump_traceback_later(_LIMIT, exit=True)  # before MPI starts, for that may hang too
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    app = typer.Typer(pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
    app.command()(command)
    try:
        sys.exit(app(standalone_mode=False))
    except (UsageFault, typer.TyperException) as fault:
        # The command line is the same on all ranks, so all come here and one speaks.
        if comm.rank == 0:
            complain(fault, fault.format_message() if isinstance(fault, typer.TyperException) else str(fault))
        sys.exit(2)
    except Exception as fault:  # noqa: BLE001 - whatever it is, the other ranks must not wait for ever
        complain(fault, str(fault) if isinstance(fault, Failure) else f"{type(fault).__name__}: {fault}")
        if comm.size > 1:
            comm.Abort(1)
        sys.exit(1)
    finally:
        faulthandler.cancel_dump_traceback_later()


def complain(fault: BaseException, message: str) -> None:
    """Write one line to stderr, below the traceback if ``CIRANDA_DEBUG`` is set."""
    if os.environ.get("CIRANDA_DEBUG"):
        traceback.print_exception(fault)
    print(f"ciranda: {' '.join(message.split())}", file=sys.stderr, flush=True)
