"""Words of 1, 2, 4, 8 or 16 bytes, moved as they are."""

from __future__ import annotations

from typing import Any

from kernels.cuda.vector import WIDTH, lanes

__all__ = ["moves"]


def moves(unit: int) -> tuple[Any, Any]:
    """``load(address)`` and ``store(address, word)`` for words of ``unit`` bytes at multiples of it."""
    if unit == WIDTH:
        about = lanes("uint32")
        return about.load, about.store
    about = lanes(f"uint{8 * unit}")
    return about.one, about.put
