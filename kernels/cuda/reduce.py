"""Reductions of one or more arrays on a CUDA device, in one pass. Not yet run on hardware.

Threads stride over the array by 128-bit vectors. In each step a thread loads several vectors of every input before it
uses the first: eight loads in flight, or as many as there are inputs. The elements before the first address that is a
multiple of 16, and those after the last whole vector, go one by one; so do all where inputs and out lie differently
against such addresses (then a warp still reads whole sectors, but in 32 / itemsize times as many instructions).

Traffic for k inputs of n bytes: (k + 1)·n, each input read once. More than ``POINTERS`` inputs go in groups, of which
each after the first also reads what the one before wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, cast

from numba import cuda as numba_cuda
from numba import types as numba_types
from numba.core import cgutils as numba_cgutils
from numba.cuda.extending import intrinsic as numba_intrinsic

from kernels.cpu.arithmetic import Kind, kind_of
from kernels.cuda.arithmetic import combined, element, vector
from kernels.cuda.device import blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.loops import onward
from kernels.cuda.vector import WIDTH, give, read, take, write
from kernels.device_array import DeviceArray

__all__ = ["POINTERS", "SAMPLE", "every", "fold", "kernel"]

POINTERS = 8
"""How many inputs a kernel takes."""

SAMPLE = (
    ("sum", "float32", 2), ("sum", "float32", 8), ("sum", "float16", 2), ("sum", "bfloat16", 2), ("sum", "bfloat16", 3),
    ("prod", "bfloat16", 2), ("prod", "complex64", 3), ("min", "float64", 2), ("max", "float16", 3), ("max", "int8", 2),
    ("sum", "int16", 2), ("lxor", "uint8", 8), ("band", "uint64", 2), ("average", "float16", 3),
    ("scale_add", "float32", 2), ("scale_add", "int32", 2),
)  # fmt: skip
"""Operations, dtypes and numbers of inputs, of a thousand: each way in which code is made is among them."""

_IN_FLIGHT = 8
"""Loads of 128 bits that a thread has under way, where there are fewer inputs than that."""

cuda, types, cgutils = cast("Any", numba_cuda), cast("Any", numba_types), cast("Any", numba_cgutils)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)


def fold(name: str, inputs: Sequence[DeviceArray], out: DeviceArray, scale: float | None = None) -> None:
    """``out = inputs[0] ∘ inputs[1] ∘ ...`` from the left, queued on the stream of ``out``.

    "average" multiplies the sum by ``scale``, "scale_add" is ``inputs[0] + scale * inputs[1]``.
    """
    if out.size == 0:
        return
    chosen = kernel(name, out.dtype.name, len(inputs))
    head = _head(inputs, out)
    body = (out.size - head) * out.dtype.itemsize // WIDTH
    ends = out.size - body * WIDTH // out.dtype.itemsize
    addresses = [array.address for array in inputs] + [0] * (POINTERS - len(inputs))
    number = 1.0 if scale is None else scale
    blocks = blocks_for(chosen, max(ends, -(-body // _unrolled(len(inputs)))), out.device)
    out.device.launch(chosen, blocks, [*addresses, out.address, head, body, ends, number], out.stream)


@cache
def kernel(name: str, dtype: str, inputs: int) -> Kernel:
    """The kernel for one operation, dtype and number of inputs."""
    about = kind_of(dtype)
    signature = (*["int64"] * (POINTERS + 4), "float64" if about.real else "int64")
    registers = 80 if about.bits == 8 else 64  # sixteen numbers to a vector
    return Kernel(f"{name}_{dtype}_{inputs}", _strided(name, about, inputs), signature, registers=registers)


def every() -> Iterator[Kernel]:
    """A telling sample."""
    yield from (kernel(*facts) for facts in SAMPLE)


def _unrolled(inputs: int) -> int:
    """Vectors of each input that a thread takes in one step."""
    return max(1, min(4, _IN_FLIGHT // inputs))


def _head(inputs: Sequence[DeviceArray], out: DeviceArray) -> int:
    """Elements before the vectors: all of them where the arrays lie differently."""
    lacking, itemsize = -out.address % WIDTH, out.dtype.itemsize
    if lacking % itemsize or any((array.address - out.address) % WIDTH for array in inputs):
        return out.size
    return min(lacking // itemsize, out.size)


def _strided(name: str, about: Kind, inputs: int) -> Callable[..., None]:
    """A grid-stride loop over single elements at both ends, one over several vectors, one over the vectors left."""
    single, vectors = _step(name, about, inputs, 0), _step(name, about, inputs, _unrolled(inputs))
    last = _step(name, about, inputs, 1)
    size, unrolled = about.bits * about.numbers // 8, _unrolled(inputs)

    def reduce(
        a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int,
        out: int, head: int, body: int, ends: int, scale: float,
    ) -> None:  # fmt: skip
        sources = (a, b, c, d, e, f, g, h)
        first, stride = cuda.grid(1), cuda.gridsize(1)
        i = first
        while i < ends:
            place = i * size if i < head else i * size + body * WIDTH
            single(sources, out, place, 0, scale)
            i = onward(i, stride)
        i = first
        while unrolled > 1 and i + (unrolled - 1) * stride < body:
            vectors(sources, out, head * size + i * WIDTH, stride * WIDTH, scale)
            i = onward(i, unrolled * stride)
        while i < body:
            last(sources, out, head * size + i * WIDTH, 0, scale)
            i = onward(i, stride)

    return reduce


@cache
def _step(name: str, about: Kind, inputs: int, vectors: int) -> Any:
    """``function(sources, out, offset, jump, scale)``: ``vectors`` vectors, ``jump`` bytes apart; 0 for one element.

    All that is read is read before the first is used, and all that is written after.
    """
    load = partial(read, shape=vector(about)) if vectors else partial(take, shape=element(about))
    store = write if vectors else give

    @intrinsic
    def step(typing: Any, sources: Any, out: Any, offset: Any, jump: Any, scale: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            addresses, target, start, apart, factor = arguments
            bases = cgutils.unpack_tuple(builder, addresses)[:inputs]
            offsets = [start]
            for _ in range(vectors - 1):
                offsets.append(builder.add(offsets[-1], apart))
            values = [[load(builder, builder.add(base, at)) for base in bases] for at in offsets]
            results = [combined(builder, name, about, inputs, factor) for inputs in values]
            for at, result in zip(offsets, results, strict=True):
                store(builder, builder.add(target, at), result)
            return context.get_dummy_value()

        return types.void(sources, out, offset, jump, scale), generate

    return step
