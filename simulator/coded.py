"""What of a block's messages is encoded anew: a chunk that came encoded and was not changed travels on as it came."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.blocks import Block
from simulator.cut import Cut
from simulator.encodings import Encoding

__all__ = ["Coded", "Coding"]

Ints = NDArray[np.int64]

_MOST = 1 << 28
"""Chunks of all ranks together of which it is remembered whether they changed, a byte each."""


class Coded(NamedTuple):
    """Of each message, int64 of shape (m,): its chunks, those that are encoded anew, and the bytes of vector in these.

    Chunks without elements do not count.
    """

    chunks: Ints
    fresh: Ints
    nbytes: Ints


class Coding:
    """Follows one phase block by block, as the executor encodes: see ``collectives.compression.codings``."""

    def __init__(self, encoding: Encoding, size: int, cut: Cut) -> None:
        self._cut, self._follows = cut, bool(encoding.encode)
        if self._follows and size * cut.chunks > _MOST:
            raise ValueError(
                f"{cut.chunks} chunks at each of {size} ranks are too many to follow what is encoded anew: take fewer"
            )
        self._changed = np.ones((size, cut.chunks) if self._follows else (0, 0), dtype=np.bool_)

    def of(self, block: Block) -> Coded:
        """What is coded in the next block."""
        low, high = block.spans.T
        chunks = self._cut.filled(low, high, block.span_first)
        fresh, nbytes = np.zeros_like(chunks), np.zeros_like(chunks)
        if self._follows:
            for number in range(block.rounds):
                part = slice(*block.first[number : number + 2].tolist())
                fresh[part], nbytes[part] = self._round(block, part)
        return Coded(chunks, fresh, nbytes)

    def _round(self, block: Block, part: slice) -> tuple[Ints, Ints]:
        """Sends see what the round began with; then they have encoded it, and what has been received is there."""
        messages, chunks = _pairs(block, part)
        source, dest, folds = block.source[part][messages], block.dest[part][messages], block.folds[part][messages]
        count = part.stop - part.start
        lengths = self._cut.lengths(chunks) * self._changed[source, chunks]
        self._changed[source, chunks] = False
        self._changed[dest[~folds], chunks[~folds]] = False
        self._changed[dest[folds], chunks[folds]] = True
        fresh = np.bincount(messages[lengths > 0], minlength=count)
        return fresh, np.bincount(messages, weights=lengths, minlength=count).astype(np.int64)


def _pairs(block: Block, part: slice) -> tuple[Ints, Ints]:
    """Every chunk of every message of a round, with the number of the message in it."""
    first = block.span_first[part.start : part.stop + 1]
    spans = block.spans[first[0] : first[-1]]
    lengths: Ints = spans[:, 1] - spans[:, 0]
    several: Ints = np.diff(first)
    messages: Ints = np.repeat(np.arange(len(several)), several)
    before: Ints = np.cumsum(lengths) - lengths
    chunks: Ints = np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(spans[:, 0] - before, lengths)
    return np.repeat(messages, lengths), chunks
