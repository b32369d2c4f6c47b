"""Numba's compiler with the types that its functions are written with, and with its options stated once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from numba import njit

from kernels.cpu.cache import Sources, keep

__all__ = ["compiled", "lean"]

P = ParamSpec("P")
T = TypeVar("T")

_SOURCES = Sources(Path(__file__).parent)


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """``function`` in machine code, compiled when it is first called and kept on disk for the next process."""
    return _kept(cast("Any", njit)(function))


def lean(function: Callable[P, T]) -> Callable[P, T]:
    """The same for a function that makes no arrays: counting references to those it is given took half of its time."""
    return _kept(cast("Any", njit)(_nrt=False)(function))


def _kept(dispatcher: Any) -> Any:
    keep(dispatcher, _SOURCES)
    return dispatcher
