"""Where the chunks of an algorithm lie in a caller's buffers."""

from __future__ import annotations

from collections.abc import Sequence

from collectives.catalogue import Algorithm
from collectives.executors.plan import Places, touched
from collectives.schedule import extents

__all__ = ["exchange", "grain", "pieces", "whole"]

SEND, RECEIVE, TRANSIT = 0, 1, 2


def whole(algorithm: Algorithm, size: int, count: int, step: int = 1) -> Places:
    """Chunks are nearly equal parts of ``count`` elements in buffer 0, cut only at multiples of ``step`` elements."""
    parts = extents(count // step, algorithm.chunks(size))
    return lambda chunk: (0, parts[chunk][0] * step, parts[chunk][1] * step)


def grain(nbytes: int) -> int:
    """At which multiples of bytes a message may be cut: at whole words where it has no odd end."""
    return 8 if nbytes % 8 == 0 else 1


def pieces(lengths: Sequence[int], starts: Sequence[int]) -> Places:
    """Chunk i is the piece of rank i: ``lengths[i]`` elements from element ``starts[i]`` of buffer 0."""
    return lambda chunk: (0, starts[chunk], starts[chunk] + lengths[chunk])


def exchange(algorithm: Algorithm, rank: int, size: int, block: int) -> tuple[Places, int]:
    """Alltoall: my row in the send buffer, my column in the receive buffer, and what passes through in scratch memory.

    Returns the places and how many elements of scratch memory (buffer 2) they need; ``block`` elements a chunk.
    """
    passing = [chunk for chunk in touched(algorithm, rank, size) if rank not in divmod(chunk, size)]
    slots = {chunk: slot for slot, chunk in enumerate(passing)}

    def places(chunk: int) -> tuple[int, int, int]:
        source, dest = divmod(chunk, size)
        if source == rank:
            return SEND, dest * block, (dest + 1) * block
        if dest == rank:
            return RECEIVE, source * block, (source + 1) * block
        return TRANSIT, slots[chunk] * block, (slots[chunk] + 1) * block

    return places, len(passing) * block
