"""A CUDA kernel as a value: what it is called, what it takes, and how it becomes PTX without a driver."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

__all__ = ["ARCHITECTURES", "Capability", "Kernel"]

Capability = tuple[int, int]

ARCHITECTURES: tuple[Capability, ...] = ((8, 0), (9, 0), (10, 0))
"""Ampere, Hopper, Blackwell: what every kernel is compiled for and checked on."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """``function`` is written for ``numba.cuda`` and takes scalars of the types that ``signature`` names.

    ``threads`` make a block. ``vectorised`` kernels move global memory by 128 bits in their body, and need at most
    ``registers`` registers a thread: both are checked on the machine code of every architecture.
    Kernels compare by name and signature; make each once (``functools.cache`` on its factory).
    """

    name: str
    function: Callable[..., None]
    signature: tuple[str, ...]
    threads: int = 256
    vectorised: bool = True
    registers: int = 64

    def ptx(self, capability: Capability = (9, 0)) -> str:
        """PTX text for a compute capability; one entry point, whose parameters are the signature's."""
        return _ptx(self, capability)

    def dispatcher(self) -> Any:
        """The kernel as Numba launches it. Needs a driver."""
        return _dispatcher(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kernel) and (self.name, self.signature) == (other.name, other.signature)

    def __hash__(self) -> int:
        return hash((self.name, self.signature))


def _types(kernel: Kernel) -> Any:
    from numba import types

    known = cast("Any", types)
    return known.void(*(getattr(known, name) for name in kernel.signature))


@cache
def _ptx(kernel: Kernel, capability: Capability) -> str:
    from numba import cuda

    with _pretended(capability):
        text, _ = cast("Any", cuda).compile_ptx(kernel.function, _types(kernel), cc=capability)
    return cast("str", text)


@cache
def _dispatcher(kernel: Kernel) -> Any:
    from numba import cuda

    return cast("Any", cuda).jit(_types(kernel))(kernel.function)


@contextmanager
def _pretended(capability: Capability) -> Generator[None]:
    """Let Numba compile device functions as if such a card were here: it asks the driver, only to learn the number."""
    from numba.cuda import dispatcher as module

    names = cast("Any", module)
    asked = names.get_current_device
    names.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    try:
        yield
    finally:
        names.get_current_device = asked
