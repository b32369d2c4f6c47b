"""The page's plots, as Plotly's JSON (data and layout).

Colours are CSS variables, which ``templates/page.js`` resolves, so that one figure serves light and dark. Each trace
says in ``meta`` whose it is, so that the legend can hide it. Plain dictionaries need no Plotly to be built; the tests
have Plotly check every property.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from experiments.records import bus_factor
from experiments.report.findings import ours
from experiments.report.palette import Series
from experiments.report.results import Cell, Model
from experiments.report.texts import Texts

__all__ = ["BOUND", "Figure", "Figures"]

Figure = dict[str, Any]
BOUND = "bound"
"""Whose trace the lower bound is."""

_AXIS: Mapping[str, Any] = {
    "type": "log", "gridcolor": "var(--grid)", "linecolor": "var(--muted)", "showline": True, "zeroline": False,
    "automargin": True, "ticks": "outside", "tickcolor": "var(--muted)", "ticklen": 4,
}  # fmt: skip
_MODELS: tuple[Model, ...] = ("theory", "simulated")


class Figures:
    """Draws ``cells`` in the colours of ``looks``, in one language. Sizes are bytes, times seconds, rates bytes/s."""

    def __init__(self, cells: Sequence[Cell], looks: Mapping[str, Series], texts: Texts) -> None:
        self._cells, self._looks, self._texts, self._numbers = cells, looks, texts, texts.numbers

    def latency(self, ranks: int) -> Figure:
        """Time against size at one rank count, with 95 % intervals, the lower bound and the native library."""
        chosen = [cell for cell in self._cells if cell.ranks == ranks]
        traces = self._curves(chosen, _size, _seconds, self._numbers.seconds, self._numbers.nbytes)
        return self._figure(traces, self._size_axis(chosen), self._log_axis("axis.time", traces, self._numbers.seconds))

    def bandwidth(self, ranks: int) -> Figure:
        """Bus bandwidth against size at one rank count; the bound is what the calibrated network would carry."""
        chosen = [cell for cell in self._cells if cell.ranks == ranks]
        traces = self._curves(chosen, _size, _busbw, self._numbers.rate, self._numbers.nbytes)
        return self._figure(traces, self._size_axis(chosen), self._log_axis("axis.busbw", traces, self._numbers.rate))

    def scaling(self, nbytes: int) -> Figure:
        """Time against the number of ranks at one size; the shaded part had more ranks than cores."""
        chosen = [cell for cell in self._cells if cell.nbytes == nbytes]
        traces = self._curves(chosen, _ranks, _seconds, self._numbers.seconds, str)
        up = self._log_axis("axis.time", traces, self._numbers.seconds)
        figure = self._figure(traces, self._ranks_axis(chosen), up)
        figure["layout"] |= self._shade(chosen)
        return figure

    def accuracy(self, model: Model) -> Figure:
        """Predicted against measured time, one point for each algorithm, size and rank count.

        Open markers had more ranks than cores; the dotted lines are predictions of twice and half the measured time.
        """
        chosen = [cell for cell in ours(self._cells) if cell.predicted(model)]
        points = [self._points(name, group, model) for name, group in self._groups(chosen)]
        times = [time for trace in points for axis in "xy" for time in trace[axis]] or [1e-6, 1e-3]
        ends = [min(times) / 4, max(times) * 4]
        across = self._log_axis("axis.measured", points, self._numbers.seconds, values=times)
        up = self._log_axis("axis.predicted", points, self._numbers.seconds, values=times)
        return self._figure([*(_diagonal(ends, factor) for factor in (1.0, 2.0, 0.5)), *points], across, up)

    # --- traces ---

    def _curves(
        self, cells: Sequence[Cell], across: Callable[[Cell], int], up: Callable[[Cell, float], float],
        shown: Callable[[float], str], place: Callable[[int], str],
    ) -> list[Figure]:  # fmt: skip
        """A line for each algorithm and one for the bound; ``up`` turns seconds into what the figure shows."""
        traces = [self._curve(name, group, across, up) for name, group in self._groups(cells)]
        bound = {across(cell): up(cell, cell.bound) for cell in sorted(cells, key=across) if cell.bound}
        label = self._texts("legend.bound")
        traces.append(
            {
                "type": "scatter", "mode": "lines", "meta": {"algorithm": BOUND},
                "x": list(bound), "y": list(bound.values()), "hoverinfo": "text",
                "line": {"color": "var(--muted)", "width": 2, "dash": "dash"},
                "text": [f"<b>{label}</b> · {place(at)}<br>{shown(value)}" for at, value in bound.items()],
            }
        )  # fmt: skip
        return traces

    def _curve(
        self, name: str, group: Sequence[Cell], across: Callable[[Cell], int], up: Callable[[Cell, float], float]
    ) -> Figure:
        line = sorted(group, key=across)
        look = self._looks[name]
        heights = [up(cell, cell.seconds) for cell in line]
        ends = [sorted((up(cell, cell.low), up(cell, cell.high))) for cell in line]
        native = line[0].native
        return {
            "type": "scatter", "mode": "lines+markers", "meta": {"algorithm": name},
            "x": [across(cell) for cell in line], "y": heights, "hoverinfo": "text",
            "text": [self._hover(cell) for cell in line],
            "line": {"color": look.colour, "width": 3 if native else 1.75},
            "marker": {"color": look.colour, "symbol": look.symbol, "size": 10 if native else 8},
            "error_y": {
                "type": "data", "symmetric": False, "color": look.colour, "thickness": 1, "width": 3,
                "array": [high - height for height, (_, high) in zip(heights, ends, strict=True)],
                "arrayminus": [height - low for height, (low, _) in zip(heights, ends, strict=True)],
            },
        }  # fmt: skip

    def _points(self, name: str, group: Sequence[Cell], model: Model) -> Figure:
        look = self._looks[name]
        return {
            "type": "scatter", "mode": "markers", "meta": {"algorithm": name},
            "x": [cell.seconds for cell in group], "y": [cell.predicted(model) for cell in group],
            "text": [self._hover(cell) for cell in group], "hoverinfo": "text",
            "marker": {
                "color": look.colour, "size": 9,
                "symbol": [look.symbol + ("-open" if cell.oversubscribed else "") for cell in group],
            },
        }  # fmt: skip

    def _groups(self, cells: Iterable[Cell]) -> list[tuple[str, list[Cell]]]:
        groups: dict[str, list[Cell]] = {name: [] for name in self._looks}
        for cell in cells:
            groups[cell.algorithm].append(cell)
        return [(name, group) for name, group in groups.items() if group]

    def _hover(self, cell: Cell) -> str:
        """The facts of one measurement; the name is escaped, as Plotly reads HTML in its texts."""
        number, say = self._numbers, self._texts
        name = say("legend.native") if cell.native else escape(cell.algorithm)
        span = f"{number.seconds(cell.low)} … {number.seconds(cell.high)}"
        rows = [
            f"<b>{name}</b>",
            f"{say('hover.ranks', ranks=cell.ranks)} · {number.nbytes(cell.nbytes)}",
            f"{say('hover.measured')} {number.seconds(cell.seconds)} ({span})",
            f"{say('hover.busbw')} {number.rate(cell.busbw)}",
        ]
        for model in _MODELS:
            if (predicted := cell.predicted(model)) is not None:
                error = number.percent(cell.error(model))
                rows.append(f"{say(f'hover.{model}')} {number.seconds(predicted)} ({say('hover.error')} {error})")
        return "<br>".join(rows)

    # --- axes ---

    def _figure(self, traces: Sequence[Figure], across: Figure, up: Figure) -> Figure:
        layout = {
            "showlegend": False, "hovermode": "closest", "height": 460,
            "font": {"color": "var(--ink)", "size": 13, "family": "var(--sans)"},
            "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
            "hoverlabel": {"bgcolor": "var(--panel)", "font": {"color": "var(--ink)", "size": 13}, "align": "left"},
            "xaxis": across, "yaxis": up,
        }  # fmt: skip
        return {"data": list(traces), "layout": layout}

    def _log_axis(
        self, title: str, traces: Iterable[Figure], shown: Callable[[float], str], values: Iterable[float] | None = None
    ) -> Figure:
        """An axis around what ``traces`` show: a tick at each decade, and at 2 and 5 where there are few decades."""
        heights = list(values) if values else [height for trace in traces for height in _reach(trace)]
        low, high = math.log10(min(heights)), math.log10(max(heights))
        digits = (1,) if high - low > 2 else (1, 2, 5)
        decades = range(math.floor(low) - 1, math.ceil(high) + 2)
        ticks = [digit * 10.0**power for power in decades for digit in digits]
        ticks = [tick for tick in ticks if low - 0.15 <= math.log10(tick) <= high + 0.15]
        return self._titled(title) | {
            "range": [low - 0.15, high + 0.15], "tickvals": ticks, "ticktext": [shown(tick) for tick in ticks]
        }  # fmt: skip

    def _size_axis(self, cells: Iterable[Cell]) -> Figure:
        sizes = sorted({cell.nbytes for cell in cells})
        return self._titled("axis.size") | _whole_ticks(sizes, [self._numbers.nbytes(size) for size in sizes], 0.15)

    def _ranks_axis(self, cells: Iterable[Cell]) -> Figure:
        counts = sorted({cell.ranks for cell in cells})
        return self._titled("axis.ranks") | _whole_ticks(counts, [str(count) for count in counts], 0.06)

    def _titled(self, key: str) -> Figure:
        return {**_AXIS, "title": {"text": str(self._texts(key)), "standoff": 10}}

    def _shade(self, cells: Sequence[Cell]) -> Figure:
        """The part of a ranks axis that had more ranks than cores, grey and labelled."""
        crowded = min((cell.ranks for cell in cells if cell.oversubscribed), default=None)
        if crowded is None:
            return {}
        fitting = max((cell.ranks for cell in cells if cell.ranks < crowded), default=crowded / 4)
        start = math.sqrt(fitting * crowded)
        box = {
            "type": "rect", "xref": "x", "yref": "paper", "x0": start, "x1": 16 * max(cell.ranks for cell in cells),
            "y0": 0, "y1": 1, "fillcolor": "var(--shade)", "line": {"width": 0}, "layer": "below",
        }  # fmt: skip
        label = {
            "xref": "x", "yref": "paper", "x": math.log10(start), "y": 1, "xanchor": "left", "yanchor": "top",
            "align": "left", "text": str(self._texts("legend.crowded")), "showarrow": False,
            "font": {"color": "var(--muted)", "size": 12},
        }  # fmt: skip
        return {"shapes": [box], "annotations": [label]}


def _whole_ticks(values: Sequence[int], labels: Sequence[str], margin: float) -> Figure:
    ends = [math.log10(values[0]) - margin, math.log10(values[-1]) + margin]
    return {"range": ends, "tickvals": list(values), "ticktext": list(labels)}


def _diagonal(ends: Sequence[float], factor: float) -> Figure:
    return {
        "type": "scatter", "mode": "lines", "x": list(ends), "y": [end * factor for end in ends], "hoverinfo": "skip",
        "line": {"color": "var(--muted)", "width": 1.5, "dash": "solid" if factor == 1 else "dot"},
    }  # fmt: skip


def _reach(trace: Figure) -> list[float]:
    """The heights of a trace with the ends of its whiskers."""
    heights: list[float] = trace["y"]
    whiskers = trace.get("error_y")
    if not whiskers:
        return heights
    lows = [height - down for height, down in zip(heights, whiskers["arrayminus"], strict=True)]
    highs = [height + up for height, up in zip(heights, whiskers["array"], strict=True)]
    return [height for height in (*lows, *highs) if height > 0]


def _size(cell: Cell) -> int:
    return cell.nbytes


def _ranks(cell: Cell) -> int:
    return cell.ranks


def _seconds(_: Cell, seconds: float) -> float:
    return seconds


def _busbw(cell: Cell, seconds: float) -> float:
    """Bus bandwidth as nccl-tests defines it for allreduce: n/t · 2(p−1)/p."""
    return cell.nbytes / seconds * bus_factor("allreduce", cell.ranks)
