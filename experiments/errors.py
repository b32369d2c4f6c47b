"""Faults that a person can mend: the command line prints their message alone, without a traceback."""

from __future__ import annotations

__all__ = ["Failure", "UsageFault"]


class UsageFault(Exception):
    """The request cannot be carried out as it was made; the message says what to change. Exit code 2."""


class Failure(Exception):
    """The request was fine and a fault was found; the message says which. Exit code 1."""
