"""What all plots of the page share: frame, axes and lines, as Plotly's JSON.

Colours are CSS variables, which ``templates/page.js`` resolves, so that one figure serves light and dark. Plain
dictionaries need no Plotly to be built; the tests have Plotly check every property.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from experiments.report.texts import Texts

__all__ = ["Figure", "Plots", "reach"]

Figure = dict[str, Any]

_AXIS: Mapping[str, Any] = {
    "gridcolor": "var(--grid)", "linecolor": "var(--muted)", "showline": True, "zeroline": False,
    "automargin": True, "ticks": "outside", "tickcolor": "var(--muted)", "ticklen": 4,
}  # fmt: skip
_MARGIN = 0.15  # decades around what an axis shows


class Plots:
    """Frames and axes in one language. Sizes are bytes, times seconds, rates bytes/s, shares fractions."""

    def __init__(self, texts: Texts) -> None:
        self.texts, self.numbers = texts, texts.numbers

    def framed(self, traces: Sequence[Figure], across: Figure, up: Figure, *, legend: bool = False) -> Figure:
        """The figure of ``traces``; with a ``legend`` of its own above it where the page's does not name them."""
        layout: Figure = {
            "showlegend": legend, "hovermode": "closest", "height": 460,
            "font": {"color": "var(--ink)", "size": 13, "family": "var(--sans)"},
            "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
            "hoverlabel": {"bgcolor": "var(--panel)", "font": {"color": "var(--ink)", "size": 13}, "align": "left"},
            "xaxis": across, "yaxis": up,
        }  # fmt: skip
        if legend:
            layout["legend"] = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemsizing": "constant"}
        return {"data": list(traces), "layout": layout}

    def drawn(
        self, across: Iterable[float], up: Iterable[float], name: str, colour: str, *, mode: str = "lines+markers",
        dash: str = "solid", symbol: str = "circle", text: Sequence[str] | None = None, shape: str = "linear",
    ) -> Figure:  # fmt: skip
        """A line or markers under a name of the plot's own legend; ``text`` is what the pointer shows at each point."""
        trace: Figure = {
            "type": "scatter", "mode": mode, "name": escape(name), "x": list(across), "y": list(up),
            "line": {"color": colour, "width": 2, "dash": dash, "shape": shape},
            "marker": {"color": colour, "size": 8, "symbol": symbol},
        }  # fmt: skip
        return trace | ({"text": list(text), "hoverinfo": "text"} if text is not None else {"hoverinfo": "name"})

    def log_axis(
        self, title: str, traces: Iterable[Figure], shown: Callable[[float], str], values: Iterable[float] | None = None
    ) -> Figure:
        """An axis around what ``traces`` show: a tick at each decade, and at 2 and 5 where there are few decades."""
        heights = list(values) if values else [height for trace in traces for height in reach(trace)]
        low, high = math.log10(min(heights)), math.log10(max(heights))
        digits = (1,) if high - low > 2 else (1, 2, 5)
        decades = range(math.floor(low) - 1, math.ceil(high) + 2)
        ticks = [digit * 10.0**power for power in decades for digit in digits]
        ticks = [tick for tick in ticks if low - _MARGIN <= math.log10(tick) <= high + _MARGIN]
        ends = {
            "range": [low - _MARGIN, high + _MARGIN],
            "tickvals": ticks,
            "ticktext": [shown(tick) for tick in ticks],
        }
        return self._titled(title, "log") | ends

    def size_axis(self, sizes: Iterable[int]) -> Figure:
        """Message sizes, each with its tick."""
        ordered = sorted(set(sizes))
        return self._whole("axis.size", ordered, [self.numbers.nbytes(size) for size in ordered], _MARGIN)

    def ranks_axis(self, counts: Iterable[int]) -> Figure:
        """Rank counts, each with its tick."""
        return self.counted_axis("axis.ranks", counts, str)

    def counted_axis(self, title: str, counts: Iterable[int], shown: Callable[[int], str]) -> Figure:
        """Whole numbers on a logarithmic axis, each with its tick."""
        ordered = sorted(set(counts))
        return self._whole(title, ordered, [shown(count) for count in ordered], 0.06)

    def even_axis(self, title: str, ends: tuple[float, float], shown: Callable[[float], str], ticks: int = 5) -> Figure:
        """A linear axis between ``ends``, with ticks at round steps; without a title where ``title`` is empty."""
        low, high = ends
        step = _round_step((high - low) / ticks)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        values = [number * step for number in range(first, last + 1)]
        marks = {"tickvals": values, "ticktext": [shown(value) for value in values]}
        return self._titled(title, "linear") | {"range": [low, high]} | marks

    def named_axis(self, names: Sequence[str]) -> Figure:
        """A row for each name, from 0 at the bottom on; the names are escaped, as Plotly reads HTML in its texts."""
        marks = {"tickvals": list(range(len(names))), "ticktext": [escape(name) for name in names]}
        return {**_AXIS, "type": "linear", "range": [-0.6, len(names) - 0.4], "showgrid": False, **marks}

    def _whole(self, title: str, values: Sequence[int], labels: Sequence[str], margin: float) -> Figure:
        ends = [math.log10(values[0]) - margin, math.log10(values[-1]) + margin]
        return self._titled(title, "log") | {"range": ends, "tickvals": list(values), "ticktext": list(labels)}

    def _titled(self, key: str, kind: str) -> Figure:
        title = {"title": {"text": str(self.texts(key)), "standoff": 10}} if key else {}
        return {**_AXIS, "type": kind, **title}


def reach(trace: Figure) -> list[float]:
    """The heights of a trace with the ends of its whiskers."""
    heights: list[float] = trace["y"]
    whiskers = trace.get("error_y")
    if not whiskers:
        return heights
    lows = [height - down for height, down in zip(heights, whiskers["arrayminus"], strict=True)]
    highs = [height + up for height, up in zip(heights, whiskers["array"], strict=True)]
    return [height for height in (*lows, *highs) if height > 0]


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, ... times a power of ten that is no less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least * (1 - 1e-9))
