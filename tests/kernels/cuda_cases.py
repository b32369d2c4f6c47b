"""One small case of each family of CUDA kernels: what the device gives, beside what the CPU form gives.

They are run where whole families would take too long: on each architecture's PTX, and in Numba's CUDA simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import buckets, checksum, compress, norms, optimise, reduce
from kernels.cuda.device import using
from tests.ptx.device import Emulated
from tests.ptx.harness import empty, placed

__all__ = ["CASES", "Pair"]

Pair = tuple[NDArray[Any], NDArray[Any]]
"""What the device gave, and what it should be."""

SIZE = 141
"""Elements: a head, some vectors and a tail, in at most two blocks."""


def some(seed: int, size: int = SIZE) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def reduced(device: Emulated) -> Iterator[Pair]:
    for offsets in ((3, 3, 3), (0, 1, 2)):
        left, right = some(1), some(2)
        *inputs, out = placed(device, [left, right], offsets)
        reduce.get("sum").fold(inputs, out)
        yield device.values(out), left + right


def encoded(text: str) -> Callable[[Emulated], Iterator[Pair]]:
    """Encode with error feedback, decode, add what is decoded; the wire, too, has the same bytes."""

    def case(device: Emulated) -> Iterator[Pair]:
        encoding = compress.get(text)
        values, residual, total = some(3), some(4) / 8, some(5)
        wire = np.zeros(encoding.nbytes(SIZE), np.uint8)
        there = [device.array(array) for array in (values, residual, total)]
        sent = empty(device, wire.size, np.uint8)
        encoding.encode_feedback(there[0], sent, there[1], counter=7)
        encoding.decode_add(sent, there[2])
        encoding.encode_feedback(values, wire, residual, counter=7)
        encoding.decode_add(wire, total)
        yield device.values(sent), wire
        for array, expected in zip(there, (values, residual, total), strict=True):
            yield device.values(array), expected

    return case


def stepped(device: Emulated) -> Iterator[Pair]:
    method = optimise.get("adamw", learning_rate=0.1, weight_decay=0.01)
    weights, gradient = some(6), some(7)
    state = method.state(weights)
    there, shown = device.array(weights), device.array(gradient)
    kept = tuple(device.array(array) for array in state)
    method.step(there, shown, kept, 1)
    method.step(weights, gradient, state, 1)
    yield device.values(there), weights
    for one, other in zip(kept, state, strict=True):
        yield device.values(one), other


def checked(device: Emulated) -> Iterator[Pair]:
    values = some(8)
    found = checksum.get("crc32c")(device.array(values, offset=4))
    yield np.array([found]), np.array([checksum.get("crc32c")(values)])


def packed(device: Emulated) -> Iterator[Pair]:
    arrays = [some(seed, size) for seed, size in ((9, 5), (10, 64), (11, 33))]
    (bucket,) = buckets.plan([array.shape for array in arrays], [array.dtype for array in arrays], limit_bytes=1 << 20)
    there, buffer = [device.array(array) for array in arrays], empty(device, bucket.size, np.float32)
    bucket.pack(there, buffer)
    expected = np.empty(bucket.size, np.float32)
    bucket.pack(arrays, expected)
    yield device.values(buffer), expected


def measured(device: Emulated) -> Iterator[Pair]:
    values = some(12)
    for norm in (norms.l2, norms.absmax):
        yield device.values(norm([device.array(values)])), np.atleast_1d(norm([values]))


def _within(case: Callable[[Emulated], Iterator[Pair]]) -> Callable[[Emulated], list[Pair]]:
    def run(device: Emulated) -> list[Pair]:
        with using(device):
            return list(case(device))

    return run


CASES: dict[str, Callable[[Emulated], list[Pair]]] = {
    "reduce": _within(reduced),
    **{text.partition(":")[0]: _within(encoded(text)) for text in (
        "float16", "bfloat16", "int8:block=64", "sign", "topk:share=1/8", "randomk:share=1/8", "powersgd",
    )},
    "optimise": _within(stepped), "checksum": _within(checked), "buckets": _within(packed), "norms": _within(measured),
}  # fmt: skip
