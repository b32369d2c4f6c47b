"""All kernels of kernels/cuda that its modules show by ``every``."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import kernels.cuda
from kernels.cuda.kernel import Kernel

__all__ = ["every", "families"]


@cache
def families() -> dict[str, tuple[Kernel, ...]]:
    """The kernels by the module that they are of."""
    found = {}
    for module in pkgutil.iter_modules(kernels.cuda.__path__):
        show = getattr(importlib.import_module(f"kernels.cuda.{module.name}"), "every", None)
        if show is not None:
            found[module.name] = tuple(show())
    return found


def every() -> list[Kernel]:
    """All of them."""
    return [kernel for family in families().values() for kernel in family]
