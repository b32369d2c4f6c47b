"""The space-time diagram in a terminal: two lines a rank, what it sends above what it receives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.style import Style
from rich.text import Text

from experiments.draw.colours import COPY, REDUCE, Colouring, colouring
from experiments.draw.scale import Axis, by_round, rounds_axis, time_axis
from experiments.draw.texts import Texts, counted, texts
from experiments.units import format_bytes, format_seconds
from simulator import Message, Run, Timeline

__all__ = ["lines"]

_FOLD, _CHUNK = "⊕", "c"


@dataclass(frozen=True, slots=True)
class _Frame:
    """``width`` columns to the right of ``margin`` stand for 0 to ``end``."""

    margin: int
    width: int
    end: float

    def column(self, moment: float) -> int:
        # Down for a beginning and for an end alike: so a bar never reaches into the one that follows it.
        return int(moment / self.end * self.width + 1e-9)

    def bar(self, message: Message, *, sending: bool) -> _Bar:
        """The columns in which a message takes the sender's or the receiver's port, at least one."""
        begin, end = (message.start, message.sent) if sending else (message.receiving, message.end)
        first = min(self.column(begin), self.width - 1)
        return _Bar(first, max(first + 1, self.column(end)), message)


@dataclass(frozen=True, slots=True)
class _Bar:
    """Columns ``first`` to ``last``, half open."""

    first: int
    last: int
    message: Message


def lines(run: Run, width: int, *, rounds: bool = False, language: str = "en") -> list[Text]:
    """The diagram of ``run`` in ``width`` columns, heading, axis and legend included.

    ``rounds``: one step a round instead of time. It says the same without colours. UsageFault for another language.
    """
    words = texts(language)
    timeline: Timeline = by_round(run.timeline()) if rounds else run.timeline()
    axis = rounds_axis(run.rounds, width // 6) if rounds else time_axis(run.seconds, max(2, width // 12), words.decimal)
    margin = len(f"{words.rank} {run.size - 1}") + 2
    frame = _Frame(margin, max(20, width - margin - 1), axis.end)
    colours = colouring(timeline, run.algorithm.chunks(run.size))
    picture = [_heading(run, words, rounds=rounds), Text()]
    for rank in range(run.size):
        label = f"{words.rank} {rank}".rjust(margin - 1) + " "
        out = [message for message in timeline if message.source == rank]
        into = [message for message in timeline if message.dest == rank]
        picture.append(Text(label, "bold", no_wrap=True) + _row(frame, colours, out, sending=True))
        picture.append(Text(" " * margin, no_wrap=True) + _row(frame, colours, into, sending=False))
    if not run.messages:
        return [*picture, Text(words.idle)]
    return [*picture, _axis(frame, axis, words, rounds=rounds), Text(), _legend(colours, words)]


def _heading(run: Run, words: Texts, *, rounds: bool) -> Text:
    facts = [counted(words.ranks, run.size), counted(words.messages, run.messages), counted(words.rounds, run.rounds)]
    if not rounds:
        facts.insert(1, format_bytes(run.nbytes))
        facts.append(format_seconds(run.seconds))
        if run.bound:
            facts.append(f"{run.seconds / run.bound:.3g} × {words.bound}")
    return Text.assemble((run.algorithm.label, "bold"), f"  {run.algorithm.collective}: ", ", ".join(facts))


def _row(frame: _Frame, colours: Colouring, messages: Iterable[Message], *, sending: bool) -> Text:
    """One port of one rank: a bar for each message, with what goes where if there is room to say it."""
    bars = sorted((frame.bar(message, sending=sending) for message in messages), key=lambda bar: bar.first)
    befores = [0, *(bar.last for bar in bars)]
    afters = [*(bar.first for bar in bars[1:]), frame.width]
    cells, styled = ["·"] * frame.width, list[tuple[int, int, Style]]()
    for bar, before, after in zip(bars, befores, afters, strict=False):
        # A bar shorter than its label grows to where nothing is: a send to the right, a receive to the left.
        room = after - bar.first if sending else bar.last - before
        text = _text(bar, max(1, room), sending=sending, named=bool(colours.of_chunk))
        first = bar.first if sending else bar.last - len(text)
        cells[first : first + len(text)] = text
        style = Style(color=colours.of(bar.message), dim=not (sending or bar.message.folds))
        styled.append((first, first + len(text), style))
    row = Text("".join(cells), "dim", no_wrap=True)
    for first, last, style in styled:
        row.stylize(Style(dim=False) + style, first, last)
    return row


def _text(bar: _Bar, room: int, *, sending: bool, named: bool) -> str:
    """The whole label if the bar is long enough for it, the peer alone if there is room, and a line."""
    message, length = bar.message, bar.last - bar.first
    mark = _FOLD if message.folds and not sending else ""
    peer = f"→{message.dest}" if sending else f"←{message.source}"
    carried = f"{peer} {_CHUNK}{repr(message.chunks).strip('{}')} " if named else f"{peer} "
    fitting = [label for label in (carried, f"{peer} ") if len(label) + len(mark) <= length]
    label = fitting[0] if fitting else peer if len(peer) + len(mark) <= room else ""
    line = "━" if sending else "─"
    return (label + line * (length - len(label) - len(mark)) + mark)[-max(room, length) :]


def _axis(frame: _Frame, axis: Axis, words: Texts, *, rounds: bool) -> Text:
    row = [" "] * (frame.width + 8)
    for position, label in axis.ticks:
        start = max(0, frame.column(position) - (len(label) // 2 if rounds else 0))
        if all(cell == " " for cell in row[max(0, start - 1) : start + len(label)]):
            row[start : start + len(label)] = label
    title = words.round if rounds else axis.unit
    return Text(title.rjust(frame.margin - 1) + " " + "".join(row).rstrip(), "dim", no_wrap=True)


def _legend(colours: Colouring, words: Texts) -> Text:
    legend = Text(f"→1 {words.sends_to} 1   ←1 {words.receives_from} 1   {_FOLD} {words.combines}   ")
    if colours.of_chunk:
        legend.append(f"{words.chunk}: ")
        for index, colour in enumerate(colours.of_chunk[:16]):
            legend.append(f"■ {_CHUNK}{index} ", Style(color=colour))
        return legend.append("…" if len(colours.of_chunk) > 16 else "")
    return legend.append(f"■ {words.reduce}   ", Style(color=REDUCE)).append(f"■ {words.copy}", Style(color=COPY))
