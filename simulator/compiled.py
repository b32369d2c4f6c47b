"""Numba's compiler with the types that its functions are written with, and with its options stated once."""

from __future__ import annotations

from collections.abc import Callable
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
