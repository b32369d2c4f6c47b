"""The horizontal axis of a diagram: time with round numbers, or rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator import Message, Timeline

__all__ = ["Axis", "by_round", "rounds_axis", "time_axis"]

_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))


@dataclass(frozen=True, slots=True)
class Axis:
    """From 0 to ``end``: ``ticks`` are (position, label), ``lines`` the positions at which a faint line stands."""

    end: float
    unit: str
    ticks: tuple[tuple[float, str], ...]
    lines: tuple[float, ...]


def time_axis(seconds: float, most: int, decimal: str = ".") -> Axis:
    """At most ``most`` ticks at multiples of 1, 2 or 5 of a power of ten, in the unit that suits ``seconds``."""
    if not seconds:
        return Axis(1.0, "s", (), ())
    unit, scale = next((pair for pair in _UNITS if pair[1] <= seconds), _UNITS[-1])
    rough = seconds / scale / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    positions = [index * step for index in range(int(seconds / scale / step + 1e-9) + 1)]
    labels = [f"{position:.6g}".replace(".", decimal) for position in positions]
    places = tuple(position * scale for position in positions)
    return Axis(seconds, unit, tuple(zip(places, labels, strict=True)), places)


def rounds_axis(rounds: int, most: int) -> Axis:
    """One step a round, its number in the middle; only every so many have one where there are more than ``most``."""
    every = math.ceil(rounds / most) if rounds else 1
    ticks = tuple((number + 0.5, str(number)) for number in range(0, rounds, every))
    return Axis(max(rounds, 1), "", ticks, tuple(float(number) for number in range(0, rounds + 1, every)))


def by_round(timeline: Timeline) -> Timeline:
    """The same messages with every round one unit long: sent in its first half, received in its second.

    Where a rank sends or receives several in one round, they stand one after another as they did in time.
    """
    out, into = _turns(timeline, sending=True), _turns(timeline, sending=False)
    messages = tuple(_slot(message, out[index], into[index]) for index, message in enumerate(timeline))
    stays = tuple(
        replace(stay, entered=stay.round, received=stay.round + 0.96, left=stay.round + 0.96) for stay in timeline.stays
    )
    return Timeline(messages, stays)


def _slot(message: Message, out: tuple[int, int], into: tuple[int, int]) -> Message:
    begin = message.round + 0.06 + 0.4 * out[0] / out[1]
    finish = message.round + 0.54 + 0.4 * (into[0] + 1) / into[1]
    return replace(message, start=begin, sent=begin + 0.4 / max(out[1], into[1]), arrived=finish, end=finish)


def _turns(timeline: Sequence[Message], *, sending: bool) -> list[tuple[int, int]]:
    """For each message which of how many it is at its port in its round."""
    ports: dict[tuple[int, int], list[int]] = {}
    for index, message in enumerate(timeline):
        ports.setdefault((message.round, message.source if sending else message.dest), []).append(index)
    turns = [(0, 1)] * len(timeline)
    for indices in ports.values():
        ordered = sorted(indices, key=lambda index: timeline[index].start)
        for turn, index in enumerate(ordered):
            turns[index] = (turn, len(ordered))
    return turns
