"""A copy between two strided arrays as the fewest nested loops over the largest words: plain arithmetic, no arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["AXES", "Axis", "Layout", "layout"]

AXES = 8
"""Loops that a copy may need once axes are joined."""


@dataclass(frozen=True, slots=True)
class Axis:
    """``length`` steps of ``source`` bytes on one side and ``target`` bytes on the other."""

    length: int
    source: int
    target: int

    def joins(self, inner: Axis) -> bool:
        """Whether this axis goes on where ``inner`` ends, on both sides."""
        return (self.source, self.target) == (inner.length * inner.source, inner.length * inner.target)


@dataclass(frozen=True, slots=True)
class Layout:
    """Words of ``unit`` bytes, and the loops over them, outermost first; the innermost makes the smallest steps.

    ``transposed`` tells that source and target have their smallest steps in different axes: the last two.
    """

    unit: int
    axes: tuple[Axis, ...]
    transposed: bool

    @property
    def words(self) -> int:
        """How many are copied."""
        return math.prod(axis.length for axis in self.axes)


def layout(
    shape: Sequence[int], source: Sequence[int], target: Sequence[int], itemsize: int, *, addresses: int, largest: int
) -> Layout:
    """The copy of an array of ``shape``, with strides in bytes on both sides.

    A word has at most ``largest`` bytes and is aligned on both sides; ``addresses`` are their two addresses or-ed
    together. Raises ValueError where more than ``AXES`` loops are needed.
    """
    axes = [Axis(*axis) for axis in zip(shape, source, target, strict=True) if axis[0] != 1]
    axes = _joined([*axes, Axis(itemsize, 1, 1)])
    *outer, last = axes
    unit = math.gcd(largest, last.length, addresses, *(step for axis in outer for step in (axis.source, axis.target)))
    if last.length > unit:
        outer.append(Axis(last.length // unit, unit, unit))
    if len(outer) > AXES:
        raise ValueError(f"an array with {len(outer)} axes that do not join: copy it by parts, {AXES} axes at most")
    return _ordered(unit, outer)


def _joined(axes: list[Axis]) -> list[Axis]:
    """Neighbours that walk through memory as one become one."""
    found: list[Axis] = []
    for axis in axes:
        whole = found.pop().length if found and found[-1].joins(axis) else 1
        found.append(Axis(whole * axis.length, axis.source, axis.target))
    return found


def _ordered(unit: int, axes: list[Axis]) -> Layout:
    """The axis with the target's smallest steps goes last, the one with the source's last or next to last."""
    axes = sorted(axes, key=lambda axis: -abs(axis.target))
    if not axes:
        return Layout(unit, (), transposed=False)
    nearest = min(axes, key=lambda axis: abs(axis.source) or math.inf)  # a step of 0 reads one word again and again
    if nearest is axes[-1]:
        return Layout(unit, tuple(axes), transposed=False)
    axes.remove(nearest)
    return Layout(unit, (*axes[:-1], nearest, axes[-1]), transposed=True)
