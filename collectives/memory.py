"""Memory known only by its address, as an array that keeps its owner alive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["at"]


class _Shown:
    """What NumPy asks for memory, and keeps as the base of the array."""

    def __init__(self, address: int, nbytes: int, owner: object, *, read_only: bool) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "version": 3, "shape": (nbytes,), "typestr": "|u1", "data": (address, read_only),
        }  # fmt: skip


def at(address: int, nbytes: int, owner: object, *, read_only: bool = False) -> NDArray[np.uint8]:
    """``nbytes`` bytes at ``address``, which belong to ``owner``."""
    if nbytes == 0:
        return np.empty(0, np.uint8)
    return np.asarray(_Shown(address, nbytes, owner, read_only=read_only))
