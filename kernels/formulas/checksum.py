"""Steps of CRC-32C and XXH64 on single words. All numbers are uint64, of which CRCs use the lower half.

A CRC is a polynomial over {0, 1}, its highest power in the lowest bit; ``ONE`` is 1. So the state of two buffers one
after the other is product(x^(8·length of the second), state of the first) ^ state of the second (from 0).
Sources: Castagnoli, Bräuer and Herrmann, IEEE Trans. Commun. 41 (1993), and RFC 3720, section 12.1, for CRC-32C;
"xxHash fast digest algorithm", version 0.2.0, by Yann Collet, section "XXH64", for XXH64, here with seed 0.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "FORMULAS", "ONE", "POLYNOMIAL", "SEEDS", "absorbed", "byte_added", "divided", "half_added", "mixed", "product",
    "rotated", "short", "stirred", "together", "word_added",
]  # fmt: skip

U = np.uint64
U0, U1, U31 = U(0), U(1), U(31)

POLYNOMIAL, ONE = U(0x82F63B78), U(0x80000000)
POLYNOMIAL32, ONE32, ZERO32 = np.uint32(0x82F63B78), np.uint32(1), np.uint32(0)

P1, P2, P3, P4, P5 = (
    U(0x9E3779B185EBCA87), U(0xC2B2AE3D27D4EB4F), U(0x165667B19E3779F9), U(0x85EBCA77C2B2AE63), U(0x27D4EB2F165667C5),
)  # fmt: skip

SEEDS = U((int(P1) + int(P2)) % 2**64), P2, U0, U(-int(P1) % 2**64)
"""The four accumulators at the start."""


def product(left: U, right: U) -> U:
    """Two polynomials multiplied, modulo the CRC's."""
    total = U0
    for _ in range(32):
        total ^= right if left & ONE else U0
        left <<= U1
        right = (right >> U1) ^ (POLYNOMIAL if right & U1 else U0)
    return total


def divided(state: np.uint32, word: np.uint32, bits: int) -> np.uint32:
    """The CRC's state after ``bits`` more bits, the lowest of the word first; in 32 bits throughout."""
    state = np.uint32(state ^ word)
    for _ in range(bits):
        low = POLYNOMIAL32 if state & ONE32 else ZERO32
        state = np.uint32(np.uint32(state >> ONE32) ^ low)
    return state


def rotated(value: U, count: U) -> U:
    """Bits rotated to the left."""
    return (value << count) | (value >> (U(64) - count))


def absorbed(accumulator: U, lane: U) -> U:
    """An accumulator after 8 more bytes of its lane."""
    return rotated(accumulator + lane * P2, U31) * P1


def together(a: U, b: U, c: U, d: U) -> U:
    """The four accumulators as one."""
    total = rotated(a, U1) + rotated(b, U(7)) + rotated(c, U(12)) + rotated(d, U(18))
    return mixed(mixed(mixed(mixed(total, a), b), c), d)


def mixed(total: U, accumulator: U) -> U:
    """One accumulator merged into the total."""
    return (total ^ absorbed(U0, accumulator)) * P1 + P4


def short() -> U:
    """The total before anything, for less than 32 bytes."""
    return P5


def word_added(total: U, lane: U) -> U:
    """8 bytes of the rest."""
    return rotated(total ^ absorbed(U0, lane), U(27)) * P1 + P4


def half_added(total: U, lane: U) -> U:
    """4 bytes of the rest."""
    return rotated(total ^ (lane * P1), U(23)) * P2 + P3


def byte_added(total: U, lane: U) -> U:
    """The last bytes, one by one."""
    return rotated(total ^ (lane * P5), U(11)) * P1


def stirred(total: U) -> U:
    """The final avalanche."""
    total = (total ^ (total >> U(33))) * P2
    total = (total ^ (total >> U(29))) * P3
    return total ^ (total >> U(32))


FORMULAS = product, divided, rotated, absorbed, mixed, together, short, word_added, half_added, byte_added, stirred
