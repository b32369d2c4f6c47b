"""The section on what more ranks bring: speed-up, a training step, and where a parameter server is overtaken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from experiments.report.findings import landmarks
from experiments.report.palette import Series
from experiments.report.plots import Figure, Plots
from experiments.report.results import Results
from experiments.report.texts import Texts

__all__ = ["figures", "values"]

Row = Mapping[str, Any]

_MOST = 1.15  # efficiency at the top of the plot, where nothing is beyond


def values(results: Results, looks: Mapping[str, Series], say: Texts) -> dict[str, Any]:
    """What the template needs under ``scaling``; None with fewer than two rank counts, as nothing scales there."""
    rows: Sequence[Row] = results.scaling.get("scaling", ())
    ranks = sorted({row["ranks"] for row in rows})
    if len(ranks) < 2:
        return {"scaling": None}
    sizes = sorted({row["nbytes"] for row in rows})
    middle = landmarks(sizes)
    crossings: Sequence[Row] = results.scaling.get("crossings", ())
    return {
        "scaling": {
            "sizes": [(str(size), say.numbers.nbytes(size)) for size in sizes],
            "default": str(middle[-1]),
            "ranks": ranks,
            "tables": [(size, _table([row for row in rows if row["nbytes"] == size], ranks, looks)) for size in sizes],
            "training": _training(results, ranks, looks, say),
            "crossings": [
                (over, [_crossing(row, say) for row in crossings if row["over"] == over])
                for over in ("nbytes", "ranks")
            ],
        }
    }  # fmt: skip


def figures(results: Results, looks: Mapping[str, Series], say: Texts) -> dict[str, dict[str, Figure]]:
    """Efficiency against ranks for each size, and that of the training step."""
    rows: Sequence[Row] = results.scaling.get("scaling", ())
    if len({row["ranks"] for row in rows}) < 2:
        return {}
    draw = _Efficiencies(say)
    sizes = sorted({row["nbytes"] for row in rows})
    found = {
        "efficiency": {str(size): draw.lines([row for row in rows if row["nbytes"] == size], looks) for size in sizes}
    }
    training: Sequence[Row] = results.scaling.get("training", {}).get("rows", ())
    return found | ({"training": {"": draw.lines(training, looks)}} if training else {})


class _Efficiencies(Plots):
    """Lines of measured (solid) and simulated (dotted) efficiency against ranks."""

    def lines(self, rows: Sequence[Row], looks: Mapping[str, Series]) -> Figure:
        traces: list[Figure] = []
        for name, look in looks.items():
            line = sorted((row for row in rows if row["algorithm"] == name), key=lambda row: row["ranks"])
            for kind, dash in (("measured", "solid"), ("simulated", "dot")) if line else ():
                shown = [f"{escape(name)}<br>{self.texts(f'scaling.{kind}')}: {self._shown(row, kind)}" for row in line]
                heights = [row[f"{kind}_efficiency"] for row in line]
                trace = self.drawn(
                    [row["ranks"] for row in line], heights, name, look.colour, symbol=look.symbol, dash=dash,
                    mode="lines+markers" if kind == "measured" else "lines", text=shown,
                )  # fmt: skip
                traces.append(trace | {"meta": {"algorithm": name}})
        highest = max([_MOST, *(1.05 * height for trace in traces for height in trace["y"])])
        up = self.even_axis("axis.efficiency", (0, highest), self.numbers.percent)
        return self.framed(traces, self.ranks_axis(row["ranks"] for row in rows), up)

    def _shown(self, row: Row, kind: str) -> str:
        return f"{self.numbers.percent(row[f'{kind}_efficiency'])} (p = {row['ranks']})"


def _table(rows: Iterable[Row], ranks: Sequence[int], looks: Mapping[str, Series]) -> list[tuple[Series, list[Any]]]:
    at = {(row["algorithm"], row["ranks"]): row for row in rows}
    present = {name for name, _ in at}
    return [(look, [at.get((name, count)) for count in ranks]) for name, look in looks.items() if name in present]


def _training(results: Results, ranks: Sequence[int], looks: Mapping[str, Series], say: Texts) -> dict[str, Any] | None:
    step: Row = results.scaling.get("training", {})
    rows: Sequence[Row] = step.get("rows", ())
    if not rows:
        return None
    return {
        "lead": say(
            "scaling.training_lead",
            compute=say.numbers.seconds(step["compute_seconds"]),
            size=say.numbers.nbytes(step["nbytes"]),
        ),
        "ranks": ranks,
        "rows": _table(rows, ranks, looks),
    }


def _crossing(row: Row, say: Texts) -> dict[str, Any]:
    number = say.numbers
    fixed = say("hover.ranks", ranks=row["ranks"]) if row["over"] == "nbytes" else number.nbytes(row["nbytes"])
    return {
        "fixed": fixed,
        "servers": row["servers"],
        "rival": say("scaling.best") if row["rival"] == "best" else row["rival"],
        "told": [_told(row[kind], row["over"], say) for kind in ("measured", "simulated", "theory")],
    }


def _told(found: Row, over: str, say: Texts) -> str:
    """Who leads first, and where the lead changes; a point between two measured ones is interpolated, so about."""
    first = say(f"scaling.{found['first']}_first")
    if not found["at"]:
        return str(say("scaling.never", first=first))
    number = say.numbers
    shown = [number.about_bytes(at) if over == "nbytes" else number.plain(at, 2) for at in found["at"]]
    return str(say("scaling.crosses", first=first, list=", ".join(shown)))
