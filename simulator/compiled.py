"""Numba's compiler with the types that its functions are written with, and with its options stated once.

Numba compiles a function anew when its own file has changed, but not when a function that it calls has, in another
file. So code that was compiled before the last change of any file here is removed when this module is imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from numba import njit

__all__ = ["compiled", "lean"]

P = ParamSpec("P")
T = TypeVar("T")


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """``function`` in machine code, compiled when it is first called and kept on disk for the next process."""
    return cast("Callable[P, T]", njit(cache=True)(function))


def lean(function: Callable[P, T]) -> Callable[P, T]:
    """The same for a function that makes no arrays: counting references to those it is given took half of its time."""
    without_counting = cast("Any", njit)(cache=True, _nrt=False)
    return cast("Callable[P, T]", without_counting(function))


def _forget_older_than_the_sources(package: Path) -> None:
    changed = max(source.stat().st_mtime for source in package.glob("*.py"))
    for index in (package / "__pycache__").glob("*.nbi"):
        with contextlib.suppress(OSError):  # not ours to remove, or another process was quicker
            if index.stat().st_mtime < changed:
                index.unlink()


_forget_older_than_the_sources(Path(__file__).parent)
