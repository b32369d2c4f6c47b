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
    def plan(
        cls, tensors: Mapping[str, int], servers: int, partition: int, itemsize: int = 4, *, whole: bool = False
    ) -> Sharding:
        """Cut tensors of so many elements for ``servers`` servers into parts of at most ``partition`` bytes.

        The vector is cut as evenly as can be, into the same number of parts for every server, and the servers take
        turns: so each has n/k elements and at most one more a part, and every layer is spread over all of them.
        A part may hold the end of one tensor and the beginning of the next.
        ``whole``, for optimisers that need a layer as a whole (LARS, LAMB): no tensor is cut, whatever its size;
        neighbours are packed while they fit into the partition, and the next largest part goes to the server that has
        least: none has more than n/k and its largest part.
        """
        most = max(1, partition // itemsize)
        if whole:
            ranges = list(_packed(tensors, most))
            homes = _balanced(ranges, servers)
        else:
            ranges = list(_even(sum(tensors.values()), servers, most))
            homes = [number % servers for number in range(len(ranges))]
        starts: dict[str, tuple[int, int]] = {}
        at = 0
        for name, count in tensors.items():
            starts[name] = at, at + count
            at += count
        parts = (Part(number, home, *each) for number, (home, each) in enumerate(zip(homes, ranges, strict=True)))
        return cls(tuple(parts), starts)

    @property
    def count(self) -> int:
        """Elements of the whole vector."""
        return self.parts[-1].hi if self.parts else 0

    def covering(self, name: str) -> tuple[Part, ...]:
        """The parts that hold the tensor, or some of it. KeyError for an unknown name."""
        lo, hi = self.tensors[name]
        return tuple(part for part in self.parts if part.lo < hi and lo < part.hi)

    def within(self, part: Part) -> Iterator[tuple[str, int, int]]:
        """The tensors of which the part holds something: name, and from where to where in the flat vector."""
        for name, (lo, hi) in self.tensors.items():
            if part.lo < hi and lo < part.hi:
                yield name, max(lo, part.lo), min(hi, part.hi)

    @cached_property
    def by_server(self) -> Mapping[int, tuple[Part, ...]]:
        """The parts of each server that has any."""
        found: dict[int, list[Part]] = {}
        for part in self.parts:
            found.setdefault(part.server, []).append(part)
        return {server: tuple(parts) for server, parts in sorted(found.items())}


def _even(total: int, servers: int, most: int) -> Iterator[tuple[int, int]]:
    count = min(total, servers * -(-total // (servers * most)))
    for number in range(count):
        yield total * number // count, total * (number + 1) // count


def _packed(tensors: Mapping[str, int], most: int) -> Iterator[tuple[int, int]]:
    begin = end = 0
    for count in tensors.values():
        if end + count - begin > most and end > begin:
            yield begin, end
            begin = end
        end += count
    if end > begin:
        yield begin, end


def _balanced(ranges: list[tuple[int, int]], servers: int) -> list[int]:
    loads, home = [0] * servers, dict[tuple[int, int], int]()
    for lo, hi in sorted(ranges, key=lambda each: (each[0] - each[1], each[0])):
        home[lo, hi] = loads.index(min(loads))
        loads[home[lo, hi]] += hi - lo
    return [home[each] for each in ranges]
