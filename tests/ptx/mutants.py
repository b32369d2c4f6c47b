"""The PTX of a kernel with one small fault in each copy: what a check that is worth its name must notice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Mutant", "mutants"]

OFF_BY_ONE = {"lt": "le", "le": "lt", "gt": "ge", "ge": "gt"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A text with a fault, and what the fault is."""

    what: str
    text: str


def mutants(text: str) -> Iterator[Mutant]:
    """Each line that a fault of these kinds can be put in, with it."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        for kind, change in FAULTS.items():
            changed = change(line)
            if changed is not None:
                whole = "\n".join([*lines[:number], changed, *lines[number + 1 :]])
                yield Mutant(f"{kind}: line {number + 1}, {line.strip()!r}", whole)


def _compared_off_by_one(line: str) -> str | None:
    found = re.search(r"\bsetp\.(lt|le|gt|ge)\.[su]", line)
    return line.replace(f"setp.{found[1]}", f"setp.{OFF_BY_ONE[found[1]]}") if found else None


def _guard_dropped(line: str) -> str | None:
    return re.sub(r"@!?%p\d+", "", line) if re.search(r"@!?%p\d+", line) else None


def _branch_dropped(line: str) -> str | None:
    return "" if re.search(r"@!?%p\d+\s+bra", line) else None


def _moved(line: str) -> str | None:
    """One element further: a wide access loses its alignment, a narrow one is off by one."""
    found = re.search(r"\b(?:ld|st)\.(?:global|shared)\.[\w.]+", line)
    if found is None:
        return None
    size = int(re.findall(r"\d+", found[0])[-1]) // 8
    return re.sub(r"\[([%\w$]+)(?:\+(-?\d+))?\]", lambda place: f"[{place[1]}+{int(place[2] or 0) + size}]", line)


def _barrier_dropped(line: str) -> str | None:
    return "" if re.search(r"\bbar\.sync", line) else None


def _shuffle_of_another_lane(line: str) -> str | None:
    found = re.search(r"shfl\.sync\.\w+\.b32[^,]*, [^,]*, (\d+)", line)
    return line.replace(f", {found[1]},", f", {int(found[1]) // 2},", 1) if found else None


FAULTS: dict[str, Callable[[str], str | None]] = {
    "off by one": _compared_off_by_one,
    "missing predicate": _guard_dropped,
    "missing branch": _branch_dropped,
    "wrong place": _moved,
    "dropped barrier": _barrier_dropped,
    "wrong lane": _shuffle_of_another_lane,
}
