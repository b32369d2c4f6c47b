"""Which memory an instruction means, and the log of who reached what."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.ptx.faults import Unknown
from tests.ptx.memory import LOCAL, SHARED, Global, Private
from tests.ptx.races import READ, WRITE, Access, Log
from tests.ptx.threads import Array, Threads

__all__ = ["Spaces"]


class Spaces:
    """The memory of the blocks that run together. ``arguments`` are the bytes of each parameter."""

    def __init__(
        self,
        memory: Global,
        shared: Private,
        local: Private,
        arguments: dict[str, bytes],
        reached: Log,
        threads: Threads,
    ) -> None:
        self.arguments = arguments
        self.epochs: NDArray[np.int64] = np.zeros(threads.blocks, np.int64)
        self.warp_epochs: NDArray[np.int64] = np.zeros(threads.count, np.int64)
        self.shared_log = Log("shared", threads.size)
        self._memory, self._log = memory, reached
        self._private = {"shared": shared, "local": local}

    def load(self, threads: Threads, space: str, addresses: Array, width: int, text: str, how: int = READ) -> Array:
        """``width`` bytes from each address, as void elements."""
        space, addresses = _resolved(space, addresses)
        self._note(threads, space, addresses, width, how, text)
        if space == "global":
            return self._memory.load(threads, addresses, width)
        return self._private[space].load(threads, self._owners(threads, space), addresses, width)

    def store(
        self, threads: Threads, space: str, addresses: Array, values: Array, text: str, how: int = WRITE
    ) -> None:  # fmt: skip
        """A void element of ``values`` to each address."""
        space, addresses = _resolved(space, addresses)
        self._note(threads, space, addresses, values.itemsize, how, text)
        if space == "global":
            self._memory.store(threads, addresses, values)
        else:
            self._private[space].store(threads, self._owners(threads, space), addresses, values)

    def _owners(self, threads: Threads, space: str) -> NDArray[np.int64]:
        indices = threads.indices()
        return indices // threads.size if space == "shared" else indices

    def _note(self, threads: Threads, space: str, addresses: Array, width: int, how: int, text: str) -> None:
        if space == "local":
            return
        indices = threads.indices()
        blocks = indices // threads.size
        log, places = self._log, addresses.astype(np.int64)
        if space == "shared":
            log, places = self.shared_log, places + blocks * self._private[space].stride
        everyone = indices + threads.first * threads.size
        log.add(Access(places, width, how, everyone, self.epochs[blocks], self.warp_epochs[indices], text))


def _resolved(space: str, addresses: Array) -> tuple[str, Array]:
    """The state space of generic addresses, and where in it they are."""
    if space != "generic":
        return space, addresses
    lowest, highest = int(addresses.min()), int(addresses.max())
    for name, start, end in (("global", 0, SHARED), ("shared", SHARED, LOCAL), ("local", LOCAL, 1 << 58)):
        if start <= lowest and highest < end:
            return name, addresses - np.uint64(start)
    raise Unknown("one instruction with generic addresses in several state spaces")
