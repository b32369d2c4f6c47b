"""Reductions of one or more arrays on a CUDA device, in one pass. Not yet run on hardware.

Threads stride over the array by 128-bit vectors. In each step a thread loads several vectors of every input before it
uses the first: eight loads in flight, or as many as there are inputs. The elements before the first address that is a
multiple of 16, and those after the last whole vector, go one by one; so do all where inputs and out lie differently
against such addresses (then a warp still reads whole sectors, but in 32 / itemsize times as many instructions).

Traffic for k inputs of n bytes: (k + 1)·n, each input read once. More than 8 inputs go in groups of 8, then 7:
each group after the first also reads what those before it made, and all but the last write it (halves as float32).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kernels.cpu.arithmetic import kind_of
from kernels.cuda import pairs, strided
from kernels.cuda.device import blocks_for
from kernels.cuda.halves import HALVES
from kernels.cuda.kernel import Kernel
from kernels.cuda.strided import POINTERS, Form
from kernels.cuda.vector import WIDTH
from kernels.device_array import DeviceArray

__all__ = ["SAMPLE", "every", "fold", "kernel"]

SAMPLE = (
    ("sum", "float32", 2), ("sum", "float32", 8), ("sum", "float16", 2), ("sum", "bfloat16", 2), ("sum", "bfloat16", 3),
    ("prod", "bfloat16", 2), ("prod", "complex64", 3), ("min", "float64", 2), ("max", "float16", 3), ("max", "int8", 2),
    ("sum", "int16", 2), ("lxor", "uint8", 8), ("band", "uint64", 2), ("average", "float16", 3),
    ("scale_add", "float32", 2), ("scale_add", "int32", 2),
)  # fmt: skip
"""Operations, dtypes and numbers of inputs, of a thousand: each way in which code is made is among them."""


def fold(name: str, inputs: Sequence[DeviceArray], out: DeviceArray, scale: float | None = None) -> None:
    """``out = inputs[0] ∘ inputs[1] ∘ ...`` from the left, queued on the stream of ``out``.

    "average" multiplies the sum by ``scale``, "scale_add" is ``inputs[0] + scale * inputs[1]``. ``out`` may
    be an input. ValueError for arrays that do not begin at a multiple of what their numbers take.
    """
    if out.dtype.names is not None:
        pairs.fold(name, inputs, out)
    elif out.size:
        _fold_numbers(name, inputs, out, 1.0 if scale is None else scale)


def kernel(name: str, dtype: str, inputs: int) -> Kernel:
    """The kernel for one operation, dtype and number of inputs."""
    return strided.kernel(Form(name, kind_of(dtype), inputs))


def every() -> Iterator[Kernel]:
    """A telling sample, and two kernels that halves need where there are many inputs."""
    yield from (kernel(*facts) for facts in SAMPLE)
    half = kind_of("bfloat16")
    yield strided.kernel(Form("sum", half, POINTERS, kept=True))
    yield strided.kernel(Form("average", half, 2, carried=True))


def _fold_numbers(name: str, inputs: Sequence[DeviceArray], out: DeviceArray, scale: float) -> None:
    kind = kind_of(out.dtype.name)
    for array in (*inputs, out):
        if array.address % (kind.bits // 8):
            raise ValueError(f"{array!r} does not begin at a multiple of {kind.bits // 8} bytes: pass a copy of it")
    head = _head(inputs, out)
    if len(inputs) <= POINTERS:
        _launch(Form(name, kind, len(inputs)), inputs, out, head, scale)
    else:
        _fold_in_groups(name, inputs, out, head, scale)


def _fold_in_groups(name: str, inputs: Sequence[DeviceArray], out: DeviceArray, head: int, scale: float) -> None:
    """The first ``POINTERS`` inputs, then as many as go beside what these made; halves meanwhile are float32."""
    kind = kind_of(out.dtype.name)
    wide = kind.name in HALVES and name not in ("min", "max")
    partial = _between(inputs, out, head, wide=wide)
    on_the_way = "sum" if name == "average" else name
    _launch(Form(on_the_way, kind, POINTERS, kept=wide), inputs[:POINTERS], partial, head, scale)
    rest = inputs[POINTERS:]
    while rest:
        group, rest = rest[: POINTERS - 1], rest[POINTERS - 1 :]
        form = Form(on_the_way if rest else name, kind, 1 + len(group), carried=wide, kept=wide and bool(rest))
        _launch(form, [partial, *group], partial if rest else out, head, scale)


def _between(inputs: Sequence[DeviceArray], out: DeviceArray, head: int, *, wide: bool) -> DeviceArray:
    """Where groups leave what they made: ``out`` if it can be, else room of its own, in which vectors lie as in it."""
    if not wide and all(array.address != out.address for array in inputs[POINTERS:]):
        return out
    dtype = np.dtype(np.float32) if wide else out.dtype
    before = -head * dtype.itemsize % WIDTH
    room = out.device.allocate(before + out.size * dtype.itemsize, out.stream)
    return room[before:].view(dtype)


def _launch(form: Form, inputs: Sequence[DeviceArray], out: DeviceArray, head: int, scale: float) -> None:
    size = form.kind.bits * form.kind.numbers // 8
    body = (out.size - head) * size // WIDTH
    ends = out.size - body * WIDTH // size
    addresses = [array.address for array in inputs] + [0] * (POINTERS - len(inputs))
    chosen = strided.kernel(form)
    blocks = blocks_for(chosen, max(ends, -(-body // strided.unrolled(form))), out.device)
    out.device.launch(chosen, blocks, [*addresses, out.address, head, body, ends, scale], out.stream)


def _head(inputs: Sequence[DeviceArray], out: DeviceArray) -> int:
    """Elements before the vectors: all of them where the arrays lie differently."""
    lacking, itemsize = -out.address % WIDTH, out.dtype.itemsize
    if lacking % itemsize or any((array.address - out.address) % WIDTH for array in inputs):
        return out.size
    return min(lacking // itemsize, out.size)
