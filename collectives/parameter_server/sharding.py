"""Which server keeps which bytes: large tensors split, small ones packed, servers balanced. Every rank finds the same.

The tensors lie one after another in one flat vector; a part is a range of it, and what travels as one message.
Source of the idea: Jiang et al., "A unified architecture for accelerating distributed DNN training in heterogeneous
GPU/CPU clusters" (OSDI 2020), section 4: fixed partitions, spread evenly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

__all__ = ["Part", "Sharding"]


@dataclass(frozen=True, slots=True)
class Part:
    """Elements ``lo`` to ``hi`` of the flat vector, kept by ``server``; ``number`` is its place in the vector."""

    number: int
    server: int
    lo: int
    hi: int

    @property
    def count(self) -> int:
        """Elements."""
        return self.hi - self.lo


@dataclass(frozen=True, eq=False)
class Sharding:
    """``parts`` in ascending order cover the vector; ``tensors``: by name, where each begins and ends in it."""

    parts: tuple[Part, ...]
    tensors: Mapping[str, tuple[int, int]]

    @classmethod
    def plan(cls, tensors: Mapping[str, int], servers: int, partition: int, itemsize: int = 4) -> Sharding:
        """Cut tensors of so many elements for ``servers`` servers into parts of at most ``partition`` bytes.

        A tensor above ``partition`` bytes is cut into pieces as equal as can be; neighbours are packed while they fit
        together. Where that would leave a server with more than its share, parts are smaller: at most ⌈n/k⌉ bytes.
        The next largest part goes to the server that has least, so no two servers differ by more than one part.
        """
        total = sum(tensors.values())
        most = max(1, min(partition // itemsize, -(-total // servers)))
        ranges = list(_packed(_pieces(tensors, most), most))
        loads = [0] * servers
        home: dict[tuple[int, int], int] = {}
        for lo, hi in sorted(ranges, key=lambda each: (each[0] - each[1], each[0])):
            home[lo, hi] = loads.index(min(loads))
            loads[home[lo, hi]] += hi - lo
        starts: dict[str, tuple[int, int]] = {}
        at = 0
        for name, count in tensors.items():
            starts[name] = at, at + count
            at += count
        return cls(tuple(Part(number, home[each], *each) for number, each in enumerate(ranges)), starts)

    @property
    def count(self) -> int:
        """Elements of the whole vector."""
        return self.parts[-1].hi if self.parts else 0

    def covering(self, name: str) -> tuple[Part, ...]:
        """The parts that hold the tensor, or some of it. KeyError for an unknown name."""
        lo, hi = self.tensors[name]
        return tuple(part for part in self.parts if part.lo < hi and lo < part.hi)

    @cached_property
    def by_server(self) -> Mapping[int, tuple[Part, ...]]:
        """The parts of each server that has any."""
        found: dict[int, list[Part]] = {}
        for part in self.parts:
            found.setdefault(part.server, []).append(part)
        return {server: tuple(parts) for server, parts in sorted(found.items())}


def _pieces(tensors: Mapping[str, int], most: int) -> Iterator[tuple[int, int]]:
    at = 0
    for count in tensors.values():
        pieces = max(1, -(-count // most))
        yield from ((at + count * i // pieces, at + count * (i + 1) // pieces) for i in range(pieces))
        at += count


def _packed(pieces: Iterator[tuple[int, int]], most: int) -> Iterator[tuple[int, int]]:
    begin = end = 0
    for lo, hi in pieces:
        if hi - begin > most and end > begin:
            yield begin, end
            begin = lo
        end = hi
    if end > begin:
        yield begin, end
