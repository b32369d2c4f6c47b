"""Numba's compiler for CPU forms, with its options stated once, and a cache on disk that notices every change.

Numba compiles a function anew when its own file has changed, but not when a function that it calls has, in another
file. So code that was compiled before the last change of any file here is removed when this module is imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from numba import njit

__all__ = ["compiled", "compiled_for", "forget_older_than_the_sources"]

P = ParamSpec("P")
T = TypeVar("T")


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """``function`` in machine code on one thread: it makes no arrays, and lets go of the interpreter's lock.

    Compiled when it is first called, and kept on disk for the next process. Floating point is computed as it is
    written: nothing is reassociated or fused, and division by zero gives infinity or NaN.
    """
    make = cast("Any", njit)(cache=True, nogil=True, error_model="numpy", _nrt=False)
    return cast("Callable[P, T]", make(function))


def compiled_for(signature: object, function: Callable[P, T]) -> Callable[P, T]:
    """The same at once and for these types only: a call with others is a TypeError, not another compilation."""
    return cast("Callable[P, T]", cast("Any", njit)([signature], cache=True, nogil=True, _nrt=False)(function))


def forget_older_than_the_sources(package: Path, *others: Path) -> None:
    """Remove a package's compiled code that is older than the newest Python file in its folder or in one of others."""
    changed = max(source.stat().st_mtime for folder in (package, *others) for source in folder.glob("*.py"))
    for index in (package / "__pycache__").glob("*.nbi"):
        with contextlib.suppress(OSError):  # not ours to remove, or another process was quicker
            if index.stat().st_mtime < changed:
                index.unlink()


forget_older_than_the_sources(Path(__file__).parent, Path(__file__).parents[1] / "formulas")
