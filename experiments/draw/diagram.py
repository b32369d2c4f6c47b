"""The space-time diagram as SVG: ranks are horizontal lines, time runs to the right, a message is an arrow.

The colours of messages are readable on light and on dark paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from xml.etree import ElementTree as ET

from experiments.draw import path
from experiments.draw.canvas import WIDTH, Canvas, check_theme, spaced
from experiments.draw.colours import COPY, REDUCE, Colouring, colouring
from experiments.draw.lanes import LEFT, RIGHT, TOP, Lanes
from experiments.draw.scale import Axis, by_round, rounds_axis, time_axis
from experiments.draw.texts import Texts, counted, texts
from experiments.units import format_bytes, format_rate
from simulator import Message, Run, Timeline
from simulator.explanation import Explanation, explain
from simulator.exports.slices import slices
from simulator.sentences import kinds_in_words

__all__ = ["svg"]

_BOTTOM = 30.0
_MOST_TOOLTIPS = 1000  # beyond this, messages of one colour share one path and the file stays small


def svg(run: Run, *, rounds: bool, language: str, theme: str, critical_path: bool = False) -> str:
    """The diagram of ``run`` as an SVG document; see ``experiments.draw.svg``."""
    check_theme(theme)
    picture = _Picture(run, texts(language), rounds=rounds, critical_path=critical_path)
    picture.paint(theme)
    return picture.canvas.document()


class _Picture:
    """One diagram while it is painted, from the back to the front."""

    def __init__(self, run: Run, words: Texts, *, rounds: bool, critical_path: bool) -> None:
        self.run, self.words, self.by_round = run, words, rounds
        self.timed = run.timeline()
        self.shown: Timeline = by_round(self.timed) if rounds else self.timed
        self.bars = _bars(self.shown) if len(self.shown) <= _MOST_TOOLTIPS else {}
        self.axis: Axis = rounds_axis(run.rounds, 24) if rounds else time_axis(run.seconds, 10, words.decimal)
        gap = max(12, min(64, 560 // run.size))  # whole pixels keep thin bars crisp
        self.lanes = Lanes(run.size, gap, min(11, gap // 3 if gap > 15 else 3), self.axis.end)
        self.colours: Colouring = colouring(self.timed, run.algorithm.chunks(run.size))
        height = self.lanes.bottom + _BOTTOM
        self.work = [] if rounds else [each for each in slices(run, self.timed) if each.lane == "processor"]
        self.title = f"{run.algorithm.label}, {counted(words.ranks, run.size)}"
        self.canvas = Canvas(height, self.title, words)
        self.explained = explain(run) if critical_path and run.seconds else None

    def paint(self, theme: str) -> None:
        """All layers."""
        self.canvas.begin(self.title, self._description(), theme, path.STYLE if self.explained else "")
        self._heading()
        self._grid()
        if not self.shown:
            middle = self.lanes.x(self.axis.end / 2)
            self.canvas.text(middle, self.lanes.y(0) - 8, self.words.idle, "muted", anchor="middle")
            return
        self._legend()
        if self.explained:
            path.under(self.canvas, self.lanes, self.explained, self.shown, rounds=self.by_round)
        self._messages()
        self._work()
        if self.explained:
            path.over(self.canvas, self.lanes, self.explained, self.shown, rounds=self.by_round)
        self._fold_marks()
        self._marks()

    # --- words ----------------------------------------------------------------------------------------------------

    def _description(self) -> str:
        run, words = self.run, self.words
        said = words.describe.format(
            algorithm=run.algorithm.label,
            collective=run.algorithm.collective,
            ranks=counted(words.ranks, run.size),
            messages=counted(words.messages, run.messages),
            rounds=counted(words.rounds, run.rounds),
            seconds=self.canvas.seconds(run.seconds),
        )
        return f"{said} {' '.join(self.explained.words(words.language))}" if self.explained else said

    def _heading(self) -> None:
        run, words, network = self.run, self.words, self.run.network
        heading = self.canvas.text(LEFT, 30, run.algorithm.label, "title")
        collective = ET.SubElement(heading, "tspan", {"class": "muted", "font-weight": "400", "dx": "10"})
        collective.text = run.algorithm.collective.replace("_", "-")
        facts = [
            counted(words.ranks, run.size),
            counted(words.messages, run.messages),
            counted(words.rounds, run.rounds),
        ]
        if not self.by_round:
            rate = format_rate(1 / network.beta, bits=True) if network.beta else "∞"
            facts.insert(1, spaced(format_bytes(run.nbytes)))
            facts += [f"{self.canvas.seconds(network.alpha)} {words.per_message}", spaced(rate)]
        self.canvas.text(LEFT, 52, " · ".join(facts), "muted")
        if self.explained:
            self._path_legend(self.explained)

    def _path_legend(self, explained: Explanation) -> None:
        for style, width in (("path band", "6"), ("path core", "1.6")):
            mark = self.canvas.add("path", d=f"M{LEFT + 4:g} 63h18")
            mark.set("class", style)
            mark.set("stroke-width", width)
        label = f"{self.words.path}: {kinds_in_words(explained, self.words.language)}"
        self.canvas.text(LEFT + 32, 66.5, label, "small")

    def _legend(self) -> None:
        words, x, y = self.words, LEFT, 80.0
        for width, colour, label in self._colour_key():
            self.canvas.add("rect", x=x, y=y - 9, width=width, height=11, fill=colour)
            x += width
            if label:
                x = self._after(self.canvas.text(x + 5, y, label, "small"), x + 5) + 12
        x += 10
        sends = f"{words.sends} ({words.labels})" if self.colours.of_chunk and self._labelled else words.sends
        for label in (sends, words.receives):
            x = self._after(self.canvas.text(x, y, label, "small muted"), x) + 18
        if self._marked:
            self._plus(x + 5, y - 4, 5.5, REDUCE if not self.colours.of_chunk else self.colours.of_chunk[0])
            x = self._after(self.canvas.text(x + 16, y, words.combines, "small muted"), x + 16) + 18
        if self.work:
            self.canvas.add("rect", x=x, y=y - 9, width=11, height=11).set("class", "fold")
            self.canvas.text(x + 16, y, words.folding, "small muted")

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
            self.canvas.line(lanes.x(position), TOP - 4, lanes.x(position), foot, "grid")
        for position, label in self.axis.ticks:
            self.canvas.text(lanes.x(position), foot + 16, label, "small muted", anchor="middle")
        title = self.words.round if self.by_round else f"{self.words.time} ({self.axis.unit})"
        self.canvas.text(LEFT - 10, foot + 16, title, "small muted", anchor="end")
        every = 1 if lanes.gap >= 13 else 2
        for rank in range(lanes.size):
            self.canvas.line(LEFT, lanes.y(rank), WIDTH - RIGHT, lanes.y(rank), "lane")
            if rank % every == 0:
                label = f"{self.words.rank} {rank}" if lanes.size <= 32 else str(rank)
                self.canvas.text(LEFT - 10, lanes.y(rank) + 4, label, "small" if lanes.gap < 18 else "", anchor="end")

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
                group = self.canvas.add("g", fill=self.colours.of(messages[0]))
                if few:
                    self.canvas.add("title", group).text = self._tooltip(self.timed[indices[0]])
                paint(group, messages)

    def _paint_arrows(self, group: ET.Element, messages: list[Message]) -> None:
        dense = self.lanes.gap < 20
        arrows = self.canvas.add("path", group, d="".join(map(self._arrow, messages)), fill="none")
        arrows.set("stroke", self.colours.of(messages[0]))
        arrows.set("stroke-width", "0.7" if dense else "1.4")
        arrows.set("stroke-opacity", "0.5" if len(self.shown) > _MOST_TOOLTIPS else "0.9")
        if not dense:
            self.canvas.add("path", group, d="".join(map(self._head, messages)))

    def _paint_bars(self, group: ET.Element, messages: list[Message]) -> None:
        """Above the line of the sender and below that of the receiver; all of ``messages`` fold, or none does."""
        y, bar = self.lanes.y, self.lanes.bar
        out = (self._bar(message.start, message.sent, y(message.source) - bar) for message in messages)
        into = (self._bar(message.receiving, message.arrived, y(message.dest)) for message in messages)
        self.canvas.add("path", group, d="".join(out))
        received = self.canvas.add("path", group, d="".join(into))
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
        x0, x1 = lanes.x(message.start), lanes.x(message.arrived)
        y0, y1 = lanes.y(message.source), lanes.y(message.dest)
        down = y1 > y0
        leave = lanes.bar if not down or self._busy(message.source, message.start, sending=False) else 0.5
        meet = lanes.bar if not down or self._busy(message.dest, message.arrived, sending=True) else 0.5
        slope = (x1 - x0) / abs(y1 - y0)
        turn = 1 if down else -1
        return x0 + slope * leave, y0 + turn * leave, x1 - slope * meet, y1 - turn * meet

    def _busy(self, rank: int, moment: float, *, sending: bool) -> bool:
        """Whether the bar of one of the rank's messages covers this moment, or comes near it."""
        near = self.axis.end * 16 / WIDTH
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
            self.canvas.text(middle, lanes.y(message.source) - lanes.bar / 2 + 3.4, label, "inside", anchor="middle")

    @property
    def _labelled(self) -> bool:
        return self.lanes.bar >= 10

    @property
    def _marked(self) -> bool:
        return self.lanes.gap >= 24 and any(message.folds for message in self.shown)

    def _work(self) -> None:
        """What the processors do: folds, compute phases, and the overheads of messages."""
        lanes, sending = self.lanes, self.run.network.model.message
        # Where processors work while messages are under way, the strip is thin, so that the bars can still be read.
        half = lanes.bar / 3 if sending.overhead or sending.overhead_per_byte or sending.eager >= 0 else lanes.bar
        for each in self.work:
            left, width = lanes.x(each.begin), lanes.x(each.end) - lanes.x(each.begin)
            top, wide = lanes.y(each.rank) - half, max(width, 0.8)
            self.canvas.add("rect", x=left, y=top, width=wide, height=2 * half).set("class", "fold")

    def _fold_marks(self) -> None:
        lanes = self.lanes
        for message in self.shown if self._marked else ():
            if message.folds:
                y = lanes.y(message.dest) + lanes.bar / 2
                self._plus(lanes.x(message.arrived), y, lanes.bar / 2 + 0.6, self.colours.of(message))

    def _plus(self, x: float, y: float, radius: float, colour: str) -> None:
        self.canvas.add("circle", cx=x, cy=y, r=radius, fill=colour, stroke="#fff")
        arm = radius * 0.6
        cross = f"M{x - arm:.1f} {y:.1f}H{x + arm:.1f}M{x:.1f} {y - arm:.1f}V{y + arm:.1f}"
        self.canvas.add("path", d=cross, stroke="#fff", fill="none").set("stroke-width", "1.5")

    def _marks(self) -> None:
        """Where the last rank is done, and before which moment none could have been."""
        run, words, lanes = self.run, self.words, self.lanes
        if self.by_round or not run.seconds:
            return
        done, bound = lanes.x(run.seconds), lanes.x(run.bound)
        label = self.canvas.seconds(run.seconds)
        if run.bound:
            self.canvas.line(bound, TOP - 4, bound, lanes.bottom + 4, "mark")
            label += f" = {run.seconds / run.bound:.3g} × {words.bound}".replace(".", words.decimal)
        self.canvas.line(done, TOP - 4, done, lanes.bottom + 4, "mark")
        shown = self.canvas.text(done, TOP - 10, label, "small", anchor="end")
        if run.bound and bound < done - self._after(shown, 70):
            self.canvas.text(
                bound, TOP - 10, f"{words.bound} {self.canvas.seconds(run.bound)}", "small", anchor="middle"
            )

    # --- bits -----------------------------------------------------------------------------------------------------

    def _tooltip(self, message: Message) -> str:
        return self.words.tooltip.format(
            round=message.round,
            source=message.source,
            dest=message.dest,
            chunks=repr(message.chunks),
            nbytes=format_bytes(message.nbytes),
            start=self.canvas.seconds(message.start),
            end=self.canvas.seconds(message.end),
        )

    def _after(self, element: ET.Element, x: float) -> float:
        """About where a text of the legend ends; fonts differ, so with room to spare."""
        return x + 6.0 * len(element.text or "")


def _bars(timeline: Timeline) -> dict[tuple[int, bool], list[tuple[float, float]]]:
    """When each rank sends (True) and receives (False)."""
    bars: dict[tuple[int, bool], list[tuple[float, float]]] = {}
    for message in timeline:
        bars.setdefault((message.source, True), []).append((message.start, message.sent))
        bars.setdefault((message.dest, False), []).append((message.receiving, message.arrived))
    return bars
