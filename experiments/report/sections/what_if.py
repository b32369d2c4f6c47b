"""The section on far more hosts than were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from experiments.report.palette import Series
from experiments.report.plots import Figure, Plots
from experiments.report.texts import Texts
from experiments.report.what_if import Forecast, Outlook

__all__ = ["figures", "values"]


def values(forecast: Forecast | None, looks: Mapping[str, Series], say: Texts) -> dict[str, Any]:
    """What the template needs under ``outlooks``, None where nothing was foreseen."""
    if forecast is None or not forecast.outlooks:
        return {"outlooks": None}
    outlooks = forecast.outlooks
    at = {(outlook.algorithm, outlook.nbytes, outlook.hosts): outlook for outlook in outlooks}
    hosts = sorted({outlook.hosts for outlook in outlooks})
    names = [name for name in looks if any(outlook.algorithm == name for outlook in outlooks)]
    return {
        "outlooks": {
            "ranks": forecast.ranks,
            "hosts": hosts,
            "sizes": [(str(size), say.numbers.nbytes(size)) for size in _sizes(outlooks)],
            "limit": forecast.limit,
            "left": sum(outlook.simulated is None for outlook in outlooks),
            "all": len(outlooks),
            "tables": [
                {
                    "nbytes": size,
                    "rows": [(looks[name], [at.get((name, size, count)) for count in hosts]) for name in names],
                }
                for size in _sizes(outlooks)
            ],
        }
    }


def figures(forecast: Forecast | None, looks: Mapping[str, Series], say: Texts) -> dict[str, dict[str, Figure]]:
    """Simulated time against hosts, for each size."""
    outlooks = forecast.outlooks if forecast else ()
    draw = _Outlooks(say)
    found = {
        str(size): draw.times([o for o in outlooks if o.nbytes == size and o.simulated is not None], looks)
        for size in _sizes(outlooks)
    }
    return {"what_if": {size: figure for size, figure in found.items() if figure is not None}}


class _Outlooks(Plots):
    def times(self, outlooks: Sequence[Outlook], looks: Mapping[str, Series]) -> Figure | None:
        traces: list[Figure] = []
        for name, look in looks.items():
            line = sorted((o for o in outlooks if o.algorithm == name), key=lambda outlook: outlook.hosts)
            if not line:
                continue
            seconds = [outlook.simulated or 0.0 for outlook in line]
            shown = [f"{escape(name)}<br>{self.numbers.seconds(value)}" for value in seconds]
            hosts = [outlook.hosts for outlook in line]
            trace = self.drawn(hosts, seconds, name, look.colour, symbol=look.symbol, text=shown)
            traces.append(trace | {"meta": {"algorithm": name}})
        if not traces:
            return None
        counts = sorted({outlook.hosts for outlook in outlooks})
        across = self.counted_axis("axis.hosts", counts, self.numbers.count)
        return self.framed(traces, across, self.log_axis("axis.time", traces, self.numbers.seconds))


def _sizes(outlooks: Sequence[Outlook]) -> list[int]:
    return sorted({outlook.nbytes for outlook in outlooks})
