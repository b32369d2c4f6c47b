"""The plot of what the time of each algorithm is made of: theory, and what each term of the simulator adds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from experiments.report.explanations import REST, terms_of
from experiments.report.findings import ours
from experiments.report.plots import Figure, Plots
from experiments.report.results import Cell

__all__ = ["TermFigures"]

_COLOURS = {
    "theory": "var(--muted)",
    "schedule": "var(--series-6)",
    "start": "var(--series-5)",
    "curve": "var(--series-4)",
    "duplex": "var(--series-1)",
    "processor": "var(--series-3)",
    "contention": "var(--series-0)",
    "reduction": "var(--series-2)",
    REST: "var(--bad)",
}
_PATTERNS = ("", "/", "\\", "x", ".", "-", "|", "+")


class TermFigures(Plots):
    """Stacked bars of explained cells."""

    def stacked(self, cells: Sequence[Cell]) -> Figure | None:
        """One bar for each algorithm, as parts of its measured time; what takes time away hangs below zero."""
        group = [cell for cell in ours(cells) if cell.explained and cell.theory]
        if not group:
            return None
        group.sort(key=lambda cell: cell.factor or 0.0)
        names = [cell.algorithm for cell in group]
        bars = [
            self._bar(index, term, names, [self._part(cell, term) for cell in group])
            for index, term in enumerate(["theory", *terms_of(group)])
        ]
        lengths = [[bar["x"][at] for bar in bars] for at in range(len(group))]
        low = min(sum(min(0.0, part) for part in parts) for parts in lengths)
        high = max(sum(max(0.0, part) for part in parts) for parts in lengths)
        across = self.even_axis("", (min(0.0, 1.05 * low), max(1.0, high) * 1.05), self.numbers.percent)
        figure = self.framed(bars, across, self.named_axis(names), legend=True)
        figure["layout"] |= {"barmode": "relative", "bargap": 0.25}
        return figure

    def name(self, term: str) -> str:
        """The term in a few words."""
        return str(self.texts.get(f"terms.{term}") or term)

    @staticmethod
    def _part(cell: Cell, term: str) -> float:
        seconds = (cell.theory or 0.0) if term == "theory" else cell.explained.get(term, 0.0)
        return seconds / cell.seconds

    def _bar(self, index: int, term: str, names: Sequence[str], parts: Sequence[float]) -> Figure:
        colour = _COLOURS.get(term, "var(--series-7)")
        words = self.name(term)
        pattern = {
            "shape": _PATTERNS[index % len(_PATTERNS)], "fillmode": "overlay", "fgcolor": "var(--panel)", "size": 7,
            "solidity": 0.2,
        }  # fmt: skip
        rows = list(range(len(names)))
        shown = [
            f"{escape(name)}<br>{escape(words)}: {self.numbers.percent(part)}"
            for name, part in zip(names, parts, strict=True)
        ]
        return {
            "type": "bar", "orientation": "h", "name": escape(words), "x": list(parts), "y": rows, "hoverinfo": "text",
            "hovertext": shown, "marker": {"color": colour, "pattern": pattern},
        }  # fmt: skip
