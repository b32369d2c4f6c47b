"""The plots of training: what a step is made of, what more servers bring, accuracy over time, and staleness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from experiments.report.plots import Figure, Plots
from experiments.training.comparison.findings import READINGS
from experiments.training.comparison.records import TrainingRecord

__all__ = ["TrainingFigures"]

_COLOURS = 9  # as many --series-N as page.css has
_DASHES: Mapping[str, str] = {"bsp": "solid", "ssp": "dash", "async": "dot"}
_LOOKS: Mapping[str, tuple[str, str, str]] = {
    "measured": ("var(--series-0)", "solid", "circle"),
    "simulated": ("var(--series-1)", "dot", "diamond"),
    "theory": ("var(--muted)", "dash", "x"),
}
_PATTERN = {"shape": "/", "fillmode": "overlay", "fgcolor": "var(--panel)", "size": 7, "solidity": 0.2}
_MODELS = {"simulated": "diamond-open", "theory": "x-thin-open"}


class TrainingFigures(Plots):
    """Draws records of one number of ranks, or of all."""

    def name(self, record: TrainingRecord) -> str:
        """The contestant as the reader's language has it."""
        if record.ranks == 1:
            return str(self.texts("training.alone"))
        if not record.servers:
            return record.algorithm
        key = "beside" if record.colocated else "own"
        return str(self.texts(f"training.{key}", rules=record.consistency, servers=record.servers))

    def steps(self, records: Sequence[TrainingRecord]) -> Figure:
        """A bar for each contestant, computing and what is exposed of communication; marks where models end it."""
        rows = [record for record in reversed(records) if record.measured_seconds]
        places = list(range(len(rows)))
        exposed = [min(record.exposed_seconds or 0.0, record.measured_seconds or 0.0) for record in rows]
        whole = [record.measured_seconds or 0.0 for record in rows]
        shown = [self._step(record) for record in rows]
        parts = [total - part for total, part in zip(whole, exposed, strict=True)]
        bars = [self._bar("computing", places, parts, shown, "var(--series-2)", {})]
        bars.append(self._bar("exposed", places, exposed, shown, "var(--series-1)", {"pattern": _PATTERN}))
        marks = [self._marks(model, rows, shown) for model in _MODELS]
        longest = max([*whole, *(at for mark in marks for at in mark["x"])], default=1.0)
        across = self.even_axis("axis.time", (0.0, 1.05 * longest), self.numbers.seconds)
        figure = self.framed([*bars, *marks], across, self.named_axis([self.name(r) for r in rows]), legend=True)
        figure["layout"] |= {"barmode": "stack", "bargap": 0.3}
        return figure

    def servers(self, rows: Sequence[Mapping[str, Any]]) -> Figure:
        """Step time over the ring's against the number of servers; markers alone where they sit beside workers."""
        traces = [self._ratios(row, model) for row in rows for model in READINGS]
        traces = [trace for trace in traces if trace["x"]]
        counts = [one["servers"] for row in rows for one in row["ratios"]]
        highest = max([1.0, *(height for trace in traces for height in trace["y"])])
        one = self.drawn([min(counts), max(counts)], [1.0, 1.0], "1", "var(--muted)", mode="lines")
        up = self.even_axis("axis.against_ring", (0.0, 1.05 * highest), self.numbers.factor)
        across = self.counted_axis("axis.servers", counts, str)
        return self.framed([one | {"showlegend": False}, *traces], across, up, legend=True)

    def accuracy(self, records: Sequence[TrainingRecord]) -> Figure:
        """Accuracy on test samples over the seconds of training."""
        lines = [self._curve(number, record) for number, record in enumerate(records) if record.curve]
        last = max((at for line in lines for at in line["x"]), default=1.0)
        across = self.even_axis("axis.training_time", (0.0, 1.02 * last), self.numbers.seconds)
        up = self.even_axis("axis.accuracy", (0.0, 1.0), self.numbers.percent)
        return self.framed(lines, across, up, legend=True)

    def staleness(self, records: Sequence[TrainingRecord]) -> Figure | None:
        """Which share of the pushes missed how many updates by others, where workers do not wait for all."""
        stale = [(number, r) for number, r in enumerate(records) if not r.synchronous and sum(r.staleness)]
        if not stale:
            return None
        lines = [self._missed(number, record) for number, record in stale]
        most = max(at for line in lines for at in line["x"])
        across = self.even_axis("axis.missed", (-0.2, most + 0.2), self.numbers.plain)
        up = self.even_axis("axis.pushes", (0.0, 1.0), self.numbers.percent)
        return self.framed(lines, across, up, legend=True)

    def efficiency(self, records: Sequence[TrainingRecord], kinds: Mapping[str, Sequence[TrainingRecord]]) -> Figure:
        """Throughput beside p ranks that train alone, against p."""
        lines = [
            self.drawn(
                [record.ranks for record in kind], [record.efficiency or 0.0 for record in kind], name,
                f"var(--series-{number % _COLOURS})", dash=_dash(kind[0]),
                text=[f"{escape(name)}<br>{self.numbers.percent(record.efficiency)}" for record in kind],
            )
            for number, (name, kind) in enumerate(kinds.items())
        ]  # fmt: skip
        up = self.even_axis("axis.efficiency", (0.0, 1.1), self.numbers.percent)
        across = self.ranks_axis(record.ranks for record in records if record.ranks > 1)
        return self.framed(lines, across, up, legend=True)

    def _bar(
        self, key: str, places: Sequence[int], lengths: Sequence[float], shown: Sequence[str], colour: str,
        more: Mapping[str, Any],
    ) -> Figure:  # fmt: skip
        return {
            "type": "bar", "orientation": "h", "name": str(self.texts(f"training.{key}")), "x": list(lengths),
            "y": list(places), "hoverinfo": "text", "hovertext": list(shown), "marker": {"color": colour, **more},
        }  # fmt: skip

    def _marks(self, model: str, rows: Sequence[TrainingRecord], shown: Sequence[str]) -> Figure:
        known = [
            (place, seconds, text)
            for place, (record, text) in enumerate(zip(rows, shown, strict=True))
            if (seconds := _predicted(record, model)) is not None
        ]
        return {
            "type": "scatter", "mode": "markers", "name": str(self.texts(f"training.{model}")),
            "x": [seconds for _, seconds, _ in known], "y": [place for place, _, _ in known], "hoverinfo": "text",
            "text": [text for *_, text in known],
            "marker": {"color": "var(--ink)", "symbol": _MODELS[model], "size": 10, "line": {"width": 2}},
        }  # fmt: skip

    def _step(self, record: TrainingRecord) -> str:
        number, words = self.numbers, self.texts
        lines = [f"<b>{escape(self.name(record))}</b>"]
        for key, seconds in (
            ("measured", record.measured_seconds), ("exposed", record.exposed_seconds),
            ("simulated", record.simulated_seconds), ("theory", record.theory_seconds),
        ):  # fmt: skip
            lines.append(f"{words(f'training.{key}')}: {number.seconds(seconds)}")
        return "<br>".join(lines)

    def _ratios(self, row: Mapping[str, Any], model: str) -> Figure:
        known = [(one["servers"], one[model]) for one in row["ratios"] if one[model] is not None]
        colour, dash, symbol = _LOOKS[model]
        place = str(self.texts("training.is_beside" if row["beside"] else "training.is_own"))
        name = f"{self.texts(f'training.{model}')}, {place}"
        shown = [f"{escape(name)}<br>k = {servers}: {self.numbers.factor(ratio)}" for servers, ratio in known]
        return self.drawn(
            [servers for servers, _ in known], [ratio for _, ratio in known], name, colour, dash=dash,
            symbol=f"{symbol}-open" if row["beside"] else symbol, text=shown,
            mode="markers" if row["beside"] else "lines+markers",
        )  # fmt: skip

    def _curve(self, number: int, record: TrainingRecord) -> Figure:
        name = self.name(record)
        points = [(at, share, f"{escape(name)}<br>{self.numbers.seconds(at)}: {self.numbers.percent(share)}")
                  for at, share in record.curve]  # fmt: skip
        return self.drawn(
            [at for at, *_ in points], [share for _, share, _ in points], name, f"var(--series-{number % _COLOURS})",
            mode="lines", dash=_dash(record), text=[text for *_, text in points],
        )  # fmt: skip

    def _missed(self, number: int, record: TrainingRecord) -> Figure:
        name, pushes = self.name(record), sum(record.staleness)
        shares = [count / pushes for count in record.staleness]
        shown = [f"{escape(name)}<br>{missed}: {self.numbers.percent(share)}" for missed, share in enumerate(shares)]
        colour = f"var(--series-{number % _COLOURS})"
        return self.drawn(range(len(shares)), shares, name, colour, dash=_dash(record), text=shown)


def _dash(record: TrainingRecord) -> str:
    return _DASHES.get(record.consistency.partition(":")[0], "longdash" if record.servers else "solid")


def _predicted(record: TrainingRecord, model: str) -> float | None:
    return record.simulated_seconds if model == "simulated" else record.theory_seconds
