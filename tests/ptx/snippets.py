"""Small kernels written in PTX: one instruction at a time on many values, or a few lines with a fault in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.ptx import machine
from tests.ptx.memory import Region
from tests.ptx.program import build

__all__ = ["evaluate", "module", "run"]

HEAD = ".version 8.4\n.target sm_90\n.address_size 64\n"
REGISTERS = ".reg .pred %p<8>; .reg .b16 %h<8>; .reg .b32 %r<8>; .reg .b64 %x<8>;"


def module(parameters: Sequence[str], code: str, declared: str = "") -> str:
    """A module whose entry point ``snippet`` takes 64-bit parameters with these names and runs ``code``."""
    taken = ", ".join(f".param .u64 {name}" for name in parameters)
    return f"{HEAD}\n.visible .entry snippet({taken})\n{{\n{REGISTERS}\n{declared}\n{code}\nret;\n}}\n"


def run(
    code: str, *arrays: NDArray[Any], threads: int = 32, blocks: int = 1, declared: str = "", limit: int = 10_000
) -> None:
    """Run code whose parameters ``p0``, ``p1``, ... are the addresses of the arrays, which it may write unless they
    are read-only."""
    regions = [
        Region(each.reshape(-1).view(np.uint8), f"p{number}", read_only=not each.flags.writeable)
        for number, each in enumerate(arrays)
    ]
    text = module([region.name for region in regions], code, declared)
    machine.launch(build(text), blocks, threads, [region.address for region in regions], regions, limit=limit)


def evaluate(code: str, out: type[Any] | np.dtype[Any], *inputs: NDArray[Any]) -> NDArray[Any]:
    """What the code makes in register %d of the values in %a, %b, %c (one thread for each place in the arrays)."""
    result = np.zeros(inputs[0].size, out)
    arrays = [*map(np.ascontiguousarray, inputs), result]
    names = [*"abc"[: len(inputs)], "d"]
    bits = [8 * each.itemsize for each in arrays]
    # PTX has no registers of 8 bits: loads extend, stores cut.
    declared = " ".join(f".reg .b{max(size, 16)} %{name};" for name, size in zip(names, bits, strict=True))
    lines = ["mov.u32 %r0, %tid.x;", "cvt.u64.u32 %x0, %r0;"]
    for number, size in enumerate(bits):
        lines += [f"ld.param.u64 %x1, [p{number}];", f"mad.lo.u64 %x{number + 2}, %x0, {size // 8}, %x1;"]
    for number, (name, size) in enumerate(zip(names[:-1], bits, strict=False)):
        lines.append(f"ld.global.{'s' if arrays[number].dtype.kind == 'i' else 'u'}{size} %{name}, [%x{number + 2}];")
    lines += [code, f"st.global.u{bits[-1]} [%x{len(inputs) + 2}], %d;"]
    run("\n".join(lines), *arrays, threads=result.size, declared=declared)
    return result
