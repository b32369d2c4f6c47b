"""A parameter server: servers keep the parameters, workers push gradients and pull parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.consistency import BSP, SSP, Async, Backup, Elastic

if TYPE_CHECKING:
    from collectives.parameter_server.gathering import Rows
    from collectives.parameter_server.starting import Served, start
    from collectives.parameter_server.worker import Worker

__all__ = ["BSP", "SSP", "Async", "Backup", "Configuration", "Elastic", "Rows", "Served", "Worker", "start"]


def __getattr__(name: str) -> object:
    # These need NumPy and mostly MPI, which the simulator must not load: fetched on first use (PEP 562).
    if name == "Rows":
        from collectives.parameter_server.gathering import Rows

        return Rows
    if name in ("Served", "start"):
        from collectives.parameter_server import starting

        return getattr(starting, name)
    if name == "Worker":
        from collectives.parameter_server.worker import Worker

        return Worker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
