"""What the interpreter raises: each names the kernel, the instruction and, where there is one, the thread."""

from __future__ import annotations

__all__ = ["Fault", "Unknown"]


class Fault(Exception):
    """The kernel did what no kernel may do: the message says what, where and by which thread."""


class Unknown(NotImplementedError):
    """PTX that the interpreter does not know. It is never skipped: teach the interpreter, or write other code."""
