"""Philox 4x32-10: random bits that are a pure function of a key and a counter, the same on every processor.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3.
"""

from __future__ import annotations

import numpy as np

__all__ = ["FIRST", "GOLDEN", "HALF", "LOW", "ROOT", "ROUNDS", "SECOND", "ten_rounds"]

ROUNDS = 10
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
FIRST, SECOND = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
GOLDEN, ROOT = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


def ten_rounds(index: np.uint64, stream: np.uint64, key: np.uint64) -> tuple[np.uint64, np.uint64]:
    """128 random bits for a counter whose lower half is ``index`` and whose upper half is ``stream``.

    The words of the paper's counter, key and result are those of the arguments and results, the lower one first.
    Written so that Numba compiles it for a processor's vectors and for a card alike.
    """
    a, b, c, d = index & LOW, index >> HALF, stream & LOW, stream >> HALF
    k, m = key & LOW, key >> HALF
    for _ in range(ROUNDS):
        left, right = FIRST * a, SECOND * c
        a, b, c, d = (right >> HALF) ^ b ^ k, right & LOW, (left >> HALF) ^ d ^ m, left & LOW
        k, m = (k + GOLDEN) & LOW, (m + ROOT) & LOW
    return a | (b << HALF), c | (d << HALF)
