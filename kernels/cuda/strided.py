"""The kernels of ``kernels.cuda.reduce``: what one thread reads, combines and writes, and the loops around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from numba import cuda as numba_cuda
from numba import types as numba_types
from numba.core import cgutils as numba_cgutils
from numba.cuda.extending import intrinsic as numba_intrinsic

from kernels.cpu.arithmetic import Kind
from kernels.cuda import arithmetic
from kernels.cuda.kernel import Kernel
from kernels.cuda.loops import onward
from kernels.cuda.vector import WIDTH, give, read, take, write

__all__ = ["POINTERS", "Form", "kernel", "unrolled"]

POINTERS = 8
"""How many inputs a kernel takes."""

_IN_FLIGHT = 8
"""Loads of 128 bits that a thread has under way, where there are fewer inputs than that."""

cuda, types, cgutils = cast("Any", numba_cuda), cast("Any", numba_types), cast("Any", numba_cgutils)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)


@dataclass(frozen=True, slots=True)
class Form:
    """A reduction of so many inputs of one kind, of which the first may be ``carried``: halves already in float32.

    ``kept`` halves are written in float32 too, for a further kernel to carry on with.
    """

    operation: str
    kind: Kind
    inputs: int
    carried: bool = False
    kept: bool = False

    @property
    def name(self) -> str:
        """Its own among kernels."""
        words = self.operation, self.kind.name, self.inputs, *["carried"] * self.carried, *["kept"] * self.kept
        return "_".join(map(str, words))


def unrolled(form: Form) -> int:
    """Vectors of each input that a thread takes in one step."""
    return max(1, min(4, _IN_FLIGHT // form.inputs))


@cache
def kernel(form: Form) -> Kernel:
    """The kernel of a form.

    It takes POINTERS addresses, that of the result, how many elements lie before the vectors, how many vectors there
    are, how many elements lie at both ends together, and a factor.
    """
    signature = (*["int64"] * (POINTERS + 4), "float64" if form.kind.real else "int64")
    registers = 80 if form.kind.bits == 8 else 64  # sixteen numbers to a vector
    return Kernel(form.name, _strided(form), signature, registers=registers)


def _strided(form: Form) -> Callable[..., None]:
    """A grid-stride loop over single elements at both ends, one over several vectors, one over the vectors left."""
    many, size = unrolled(form), form.kind.bits * form.kind.numbers // 8
    single, last, vectors = (_step(form, count) for count in (0, 1, many))

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
        while many > 1 and i + (many - 1) * stride < body:
            vectors(sources, out, head * size + i * WIDTH, stride * WIDTH, scale)
            i = onward(i, many * stride)
        while i < body:
            last(sources, out, head * size + i * WIDTH, 0, scale)
            i = onward(i, stride)

    return reduce


@cache
def _step(form: Form, vectors: int) -> Any:
    """``function(sources, out, offset, jump, scale)``: ``vectors`` vectors, ``jump`` bytes apart; 0 for one element.

    All that is read is read before the first is used, and all that is written after.
    """
    place = _Place(form.kind, vectors > 0)

    @intrinsic
    def step(typing: Any, sources: Any, out: Any, offset: Any, jump: Any, scale: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            addresses, target, start, apart, factor = arguments
            bases = cgutils.unpack_tuple(builder, addresses)[: form.inputs]
            offsets = [start]
            for _ in range(vectors - 1):
                offsets.append(builder.add(offsets[-1], apart))
            given = [[place.load(builder, base, at) for base in bases[form.carried :]] for at in offsets]
            carried = [place.load_wide(builder, bases[0], at) if form.carried else None for at in offsets]
            results = [
                arithmetic.combined(builder, form.operation, form.kind, inputs, factor, carried=wide, kept=form.kept)
                for inputs, wide in zip(given, carried, strict=True)
            ]
            for at, result in zip(offsets, results, strict=True):
                (place.store_wide if form.kept else place.store)(builder, target, at, result)
            return context.get_dummy_value()

        return types.void(sources, out, offset, jump, scale), generate

    return step


@dataclass(frozen=True, slots=True)
class _Place:
    """How a vector, or a single element, is moved that lies ``offset`` bytes behind a base address.

    What is wide are float32 in the place of halves, so it lies twice as far behind the base, and takes twice the room.
    """

    kind: Kind
    vectors: bool

    def load(self, builder: Any, base: Any, offset: Any) -> Any:
        address = builder.add(base, offset)
        if self.vectors:
            return read(builder, address, arithmetic.vector(self.kind))
        return take(builder, address, arithmetic.element(self.kind))

    def store(self, builder: Any, base: Any, offset: Any, value: Any) -> None:
        (write if self.vectors else give)(builder, builder.add(base, offset), value)

    def load_wide(self, builder: Any, base: Any, offset: Any) -> Any:
        wide, single = (_Place(arithmetic.FLOAT32, vectors) for vectors in (True, False))
        places = self._wide(builder, offset)
        if not self.vectors:
            return single.load(builder, base, places[0])
        return arithmetic.beside(builder, *(wide.load(builder, base, at) for at in places))

    def store_wide(self, builder: Any, base: Any, offset: Any, value: Any) -> None:
        part = _Place(arithmetic.FLOAT32, self.vectors)
        parts = arithmetic.apart(builder, value) if self.vectors else [value]
        for at, each in zip(self._wide(builder, offset), parts, strict=self.vectors):
            part.store(builder, base, at, each)

    def _wide(self, builder: Any, offset: Any) -> list[Any]:
        start = builder.add(offset, offset)
        return [start, builder.add(start, start.type(WIDTH))]
