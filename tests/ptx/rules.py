"""What the machine code and the PTX of a kernel must be like; each rule gives the complaints there are, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.ptx.machine_code import Code, Line
from tests.ptx.operands import KINDS
from tests.ptx.syntax import Entry, Operand, Register, Vector

__all__ = ["IN_FLIGHT", "contracted", "fits", "in_flight", "vectorised"]

IN_FLIGHT = 4
"""128-bit loads that a thread has under way before it needs the first, at least, in its main loop."""

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
            if (line.is_global and not line.is_wide) or line.opcode.startswith(("CALL", "LDL", "STL")):
                yield f"{_name(code)} has {line.text!r} beside its 128-bit accesses"
    most = max(map(in_flight, hot))
    if most < IN_FLIGHT:
        yield f"{_name(code)} has {most} loads in flight before the first is used, where {IN_FLIGHT} are wanted"


def in_flight(block: tuple[Line, ...]) -> int:
    """How many 128-bit loads stand before the first instruction that uses what one of them loads."""
    pending: set[int] = set()
    count = 0
    for line in block:
        first, _, rest = line.operands.partition(",")
        read = line.operands if line.opcode.startswith("ST") else rest
        if pending & _registers(read):
            return count
        if line.is_wide and line.is_load:
            start = int(TARGETS.findall(first)[0])
            pending |= set(range(start, start + 4))
            count += 1
    return count


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
