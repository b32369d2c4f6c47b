"""Kernels against the copy rate that the same card shows in the same run: bytes that must move, by the time taken."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from kernels import reduce
from kernels.device_array import DeviceArray
from tests.gpu.card import Card

pytestmark = pytest.mark.gpu
NBYTES = 1 << 28
"""Well beyond the second-level cache (50 MB on H100)."""

TURNS = 20
SHARE = 0.9


@pytest.fixture(scope="module")
def card() -> Card:
    return Card()


def rate(card: Card, work: Callable[[], object], nbytes: int) -> float:
    """Bytes a second, best of five batches."""
    work()
    card.synchronize(1)
    best = np.inf
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(TURNS):
            work()
        card.synchronize(1)
        best = min(best, (time.perf_counter() - began) / TURNS)
    return nbytes / best


def arrays(card: Card, dtype: str, count: int) -> list[DeviceArray]:
    made = [card.allocate(NBYTES).view(np.dtype(dtype)) for _ in range(count)]
    for array in made:
        card.copy_in(array.view(np.uint8), np.zeros(NBYTES, np.uint8), 1)
    card.synchronize(1)
    return made


@pytest.mark.parametrize("dtype", ["f4", "f2", "f8", "i4"])
@pytest.mark.parametrize("inputs", [2, 4, 8])
def test_reductions_move_bytes_as_fast_as_a_copy(card: Card, dtype: str, inputs: int) -> None:
    source, target, *others = arrays(card, dtype, inputs + 1)
    copied = rate(card, lambda: card.copy(target.view(np.uint8), source.view(np.uint8), 1), 2 * NBYTES)
    parts = [source, *others]
    folded = rate(card, lambda: reduce.get("sum").fold(parts, target), (len(parts) + 1) * NBYTES)
    assert folded >= SHARE * copied, f"{folded / 1e9:.0f} GB/s, and the copy {copied / 1e9:.0f} GB/s"
