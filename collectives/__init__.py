"""Collective communication by hand: algorithms as values, proven, run on mpi4py, priced and drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collectives.communicator import Communicator
    from collectives.compression.memory import Compression
    from collectives.executors.faults import CollectiveMismatch, CollectiveTimeout

__all__ = ["CollectiveMismatch", "CollectiveTimeout", "Communicator", "Compression"]


def __getattr__(name: str) -> object:
    # Importing mpi4py.MPI starts MPI, so the names that need it are fetched on first use (PEP 562).
    if name == "Communicator":
        from collectives.communicator import Communicator

        return Communicator
    if name == "Compression":
        from collectives.compression.memory import Compression

        return Compression
    if name in ("CollectiveMismatch", "CollectiveTimeout"):
        from collectives.executors import faults

        return getattr(faults, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
