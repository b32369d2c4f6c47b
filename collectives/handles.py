"""Handles of communicators that beget handles of their own class, with the same settings."""

from __future__ import annotations

# ruff: noqa: N802 - the methods' names are mpi4py's
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from mpi4py import MPI

__all__ = ["Handle", "Settings"]


@dataclass(slots=True)
class Settings:
    """``timeout`` in seconds (None: wait for ever); ``check``: compare each call among the ranks first."""

    timeout: float | None
    check: bool


class Handle(MPI.Intracomm):
    """An intracommunicator whose duplicates and parts are of its own class and inherit its ``settings``.

    They come from ``CIRANDA_TIMEOUT`` and ``CIRANDA_CHECK=1`` where they are not given, and may be changed between
    calls, alike on all ranks.
    """

    def __new__(cls, comm: MPI.Comm | None = None, *, timeout: float | None = None, check: bool | None = None) -> Self:
        """Another handle of ``comm``, or a null handle."""
        self = super().__new__(cls, comm)
        settings = self.settings  # read here, so that a wrong environment is told here
        if timeout is not None:
            settings.timeout = _positive(timeout, "timeout")
        if check is not None:
            settings.check = check
        return self

    # Made when first needed, because a subclass with several bases may not come through our __new__.
    @cached_property
    def settings(self) -> Settings:
        """The ``timeout`` and ``check`` of this handle."""
        return Settings(_timeout_from_environment(), os.environ.get("CIRANDA_CHECK", "") not in ("", "0"))

    def forget(self) -> None:
        """Drop what is kept for the communicator that this handle stood for."""

    def Free(self) -> None:
        """Free the communicator, and our private one with it."""
        super().Free()
        self.forget()

    def Disconnect(self) -> None:
        """Disconnect from the communicator; our private one is freed with it."""
        super().Disconnect()
        self.forget()

    def Clone(self) -> Self:
        """As ``Dup``, without attributes."""
        return self._like(super().Clone())

    def Dup(self, info: MPI.Info | None = None) -> Self:
        """Duplicate the communicator."""
        return self._like(super().Dup(info))

    def Dup_with_info(self, info: MPI.Info) -> Self:
        """Duplicate the communicator with hints."""
        return self._like(super().Dup_with_info(info))

    def Idup(self, info: MPI.Info | None = None) -> tuple[Self, MPI.Request]:
        """Begin to duplicate the communicator."""
        comm, request = super().Idup(info)
        return self._like(comm), request

    def Idup_with_info(self, info: MPI.Info) -> tuple[Self, MPI.Request]:
        """Begin to duplicate the communicator with hints."""
        comm, request = super().Idup_with_info(info)
        return self._like(comm), request

    def Create(self, group: MPI.Group) -> Self:
        """A communicator for part of the ranks; collective over all of them."""
        return self._like(super().Create(group))

    def Create_group(self, group: MPI.Group, tag: int = 0) -> Self:
        """A communicator for part of the ranks; collective over these."""
        return self._like(super().Create_group(group, tag))

    def Split(self, color: int = 0, key: int = 0) -> Self:
        """A communicator for each color."""
        return self._like(super().Split(color, key))

    def Split_type(self, split_type: int, key: int = 0, info: MPI.Info = MPI.INFO_NULL) -> Self:
        """A communicator for each kind of neighbourhood."""
        return self._like(super().Split_type(split_type, key, info))

    def _like(self, comm: MPI.Comm) -> Self:
        # Idup completes a handle later, in place, so one that is of our class already must be kept.
        mine = comm if isinstance(comm, type(self)) else type(self)(comm)
        mine.settings.timeout, mine.settings.check = self.settings.timeout, self.settings.check
        return mine


def _timeout_from_environment() -> float | None:
    text = os.environ.get("CIRANDA_TIMEOUT", "")
    if not text:
        return None
    try:
        return _positive(float(text), "CIRANDA_TIMEOUT")
    except ValueError:
        raise ValueError(f"CIRANDA_TIMEOUT must be a number of seconds above 0, got {text!r}") from None


def _positive(seconds: float, what: str) -> float:
    if not seconds > 0:
        raise ValueError(f"{what} must be a number of seconds above 0, got {seconds!r}")
    return seconds
