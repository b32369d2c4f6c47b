"""Numba's compiler for CPU forms, with its options stated once, and the cache on disk that they share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from numba import njit

from kernels.cpu.cache import Sources, keep

__all__ = ["compiled", "compiled_for"]

P = ParamSpec("P")
T = TypeVar("T")

_HERE = Path(__file__).parent
_SOURCES = Sources(_HERE, _HERE.parent / "formulas", _HERE.parent / "compress")


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """``function`` in machine code on one thread: it makes no arrays, and lets go of the interpreter's lock.

    Compiled when it is first called, and kept on disk for the next process. Floating point is computed as it is
    written: nothing is reassociated or fused, and division by zero gives infinity or NaN.
    """
    return cast("Callable[P, T]", _dispatcher(function))


def compiled_for(signature: object, function: Callable[P, T]) -> Callable[P, T]:
    """The same at once and for these types only: a call with others is a TypeError, not another compilation."""
    dispatcher = _dispatcher(function)
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return cast("Callable[P, T]", dispatcher)


def _dispatcher(function: Callable[..., Any]) -> Any:
    dispatcher = cast("Any", njit)(nogil=True, error_model="numpy", _nrt=False)(function)
    keep(dispatcher, _SOURCES)
    return dispatcher
