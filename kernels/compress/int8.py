"""int8 by block: the largest magnitude of each block becomes 127, and every number a whole number of steps below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kernels.compress import sizes
from kernels.compress.base import FormedSum
from kernels.compress.encoding import Buffer
from kernels.compress.place import largest

__all__ = ["TINY", "Int8"]

TINY = 2.0**-100
"""Blocks whose magnitudes are all below this are sent as zeros: their steps have no float32 reciprocal to spare."""

_ROUNDINGS = "nearest", "stochastic"
_BLOCKS = 64, 128, 256, 512


@dataclass(frozen=True, slots=True)
class Int8(FormedSum):
    """A quarter of the bytes. Wire: ``count`` int8 codes, then a float32 scale a block; value = code * scale.

    scale = the block's largest magnitude / 127. ``rounding="stochastic"`` goes up or down at random, in proportion to
    how near each is, so the expected decoded value is the value (to 2**-17 of a step); ``"nearest"`` errs half as much
    at worst, but always to the same side for the same value. The random bits of element i are a function of ``seed``,
    the call's ``counter`` and i: the same on every machine, whoever does the work. Use a counter once a seed.

    A block with an infinity or a NaN is decoded as NaN throughout. Two passes over each block, which is in the
    processor's first cache at the second: memory is read and written once.

    ``reduce`` decodes, adds and encodes anew, a block at a time. Sound as a sum whose every step rounds anew: it is not
    associative, and each step adds its own bound (stochastic steps stay unbiased, given counters of their own).
    Source: Alistarh et al. 2017 (QSGD, NeurIPS), section 3; blocks and scales as in Dettmers et al. 2022 (ICLR).
    """

    module: ClassVar[str] = "int8"
    block: int = sizes.BLOCK
    rounding: str = "stochastic"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.block not in _BLOCKS:
            raise ValueError(f"int8: block={self.block} must be one of {', '.join(map(str, _BLOCKS))}")
        if self.rounding not in _ROUNDINGS:
            raise ValueError(f"int8: rounding={self.rounding!r} must be {' or '.join(_ROUNDINGS)}")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"int8: seed={self.seed} must be from 0 to 2**64 - 1")

    def nbytes(self, count: int) -> int:
        """A byte each, and four for each block."""
        return sizes.int8(count, self.block)

    def bound(self, values: Buffer) -> float:
        """A step (half of one for "nearest") of the largest magnitude's block, and the rounding of scale and product.

        A step is max/127. Scale, reciprocal and the two products are off by 2**-24 each at most, of up to 127 steps:
        together less than 1e-4 steps.
        """
        steps = 0.5 if self.rounding == "nearest" else 1.0
        return max(largest(values) / 127 * (steps + 1e-4), TINY)
