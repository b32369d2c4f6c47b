"""The plots of measured cells, algorithm by algorithm.

Each trace says in ``meta`` whose it is, so that the page's legend can hide it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from experiments.records import bus_factor
from experiments.report.findings import ours
from experiments.report.palette import Series
from experiments.report.plots import Figure, Plots
from experiments.report.results import MODELS, Cell, Model
from experiments.report.texts import Texts

__all__ = ["BOUND", "Figures"]

BOUND = "bound"
"""Whose trace the lower bound is."""


class Figures(Plots):
    """Draws ``cells`` in the colours of ``looks``, in one language. Sizes are bytes, times seconds, rates bytes/s."""

    def __init__(self, cells: Sequence[Cell], looks: Mapping[str, Series], texts: Texts) -> None:
        super().__init__(texts)
        self._cells, self._looks = cells, looks

    def latency(self, ranks: int) -> Figure:
        """Time against size at one rank count, with 95 % intervals, the lower bound and the native library."""
        chosen = [cell for cell in self._cells if cell.ranks == ranks]
        traces = self._curves(chosen, _size, _seconds, self.numbers.seconds, self.numbers.nbytes)
        return self.framed(
            traces,
            self.size_axis(cell.nbytes for cell in chosen),
            self.log_axis("axis.time", traces, self.numbers.seconds),
        )

    def bandwidth(self, ranks: int) -> Figure:
        """Bus bandwidth against size at one rank count; the bound is what the calibrated network would carry."""
        chosen = [cell for cell in self._cells if cell.ranks == ranks]
        traces = self._curves(chosen, _size, _busbw, self.numbers.rate, self.numbers.nbytes)
        return self.framed(
            traces,
            self.size_axis(cell.nbytes for cell in chosen),
            self.log_axis("axis.busbw", traces, self.numbers.rate),
        )

    def scaling(self, nbytes: int) -> Figure:
        """Time against the number of ranks at one size; the shaded part had more ranks than cores."""
        chosen = [cell for cell in self._cells if cell.nbytes == nbytes]
        traces = self._curves(chosen, _ranks, _seconds, self.numbers.seconds, str)
        up = self.log_axis("axis.time", traces, self.numbers.seconds)
        figure = self.framed(traces, self.ranks_axis(cell.ranks for cell in chosen), up)
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
        across = self.log_axis("axis.measured", points, self.numbers.seconds, values=times)
        up = self.log_axis("axis.predicted", points, self.numbers.seconds, values=times)
        return self.framed([*(_diagonal(ends, factor) for factor in (1.0, 2.0, 0.5)), *points], across, up)

    # --- traces ---

    def _curves(
        self, cells: Sequence[Cell], across: Callable[[Cell], int], up: Callable[[Cell, float], float],
        shown: Callable[[float], str], place: Callable[[int], str],
    ) -> list[Figure]:  # fmt: skip
        """A line for each algorithm and one for the bound; ``up`` turns seconds into what the figure shows."""
        traces = [self._curve(name, group, across, up) for name, group in self._groups(cells)]
        bound = {across(cell): up(cell, cell.bound) for cell in sorted(cells, key=across) if cell.bound}
        label = self.texts("legend.bound")
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
        number, say = self.numbers, self.texts
        name = say("legend.native") if cell.native else escape(cell.algorithm)
        span = f"{number.seconds(cell.low)} … {number.seconds(cell.high)}"
        rows = [
            f"<b>{name}</b>",
            f"{say('hover.ranks', ranks=cell.ranks)} · {number.nbytes(cell.nbytes)}",
            f"{say('hover.measured')} {number.seconds(cell.seconds)} ({span})",
            f"{say('hover.busbw')} {number.rate(cell.busbw)}",
        ]
        for model in MODELS:
            if (predicted := cell.predicted(model)) is not None:
                error = number.percent(cell.error(model))
                rows.append(f"{say(f'hover.{model}')} {number.seconds(predicted)} ({say('hover.error')} {error})")
        return "<br>".join(rows)

    # --- the shaded part ---

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
            "align": "left", "text": str(self.texts("legend.crowded")), "showarrow": False,
            "font": {"color": "var(--muted)", "size": 12},
        }  # fmt: skip
        return {"shapes": [box], "annotations": [label]}


def _diagonal(ends: Sequence[float], factor: float) -> Figure:
    return {
        "type": "scatter", "mode": "lines", "x": list(ends), "y": [end * factor for end in ends], "hoverinfo": "skip",
        "line": {"color": "var(--muted)", "width": 1.5, "dash": "solid" if factor == 1 else "dot"},
    }  # fmt: skip


def _size(cell: Cell) -> int:
    return cell.nbytes


def _ranks(cell: Cell) -> int:
    return cell.ranks


def _seconds(_: Cell, seconds: float) -> float:
    return seconds


def _busbw(cell: Cell, seconds: float) -> float:
    """Bus bandwidth as nccl-tests defines it for allreduce: n/t · 2(p−1)/p."""
    return cell.nbytes / seconds * bus_factor("allreduce", cell.ranks)
