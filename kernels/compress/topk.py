"""Only the largest magnitudes, each with its place."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from kernels.compress import sizes
from kernels.compress.base import Formed
from kernels.compress.encoding import Buffer
from kernels.compress.place import checked_share, on_host

__all__ = ["TopK"]

_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TopK(Formed):
    """The k = ⌈share·count⌉ elements of largest magnitude. Wire: k int32 places in ascending order, k float32 values.

    The selection is exact, and of equal magnitudes those at lower places go first: one answer on every processor. NaNs
    count as largest of all. The others are decoded as 0. Found by counting bits of magnitudes, 11, 10 and 10 at a time,
    so memory is read four times.

    Messages cannot be added: their places differ, and a sum would have more than k.
    Source: Aji and Heafield 2017 (EMNLP), section 3; exact instead of sampled. ||x - decoded||² ≤ (1 - k/count)·||x||²
    (Stich, Cordonnier and Jaggi 2018, NeurIPS, lemma A.1).
    """

    module: ClassVar[str] = "topk"
    share: Fraction = sizes.KEPT

    def __post_init__(self) -> None:
        checked_share(self.module, self.share)

    def nbytes(self, count: int) -> int:
        """Eight for each element that is kept; ValueError where an int32 cannot number the elements."""
        if count > _MOST:
            raise ValueError(f"topk numbers up to {_MOST} elements, got {count}: encode them in parts")
        return sizes.topk(count, self.share)

    def kept(self, count: int) -> int:
        """How many elements travel."""
        return sizes.kept(count, self.share)

    def bound(self, values: Buffer) -> float:
        """The largest magnitude that is left out."""
        magnitudes = np.abs(on_host(values))
        left = len(magnitudes) - self.kept(len(magnitudes))
        return float(np.partition(magnitudes, left - 1)[left - 1]) if left else 0.0
