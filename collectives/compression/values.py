"""Values of a chunk as expressions: what ranks brought, sums of two values, and what is left of one once encoded.

Two expressions are the same value, bit for bit, if they are equal up to the sides of a sum: floating-point addition
commutes. Equal expressions get one number, so a schedule's values are as many as it has different ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TypeVar

__all__ = ["Values"]

T = TypeVar("T")


class _Kind(Enum):
    BROUGHT = "what a rank brought"
    SUM = "two values added"
    CODED = "a value encoded and decoded"


class Values:
    """Numbers for values; those that a value is made of have lower numbers than itself."""

    def __init__(self) -> None:
        self._parts: list[tuple[_Kind, int, int]] = []
        self._numbers: dict[tuple[_Kind, int, int], int] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def brought(self, rank: int) -> int:
        """What ``rank`` brought."""
        return self._number(_Kind.BROUGHT, rank)

    def added(self, one: int, other: int) -> int:
        """The sum of two values."""
        return self._number(_Kind.SUM, min(one, other), max(one, other))

    def coded(self, value: int) -> int:
        """What is left of ``value`` once it was encoded."""
        return self._number(_Kind.CODED, value)

    def is_coded(self, value: int) -> bool:
        """Whether the value went through the encoding last."""
        return self._parts[value][0] is _Kind.CODED

    def known_coded(self, value: int) -> int | None:
        """What is left of ``value``, if it was ever asked for."""
        return self._numbers.get((_Kind.CODED, value, 0))

    def within(self, values: Iterable[int]) -> set[int]:
        """The values and all that they are made of."""
        found: set[int] = set()
        left = list(values)
        while left:
            value = left.pop()
            if value not in found:
                found.add(value)
                kind, one, other = self._parts[value]
                left += () if kind is _Kind.BROUGHT else (one, other) if kind is _Kind.SUM else (one,)
        return found

    def evaluate(self, brought: Callable[[int], T], added: Callable[[T, T], T], coded: Callable[[T], T]) -> list[T]:
        """Something for each value, by number: for a rank's contribution, from that of two terms, from that of one."""
        found: list[T] = []
        for kind, one, other in self._parts:
            if kind is _Kind.BROUGHT:
                found.append(brought(one))
            else:
                found.append(added(found[one], found[other]) if kind is _Kind.SUM else coded(found[one]))
        return found

    def _number(self, kind: _Kind, one: int, other: int = 0) -> int:
        key = kind, one, other
        number = self._numbers.setdefault(key, len(self._parts))
        if number == len(self._parts):
            self._parts.append(key)
        return number
