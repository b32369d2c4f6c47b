"""A random choice of the elements, the same at every rank, so that only values travel."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from kernels.compress import sizes
from kernels.compress.base import FormedSum
from kernels.compress.encoding import Buffer
from kernels.compress.place import checked_share, largest

__all__ = ["RandomK"]


@dataclass(frozen=True, slots=True)
class RandomK(FormedSum):
    """k = ⌈share·count⌉ elements, one from each of k runs of nearly equal length. Wire: k float32, the uint64 counter.

    Run j holds elements ⌊j·count/k⌋ up to ⌊(j+1)·count/k⌋; word j % 4 of what Philox gives for j // 4 (key ``seed``,
    the call's ``counter``) picks one of them, all equally likely (to 2**-32 of the run's length). So places are in
    ascending order, none twice, and known from the counter. The others are decoded as 0. ``unbiased`` multiplies a
    value by the length of its run, so that the expected decoded vector is the vector: for use without error feedback.

    ``reduce`` adds values: sound where the counters are equal, so that the places are; else a ValueError on the host,
    NaN throughout on a device. k elements of memory are read.
    Source: Stich, Cordonnier and Jaggi 2018 (NeurIPS), section 2, with a stratified choice in the place of one among
    all subsets: each element is as likely; if k divides count, ‖x - decoded‖² is (1 - k/count)·‖x‖² on average.
    """

    module: ClassVar[str] = "randomk"
    share: Fraction = sizes.KEPT
    unbiased: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        checked_share(self.module, self.share)
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"randomk: seed={self.seed} must be from 0 to 2**64 - 1")

    def nbytes(self, count: int) -> int:
        """Four for each element that is kept, and eight."""
        return sizes.randomk(count, self.share)

    def kept(self, count: int) -> int:
        """How many elements travel."""
        return sizes.kept(count, self.share)

    def bound(self, values: Buffer) -> float:
        """The largest magnitude, left out; ``unbiased``: as often as its run is long, less one."""
        count = len(values)
        run = -(-count // self.kept(count)) if count else 1
        return largest(values) * (max(run - 1, 1) * (1 + 2.0**-23) if self.unbiased else 1)
