"""What can go wrong between a worker and its servers; importable without MPI."""

from __future__ import annotations

__all__ = ["ServerError", "ServerRefused", "ServerTimeout"]


class ServerError(RuntimeError):
    """A worker and its servers cannot go on together."""


class ServerRefused(ServerError):
    """A server refused what a worker sent; the text is the server's."""


class ServerTimeout(ServerError):
    """An answer did not come in time; the text says whose, for which part and clock, and whom the server waits for."""
