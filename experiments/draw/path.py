"""The critical path as a line through the space-time diagram."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.draw.canvas import Canvas
from experiments.draw.lanes import Lanes
from simulator import Message, Timeline
from simulator.explanation import Explanation

__all__ = ["BAND", "STYLE", "over", "under"]

Point = tuple[float, float]
BAND = "#e8a900"
"""Of a band that is seen on light and on dark paper, and that no chunk hides."""

STYLE = f"""
.ciranda-diagram .path {{ fill: none; stroke-linejoin: round; stroke-linecap: round; }}
.ciranda-diagram .band {{ stroke: {BAND}; stroke-opacity: .55; }}
.ciranda-diagram .core {{ stroke: currentColor; stroke-width: 1.6; }}
"""


def under(canvas: Canvas, lanes: Lanes, found: Explanation, shown: Timeline, *, rounds: bool) -> None:
    """The wide band, to be drawn before the messages."""
    band = canvas.add("path", d=_line(lanes, found, shown, rounds=rounds))
    band.set("class", "path band")
    band.set("stroke-width", "12" if lanes.gap >= 24 else "6")


def over(canvas: Canvas, lanes: Lanes, found: Explanation, shown: Timeline, *, rounds: bool) -> None:
    """The thin line on top of the messages."""
    canvas.add("path", d=_line(lanes, found, shown, rounds=rounds)).set("class", "path core")


def _line(lanes: Lanes, found: Explanation, shown: Timeline, *, rounds: bool) -> str:
    points = _by_round(found, shown) if rounds else _in_time(found)
    drawn: list[str] = []
    for moment, rank in points:
        point = f"{lanes.x(moment):.1f} {lanes.y(int(rank)):.1f}"
        if not drawn or drawn[-1] != point:
            drawn.append(point)
    return "M" + "L".join(drawn)


def _in_time(found: Explanation) -> Iterator[Point]:
    """Corners (moment, rank): along the line of a rank while it is waited for, across while a message is under way."""
    for step in found.steps:
        message = step.message
        if message is None or not message.start <= step.begin < step.end <= message.arrived:
            yield step.begin, step.rank
            yield step.end, step.rank
            continue
        if step.begin == message.start:
            yield step.begin, message.source
        if step.end == message.arrived:
            yield step.end, step.rank


def _by_round(found: Explanation, shown: Timeline) -> Iterator[Point]:
    slots = {_key(message): message for message in shown}
    for message in found.messages:
        slot = slots[_key(message)]
        yield slot.start, slot.source
        yield slot.arrived, slot.dest


def _key(message: Message) -> tuple[int, int, int]:
    return message.source, message.dest, message.round
