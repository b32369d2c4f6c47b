"""Numbers that are hard to encode, and what the tests of encodings do with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import compress

Floats = NDArray[np.float32]

SPECS = [
    "float16", "bfloat16", "int8", "int8:rounding=nearest", "int8:block=64,seed=7", "sign", "topk", "topk:share=1/3",
    "randomk:share=1/7", "randomk:share=1/5,unbiased=True,seed=3", "powersgd", "powersgd:rank=2",
]  # fmt: skip
COUNTS = 0, 1, 2, 255, 256, 257, 1000, 5003


def some(count: int, seed: int = 0) -> Floats:
    """Numbers of many magnitudes, whole blocks of zeros and of the very small among them, ties and both zeros."""
    source = np.random.default_rng(seed)
    values = (source.normal(size=count) * np.exp2(source.integers(-6, 6, count))).astype(np.float32)
    values[source.integers(0, max(count, 1), count // 9)] = source.choice(np.array([0, -0.0, 0.5, -0.5], np.float32))
    values[512:800] = 0
    values[1024:1300] *= np.float32(2.0**-140)
    return values


def message(encoding: Any, values: Floats, counter: int = 0) -> NDArray[np.uint8]:
    """What travels; every byte is written by the encoding."""
    wire = np.full(encoding.nbytes(values.size), 0xA5, np.uint8)
    encoding.encode(values, wire, counter=counter)
    return wire


def decoded(encoding: Any, wire: NDArray[np.uint8], count: int) -> Floats:
    values = np.full(count, np.nan, np.float32)
    encoding.decode(wire, values)
    return values


def there_and_back(text: str, values: Floats, counter: int = 0) -> Floats:
    encoding = compress.get(text)
    return decoded(encoding, message(encoding, values, counter), values.size)
