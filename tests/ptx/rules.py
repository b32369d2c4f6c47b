"""What the machine code and the PTX of a kernel must be like; each rule gives the complaints there are, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kernels.cuda.vector import WIDTH
from tests.ptx.machine_code import Code, Line
from tests.ptx.operands import KINDS
from tests.ptx.syntax import Entry, Operand, Register, Vector

__all__ = ["contracted", "fits", "in_flight", "resident", "vectorised"]

NEEDED = 43_000
"""Bytes that a multiprocessor must have asked for at any time to keep its share of the memory busy (Little's law):
8 TB/s for 0.8 µs under load among 148 multiprocessors (NVIDIA, Blackwell architecture; the latency is assumed)."""

FILE, WARPS, UNIT = 65_536, 64, 8
"""Registers and warps of a multiprocessor, and by how many a thread gets registers (CUDA, compute capabilities)."""

TARGETS = re.compile(r"R(\d+)")


def fits(code: Code) -> Iterator[str]:
    """No stack, no spills, and no more registers than the kernel says."""
    if code.stack or code.spilled:
        yield f"{_name(code)} has {code.stack} bytes of stack and spills {code.spilled}"
    if code.registers > code.kernel.registers:
        yield f"{_name(code)} takes {code.registers} registers, where {code.kernel.registers} are allowed"


def vectorised(code: Code) -> Iterator[str]:
    """A loop with 128-bit accesses, in whose blocks there are no others and no calls, and enough loads in flight."""
    hot = code.hot()
    if not hot:
        yield f"{_name(code)} has no loop with a 128-bit access"
        return
    for block in hot:
        for line in block:
            # CALL.REL.NOINC to a label of its own, which never returns, is how ptxas leaves a loop on sm_80.
            called = line.opcode.startswith("CALL") and "(.L_x_" not in line.operands
            if called or (line.is_global and not line.is_wide) or line.opcode.startswith(("LDL", "STL")):
                yield f"{_name(code)} has {line.text!r} beside its 128-bit accesses"
    loads = max(map(in_flight, hot))
    asked = loads * WIDTH * resident(code)
    if asked < NEEDED:
        yield f"{_name(code)} has {loads} loads and {asked} bytes in flight, where {NEEDED} are needed"


def resident(code: Code) -> int:
    """Threads that a multiprocessor holds: whole blocks, as many as there are registers for."""
    warps = min(WARPS, FILE // (-(-code.registers // UNIT) * UNIT * 32))
    return warps * 32 // code.kernel.threads * code.kernel.threads


def in_flight(block: tuple[Line, ...]) -> int:
    """The most 128-bit loads under way at once: what uses one waits for it, and for those before it."""
    pending: list[set[int]] = []
    most = 0
    for line in block:
        first, _, rest = line.operands.partition(",")
        read = _registers(line.operands if line.opcode.startswith("ST") else rest)
        waited = [number for number, target in enumerate(pending) if target & read]
        pending = pending[max(waited) + 1 :] if waited else pending
        if line.is_wide and line.is_load:
            start = int(TARGETS.findall(first)[0])
            pending.append(set(range(start, start + 4)))
            most = max(most, len(pending))
    return most


def _registers(operands: str) -> set[int]:
    found: set[int] = set()
    for number, pair in re.findall(r"\bR(\d+)(?:\.reuse)?(\.64)?", operands):
        found |= {int(number), int(number) + bool(pair)}
    return found


def contracted(name: str, entry: Entry) -> Iterator[str]:
    """Sums of a product that ptxas may fuse, so that a card may round otherwise than the PTX says: none may be there.

    Only a product and a sum that both name no rounding are fused (PTX ISA, section 9.7.3, ``mul``).
    """
    products: set[str] = set()
    for each in entry.instructions:
        verb, *words = each.parts
        floating = [word for word in words if word in KINDS and KINDS[word].dtype.kind not in "iub"]
        if not floating or {"rn", "rz", "rm", "rp"} & set(words):
            continue
        written, *read = (set(_names(operand)) for operand in each.operands)
        if verb in ("add", "sub") and products & set().union(*read):
            yield f"{name}: {each.text!r} may be fused with the product before it; multiply with exact.times"
        if verb == "mul":
            products |= written


def _names(operand: Operand) -> Iterator[str]:
    if isinstance(operand, Register):
        yield operand.name
    elif isinstance(operand, Vector):
        for part in operand.parts:
            yield from _names(part)


def _name(code: Code) -> str:
    return "{} for sm_{}{}".format(code.kernel.name, *code.capability)
