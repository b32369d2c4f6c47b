"""The space-time diagram as SVG: ranks are horizontal lines, time runs to the right, a message is an arrow.

Everything neutral is drawn in ``currentColor``, so a page that embeds the picture (``theme="inherit"``) decides between
light and dark; the colours of messages are readable on both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from xml.etree import ElementTree as ET

from experiments.draw.colours import COPY, REDUCE, Colouring, colouring
from experiments.draw.scale import Axis, by_round, rounds_axis, time_axis
from experiments.draw.texts import Texts, counted, texts
from experiments.errors import UsageFault
from experiments.units import format_bytes, format_rate, format_seconds
from simulator import Message, Run, Timeline

__all__ = ["svg"]

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000.0, 74.0, 26.0, 108.0, 30.0
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_MOST_TOOLTIPS = 1000  # beyond this, messages of one colour share one path and the file stays small
_STYLE = """
.ciranda-diagram { font-family: FONT; font-size: 12px; font-variant-numeric: tabular-nums; }
.ciranda-diagram text { fill: currentColor; }
.ciranda-diagram .title { font-size: 19px; font-weight: 700; }
.ciranda-diagram .muted { fill-opacity: .68; }
.ciranda-diagram .small { font-size: 10.5px; }
.ciranda-diagram .lane { stroke: currentColor; stroke-opacity: .28; }
.ciranda-diagram .grid { stroke: currentColor; stroke-opacity: .11; }
.ciranda-diagram .mark { stroke: currentColor; stroke-opacity: .6; stroke-dasharray: 4 3; fill: none; }
.ciranda-diagram .fold { fill: currentColor; fill-opacity: .5; }
.ciranda-diagram text.inside { fill: #fff; font-size: 10px; font-weight: 600; }
"""
_THEMES = {
    "auto": ".ciranda-diagram { color: #1b2230; }\n"
    "@media (prefers-color-scheme: dark) { .ciranda-diagram { color: #e6e9f0; } }\n",
    "light": ".ciranda-diagram { color: #1b2230; }\n",
    "dark": ".ciranda-diagram { color: #e6e9f0; }\n",
    "inherit": "",
}
_PAPER = {"light": "#ffffff", "dark": "#10151f"}


def svg(run: Run, *, rounds: bool, language: str, theme: str) -> str:
    """The diagram of ``run`` as an SVG document; see ``experiments.draw.svg``."""
    if theme not in _THEMES:
        raise UsageFault(f"no theme is called {theme!r}; use {', '.join(_THEMES)}")
    picture = _Picture(run, texts(language), rounds=rounds)
    picture.paint(_THEMES[theme], _PAPER.get(theme))
    return ET.tostring(picture.root, encoding="unicode") + "\n"


@dataclass(frozen=True, slots=True)
class _Lanes:
    """Where ranks and moments stand: rank 0 on top, bars of height ``bar`` above and below each line."""

    size: int
    gap: int
    bar: int
    end: float

    @property
    def bottom(self) -> float:
        return _TOP + self.gap * self.size

    def y(self, rank: int) -> float:
        return _TOP + self.gap * (rank + 0.5)

    def x(self, moment: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * moment / self.end


class _Picture:
    """One diagram while it is painted, from the back to the front."""

    def __init__(self, run: Run, words: Texts, *, rounds: bool) -> None:
        self.run, self.words, self.by_round = run, words, rounds
        self.timed = run.timeline()
        self.shown: Timeline = by_round(self.timed) if rounds else self.timed
        self.bars = _bars(self.shown) if len(self.shown) <= _MOST_TOOLTIPS else {}
        self.axis: Axis = rounds_axis(run.rounds, 24) if rounds else time_axis(run.seconds, 10, words.decimal)
        gap = max(12, min(64, 560 // run.size))  # whole pixels keep thin bars crisp
        self.lanes = _Lanes(run.size, gap, min(11, gap // 3 if gap > 15 else 3), self.axis.end)
        self.colours: Colouring = colouring(self.timed, run.algorithm.chunks(run.size))
        height = self.lanes.bottom + _BOTTOM
        self.root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "class": "ciranda-diagram",
                "viewBox": f"0 0 {_WIDTH:g} {height:g}",
                "width": f"{_WIDTH:g}",
                "height": f"{height:g}",
                "role": "img",
                "aria-label": f"{run.algorithm.label}, {counted(words.ranks, run.size)}",
                "style": "max-width: 100%; height: auto",
            },
        )

    def paint(self, theme: str, paper: str | None) -> None:
        """All layers."""
        self._describe()
        _add(self.root, "style").text = theme + _STYLE.replace("FONT", _FONT)
        if paper:
            _add(self.root, "rect", width="100%", height="100%", fill=paper)
        self._heading()
        self._grid()
        if not self.shown:
            self._text(self.lanes.x(self.axis.end / 2), self.lanes.y(0) - 8, self.words.idle, "muted", anchor="middle")
            return
        self._legend()
        self._messages()
        self._folds()
        self._marks()

    # --- words ----------------------------------------------------------------------------------------------------

    def _describe(self) -> None:
        run, words = self.run, self.words
        _add(self.root, "title").text = f"{run.algorithm.label}, {counted(words.ranks, run.size)}"
        _add(self.root, "desc").text = words.describe.format(
            algorithm=run.algorithm.label,
            collective=run.algorithm.collective,
            ranks=counted(words.ranks, run.size),
            messages=counted(words.messages, run.messages),
            rounds=counted(words.rounds, run.rounds),
            seconds=self._seconds(run.seconds),
        )

    def _heading(self) -> None:
        run, words, network = self.run, self.words, self.run.network
        heading = self._text(_LEFT, 30, run.algorithm.label, "title")
        collective = ET.SubElement(heading, "tspan", {"class": "muted", "font-weight": "400", "dx": "10"})
        collective.text = run.algorithm.collective.replace("_", "-")
        facts = [
            counted(words.ranks, run.size),
            counted(words.messages, run.messages),
            counted(words.rounds, run.rounds),
        ]
        if not self.by_round:
            rate = format_rate(1 / network.beta, bits=True) if network.beta else "∞"
            facts.insert(1, self._spaced(format_bytes(run.nbytes)))
            facts += [f"{self._seconds(network.alpha)} {words.per_message}", self._spaced(rate)]
        self._text(_LEFT, 52, " · ".join(facts), "muted")

    def _legend(self) -> None:
        words, x, y = self.words, _LEFT, 80.0
        for width, colour, label in self._colour_key():
            _add(self.root, "rect", x=x, y=y - 9, width=width, height=11, fill=colour)
            x += width
            if label:
                x = self._after(self._text(x + 5, y, label, "small"), x + 5) + 12
        x += 10
        sends = f"{words.sends} ({words.labels})" if self.colours.of_chunk and self._labelled else words.sends
        for label in (sends, words.receives):
            x = self._after(self._text(x, y, label, "small muted"), x) + 18
        if self._fold_marks:
            self._plus(x + 5, y - 4, 5.5, REDUCE if not self.colours.of_chunk else self.colours.of_chunk[0])
            x = self._after(self._text(x + 16, y, words.combines, "small muted"), x + 16) + 18
        if self.run.network.gamma and not self.by_round:
            _add(self.root, "rect", x=x, y=y - 9, width=11, height=11).set("class", "fold")
            self._text(x + 16, y, words.folding, "small muted")

    def _colour_key(self) -> Iterable[tuple[float, str, str]]:
        """Width, colour and label of each patch; many chunks make one band, labelled at its end."""
        chunks = self.colours.of_chunk
        if not chunks:
            kinds = {message.folds for message in self.timed}
            both = ((True, REDUCE, self.words.reduce), (False, COPY, self.words.copy))
            return [(11, colour, label) for folds, colour, label in both if folds in kinds]
        last = len(chunks) - 1
        if last < 8:
            return [(11, colour, f"{self.words.chunk} 0" if i == 0 else str(i)) for i, colour in enumerate(chunks)]
        label = f"{self.words.chunks} 0 … {last}"
        return [(max(1.5, 96 / len(chunks)), colour, label if i == last else "") for i, colour in enumerate(chunks)]

    # --- layers ---------------------------------------------------------------------------------------------------

    def _grid(self) -> None:
        lanes, foot = self.lanes, self.lanes.bottom + 4
        for position in self.axis.lines:
            self._line(lanes.x(position), _TOP - 4, lanes.x(position), foot, "grid")
        for position, label in self.axis.ticks:
            self._text(lanes.x(position), foot + 16, label, "small muted", anchor="middle")
        title = self.words.round if self.by_round else f"{self.words.time} ({self.axis.unit})"
        self._text(_LEFT - 10, foot + 16, title, "small muted", anchor="end")
        every = 1 if lanes.gap >= 13 else 2
        for rank in range(lanes.size):
            self._line(_LEFT, lanes.y(rank), _WIDTH - _RIGHT, lanes.y(rank), "lane")
            if rank % every == 0:
                label = f"{self.words.rank} {rank}" if lanes.size <= 32 else str(rank)
                self._text(_LEFT - 10, lanes.y(rank) + 4, label, "small" if lanes.gap < 18 else "", anchor="end")

    def _messages(self) -> None:
        """All arrows, then all bars over them; a tooltip for each message while they are few."""
        few = len(self.shown) <= _MOST_TOOLTIPS

        def key(index: int) -> tuple[object, ...]:
            message = self.shown[index]
            return (index,) if few else (self.colours.of(message), message.folds)

        groups = [list(group) for _, group in groupby(sorted(range(len(self.shown)), key=key), key=key)]
        for paint in (self._paint_arrows, self._paint_bars):
            for indices in groups:
                messages = [self.shown[index] for index in indices]
                group = _add(self.root, "g", fill=self.colours.of(messages[0]))
                if few:
                    _add(group, "title").text = self._tooltip(self.timed[indices[0]])
                paint(group, messages)

    def _paint_arrows(self, group: ET.Element, messages: list[Message]) -> None:
        dense = self.lanes.gap < 20
        arrows = _add(group, "path", d="".join(map(self._arrow, messages)), fill="none")
        arrows.set("stroke", self.colours.of(messages[0]))
        arrows.set("stroke-width", "0.7" if dense else "1.4")
        arrows.set("stroke-opacity", "0.5" if len(self.shown) > _MOST_TOOLTIPS else "0.9")
        if not dense:
            _add(group, "path", d="".join(map(self._head, messages)))

    def _paint_bars(self, group: ET.Element, messages: list[Message]) -> None:
        """Above the line of the sender and below that of the receiver; all of ``messages`` fold, or none does."""
        y, bar = self.lanes.y, self.lanes.bar
        out = (self._bar(message.start, message.sent, y(message.source) - bar) for message in messages)
        into = (
            self._bar(message.end - (message.sent - message.start), message.end, y(message.dest))
            for message in messages
        )
        _add(group, "path", d="".join(out))
        received = _add(group, "path", d="".join(into))
        if not messages[0].folds:
            received.set("fill-opacity", "0.45")
        for message in messages:
            self._inside(message)

    def _bar(self, start: float, end: float, top: float) -> str:
        left, right = self.lanes.x(start), self.lanes.x(end)
        width = max(right - left, 1.6)  # a message of no bytes is still to be seen
        inset = 0.5 if self.lanes.bar > 6 else 0.0
        return f"M{left:.1f} {top + inset:g}h{width:.1f}v{self.lanes.bar - 2 * inset:g}h{-width:.1f}z"

    def _ends(self, message: Message) -> tuple[float, float, float, float]:
        """From the sender's bar to the receiver's, or to the other bar of the same rank that lies in between."""
        lanes = self.lanes
        x0, x1 = lanes.x(message.start), lanes.x(message.end)
        y0, y1 = lanes.y(message.source), lanes.y(message.dest)
        down = y1 > y0
        leave = lanes.bar if not down or self._busy(message.source, message.start, sending=False) else 0.5
        meet = lanes.bar if not down or self._busy(message.dest, message.end, sending=True) else 0.5
        slope = (x1 - x0) / abs(y1 - y0)
        turn = 1 if down else -1
        return x0 + slope * leave, y0 + turn * leave, x1 - slope * meet, y1 - turn * meet

    def _busy(self, rank: int, moment: float, *, sending: bool) -> bool:
        """Whether the bar of one of the rank's messages covers this moment, or comes near it."""
        near = self.axis.end * 16 / _WIDTH
        return any(start < moment + near and end > moment - near for start, end in self.bars.get((rank, sending), ()))

    def _arrow(self, message: Message) -> str:
        x0, y0, x1, y1 = self._ends(message)
        return f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"

    def _head(self, message: Message) -> str:
        x0, y0, x1, y1 = self._ends(message)
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        dx, dy = (x1 - x0) / length * 7, (y1 - y0) / length * 7
        left, right = (x1 - dx - dy * 0.45, y1 - dy + dx * 0.45), (x1 - dx + dy * 0.45, y1 - dy - dx * 0.45)
        return f"M{x1:.1f} {y1:.1f}L{left[0]:.1f} {left[1]:.1f}L{right[0]:.1f} {right[1]:.1f}z"

    def _inside(self, message: Message) -> None:
        """What goes where, inside a bar that is wide enough."""
        lanes = self.lanes
        if not self._labelled:
            return
        wide = lanes.x(message.sent) - lanes.x(message.start)
        chunks = repr(message.chunks).strip("{}")
        label = f"{chunks} → {message.dest}" if self.colours.of_chunk else f"→ {message.dest}"
        if wide > 7 * len(label):
            middle = (lanes.x(message.start) + lanes.x(message.sent)) / 2
            self._text(middle, lanes.y(message.source) - lanes.bar / 2 + 3.4, label, "inside", anchor="middle")

    @property
    def _labelled(self) -> bool:
        return self.lanes.bar >= 10

    @property
    def _fold_marks(self) -> bool:
        return self.lanes.gap >= 24 and any(message.folds for message in self.shown)

    def _folds(self) -> None:
        lanes = self.lanes
        if self.run.network.gamma and not self.by_round:
            for stay in self.shown.stays:
                if stay.left > stay.received:
                    left, width = lanes.x(stay.received), lanes.x(stay.left) - lanes.x(stay.received)
                    top, tall = lanes.y(stay.rank) - lanes.bar, 2 * lanes.bar
                    _add(self.root, "rect", x=left, y=top, width=max(width, 0.8), height=tall).set("class", "fold")
        if self._fold_marks:
            for message in self.shown:
                if message.folds:
                    y = lanes.y(message.dest) + lanes.bar / 2
                    self._plus(lanes.x(message.end), y, lanes.bar / 2 + 0.6, self.colours.of(message))

    def _plus(self, x: float, y: float, radius: float, colour: str) -> None:
        _add(self.root, "circle", cx=x, cy=y, r=radius, fill=colour, stroke="#fff")
        arm = radius * 0.6
        cross = f"M{x - arm:.1f} {y:.1f}H{x + arm:.1f}M{x:.1f} {y - arm:.1f}V{y + arm:.1f}"
        _add(self.root, "path", d=cross, stroke="#fff", fill="none").set("stroke-width", "1.5")

    def _marks(self) -> None:
        """Where the last rank is done, and before which moment none could have been."""
        run, words, lanes = self.run, self.words, self.lanes
        if self.by_round or not run.seconds:
            return
        done, bound = lanes.x(run.seconds), lanes.x(run.bound)
        label = self._seconds(run.seconds)
        if run.bound:
            self._line(bound, _TOP - 4, bound, lanes.bottom + 4, "mark")
            label += f" = {run.seconds / run.bound:.3g} × {words.bound}".replace(".", words.decimal)
        self._line(done, _TOP - 4, done, lanes.bottom + 4, "mark")
        shown = self._text(done, _TOP - 10, label, "small", anchor="end")
        if run.bound and bound < done - self._after(shown, 70):
            self._text(bound, _TOP - 10, f"{words.bound} {self._seconds(run.bound)}", "small", anchor="middle")

    # --- bits -----------------------------------------------------------------------------------------------------

    def _tooltip(self, message: Message) -> str:
        return self.words.tooltip.format(
            round=message.round,
            source=message.source,
            dest=message.dest,
            chunks=repr(message.chunks),
            nbytes=format_bytes(message.nbytes),
            start=self._seconds(message.start),
            end=self._seconds(message.end),
        )

    def _seconds(self, seconds: float) -> str:
        return self._spaced(format_seconds(seconds)).replace("us", "µs").replace(".", self.words.decimal)

    def _spaced(self, text: str) -> str:
        """``1MiB`` as ``1 MiB``, as typography has it; what has no unit stays as it is."""
        digits = len(text) - len(text.lstrip("0123456789.,"))
        return f"{text[:digits]}\u00a0{text[digits:]}" if 0 < digits < len(text) and text[digits] != " " else text

    def _text(self, x: float, y: float, text: str, style: str = "", anchor: str = "start") -> ET.Element:
        element = _add(self.root, "text", x=x, y=y)
        element.text = text
        if style:
            element.set("class", style)
        if anchor != "start":
            element.set("text-anchor", anchor)
        return element

    def _after(self, element: ET.Element, x: float) -> float:
        """About where a text of the legend ends; fonts differ, so with room to spare."""
        return x + 6.0 * len(element.text or "")

    def _line(self, x0: float, y0: float, x1: float, y1: float, style: str) -> None:
        _add(self.root, "line", x1=x0, y1=y0, x2=x1, y2=y1).set("class", style)


def _bars(timeline: Timeline) -> dict[tuple[int, bool], list[tuple[float, float]]]:
    """When each rank sends (True) and receives (False)."""
    bars: dict[tuple[int, bool], list[tuple[float, float]]] = {}
    for message in timeline:
        bars.setdefault((message.source, True), []).append((message.start, message.sent))
        bars.setdefault((message.dest, False), []).append((message.receiving, message.end))
    return bars


def _add(parent: ET.Element, tag: str, **attributes: float | str) -> ET.Element:
    return ET.SubElement(parent, tag, {key: _plain(value) for key, value in attributes.items()})


def _plain(value: float | str) -> str:
    """Numbers to a hundredth of a pixel."""
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
