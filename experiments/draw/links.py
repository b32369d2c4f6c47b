"""How much of every link is used when: a heat map of links against time, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.draw.canvas import WIDTH, Canvas, check_theme
from experiments.draw.scale import time_axis
from experiments.draw.texts import counted, texts
from simulator import Run

__all__ = ["svg"]

Floats = NDArray[np.float64]

_MOST_LINKS, _BINS = 40, 120
_LEFT, _RIGHT, _TOP, _BOTTOM, _ROW = 250.0, 70.0, 96.0, 30.0, 16.0
_LEVELS = (0.16, 0.34, 0.53, 0.75, 1.0)
"""How opaque each fifth is: much stands out from light and from dark paper, and little does not, in any colour."""
_STYLE = """
.ciranda-diagram .back { fill: currentColor; fill-opacity: .06; }
.ciranda-diagram .use { fill: #d8530f; }
"""


def svg(run: Run, *, language: str, theme: str) -> str:
    """Shares of bandwidth used, the busiest links on top; each with its mean on the right and in a tooltip."""
    check_theme(theme)
    words, use = texts(language), run.utilisation(_BINS)
    used = np.flatnonzero(use.any(axis=1))
    means = use[used].mean(axis=1)
    shown = used[np.argsort(-means, kind="stable")[:_MOST_LINKS]]
    title = f"{words.link_use}: {run.algorithm.label}, {counted(words.ranks, run.size)}, {run.network.name}"
    canvas = Canvas(_TOP + _ROW * max(1, len(shown)) + _BOTTOM, title, words)
    canvas.begin(title, _description(canvas, run, use, shown), theme, _STYLE)
    _heading(canvas, run, len(shown), len(used))
    _axis(canvas, run, len(shown))
    for row, link in enumerate(shown.tolist()):
        _row(canvas, row, _label(run, link), use[link])
    return canvas.document()


def _description(canvas: Canvas, run: Run, use: Floats, shown: NDArray[np.int64]) -> str:
    if not len(shown):
        return canvas.words.idle
    first = int(shown[0])
    return canvas.words.busiest.format(link=_label(run, first), share=f"{100 * float(use[first].mean()):.0f} %")


def _label(run: Run, link: int) -> str:
    topology = run.network.topology
    begin, end = topology.ends[link].tolist()
    return f"{topology.label(begin)} → {topology.label(end)}"


def _heading(canvas: Canvas, run: Run, shown: int, used: int) -> None:
    words = canvas.words
    canvas.text(24, 30, words.link_use, "title")
    facts = [run.algorithm.label, counted(words.ranks, run.size), run.network.name, canvas.seconds(run.seconds)]
    if shown < used:
        facts.append(words.most_used.format(shown=shown, used=used))
    canvas.text(24, 52, " · ".join(facts), "muted")
    x = 24.0
    for level, opacity in enumerate(_LEVELS):
        patch = canvas.add("rect", x=x, y=70, width=16, height=11)
        patch.set("class", "use")
        patch.set("fill-opacity", str(opacity))
        canvas.text(x + 21, 79, f"≤ {round(100 * (level + 1) / len(_LEVELS))} %", "small muted")
        x += 76
    canvas.text(WIDTH - 12, _TOP - 8, words.mean, "small muted", anchor="end")


def _axis(canvas: Canvas, run: Run, rows: int) -> None:
    axis = time_axis(run.seconds, 10, canvas.words.decimal)
    foot = _TOP + _ROW * max(1, rows) + 4
    for position, label in axis.ticks:
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * position / axis.end
        canvas.line(x, _TOP - 4, x, foot, "grid")
        canvas.text(x, foot + 16, label, "small muted", anchor="middle")
    canvas.text(_LEFT - 10, foot + 16, f"{canvas.words.time} ({axis.unit})", "small muted", anchor="end")


def _row(canvas: Canvas, row: int, label: str, shares: Floats) -> None:
    """One link: neighbouring parts of the same level are one rectangle, so that the file stays small."""
    top, width = _TOP + _ROW * row, (WIDTH - _LEFT - _RIGHT) / len(shares)
    mean = f"{100 * float(shares.mean()):.0f} %"
    canvas.text(_LEFT - 8, top + 11.5, _short(label), "small", anchor="end")
    group = canvas.add("g")
    canvas.add("title", group).text = f"{label}: {mean}"
    back = canvas.add("rect", group, x=_LEFT, y=top, width=width * len(shares), height=_ROW - 2)
    back.set("class", "back")
    for first, last, level in _pieces(shares):
        part = canvas.add("rect", group, x=_LEFT + width * first, y=top, width=width * (last - first), height=_ROW - 2)
        part.set("class", "use")
        part.set("fill-opacity", str(_LEVELS[level]))
    canvas.text(WIDTH - 12, top + 11.5, mean, "small", anchor="end")


def _pieces(shares: Floats) -> Sequence[tuple[int, int, int]]:
    """(first, last + 1, level) of the parts of one level; where nothing is carried there are none."""
    levels = [min(len(_LEVELS) - 1, math.ceil(share * len(_LEVELS) - 1e-6) - 1) for share in shares.tolist()]
    pieces: list[tuple[int, int, int]] = []
    first = 0
    for at in range(1, len(levels) + 1):
        if at == len(levels) or levels[at] != levels[first]:
            if levels[first] >= 0:
                pieces.append((first, at, levels[first]))
            first = at
    return pieces


def _short(label: str) -> str:
    return label if len(label) <= 40 else f"{label[:39]}…"
