"""Programs that run on the ranks: one clear line for a fault, and no rank left waiting for one that failed."""

from __future__ import annotations

import faulthandler
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from experiments.errors import Failure, UsageFault

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["complain", "run"]

_LIMIT = 300.0
"""Seconds after which a program that has set itself no shorter limit is taken to hang."""

_FAREWELL = 5.0
"""Seconds that a rank with a fault waits for the others to meet it too."""


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
        _wait_for_all(comm)  # a rank that exits with an error ends the others, rank 0 before it has spoken
        sys.exit(2)
    except Exception as fault:  # noqa: BLE001 - whatever it is, the other ranks must not wait for ever
        complain(fault, str(fault) if isinstance(fault, Failure) else f"{type(fault).__name__}: {fault}")
        if comm.size > 1:
            comm.Abort(1)
        sys.exit(1)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _wait_for_all(comm: MPI.Intracomm) -> None:
    """A barrier that gives up after a few seconds: a fault must not become a hang."""
    request, deadline = comm.Ibarrier(), time.monotonic() + _FAREWELL
    while not request.Test() and time.monotonic() < deadline:
        time.sleep(0.01)


def complain(fault: BaseException, message: str) -> None:
    """Write one line to stderr, below the traceback if ``CIRANDA_DEBUG`` is set."""
    if os.environ.get("CIRANDA_DEBUG"):
        traceback.print_exception(fault)
    print(f"ciranda: {' '.join(message.split())}", file=sys.stderr, flush=True)
