"""The plots of a calibration: measured messages beside the fitted curve and the straight line, and their factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from collectives.profile import Fitted, Profile
from experiments.report.plots import Figure, Plots

__all__ = ["ProfileFigures"]

_MEASURED, _CURVE, _LINE, _STREAM = "var(--ink)", "var(--series-0)", "var(--series-1)", "var(--series-2)"
_STEPS = 60
_WORST = 3.0  # misfits beyond this are drawn at the edge, so that one bad size does not hide the others


class ProfileFigures(Plots):
    """Draws one profile."""

    def messages(self, profile: Profile, *, measured: bool = True) -> Figure | None:
        """Seconds of one message one way by size: measured with intervals, piecewise fit, Hockney's line.

        Without ``measured`` the fits alone, as the points of a profile are those of all its ranks at work.
        """
        points = _one_way(profile)
        if not points:
            return None
        sizes = [point.nbytes for point in points]
        along = _between(sizes[0], sizes[-1])
        heights = [profile.alpha + profile.beta * size for size in along]
        line = self.drawn(along, heights, self._say("line"), _LINE, mode="lines", dash="dash")
        traces = [line, self._measured(points)] if measured else [line]
        knots = [(size, seconds) for size, seconds in profile.curve if size > 0 and seconds > 0]
        if knots:
            fit = self.drawn(*_columns(knots), self._say("curve"), _CURVE, mode="lines")
            traces.insert(1, fit)
        everything = [size for trace in traces for size in trace["x"]]
        across = self.log_axis("axis.size", [], lambda size: self.numbers.nbytes(round(size)), values=everything)
        across |= _binary_ticks(everything, self.numbers.nbytes)
        figure = self.framed(traces, across, self.log_axis("axis.time", traces, self.numbers.seconds), legend=True)
        figure["layout"]["shapes"] = [_change(size) for size in profile.changes if size > 0]
        return figure

    def residuals(self, profile: Profile) -> Figure | None:
        """Relative misfit of the line and of the curve at every measured size."""
        points = _one_way(profile)
        if not points:
            return None
        sizes = [point.nbytes for point in points]
        traces = [self._misfit(points, [point.residual for point in points], "line", _LINE, "triangle-up")]
        curved = [point for point in points if point.curve_residual is not None]
        if curved:
            misfits = [point.curve_residual or 0.0 for point in curved]
            traces.append(self._misfit(curved, misfits, "curve", _CURVE, "circle"))
        heights = [height for trace in traces for height in trace["y"]]
        widest = max(0.1, 1.1 * max(abs(height) for height in heights))
        up = self.even_axis("axis.misfit", (-min(1.1, widest), widest), self.numbers.percent)
        across = self.log_axis("axis.size", [], lambda size: self.numbers.nbytes(round(size)), values=sizes)
        return self.framed(traces, across | _binary_ticks(sizes, self.numbers.nbytes), up, legend=True)

    def factors(self, profile: Profile) -> Figure | None:
        """How many times longer a message takes while another goes the other way, and in a train; by size."""
        kinds = (("exchange", profile.duplex, _LINE, "circle"), ("stream", profile.streams, _STREAM, "square"))
        traces = [
            self._factor([point for point in knots if point[0] > 0], kind, colour, symbol)
            for kind, knots, colour, symbol in kinds
            if knots
        ]
        sizes = [size for trace in traces for size in trace["x"]]
        if not sizes:
            return None
        highest = max(2.2, 1.1 * max(height for trace in traces for height in trace["y"]))
        up = self.even_axis("axis.factor", (0, highest), self.numbers.factor)
        across = self.log_axis("axis.size", [], lambda size: self.numbers.nbytes(round(size)), values=sizes)
        figure = self.framed(traces, across | _binary_ticks(sizes, self.numbers.nbytes), up, legend=True)
        figure["layout"]["shapes"] = [_level(1.0), _level(2.0)]
        return figure

    def _factor(self, knots: Sequence[tuple[int, float]], kind: str, colour: str, symbol: str) -> Figure:
        shown = [f"{self.numbers.nbytes(size)}<br>{self.numbers.factor(factor)}" for size, factor in knots]
        return self.drawn(*_columns(knots), self._say(kind), colour, symbol=symbol, text=shown)

    def _say(self, kind: str) -> str:
        return str(self.texts(f"calibration.trace_{kind}"))

    def _measured(self, points: Sequence[Fitted]) -> Figure:
        shown = [f"{self.numbers.nbytes(point.nbytes)}<br>{self.numbers.seconds(point.seconds)}" for point in points]
        trace = self.drawn(
            [point.nbytes for point in points], [point.seconds for point in points], self._say("points"), _MEASURED,
            mode="markers", text=shown,
        )  # fmt: skip
        trace["error_y"] = {
            "type": "data", "symmetric": False, "color": _MEASURED, "thickness": 1, "width": 3,
            "array": [(point.high or point.seconds) - point.seconds for point in points],
            "arrayminus": [point.seconds - (point.low or point.seconds) for point in points],
        }  # fmt: skip
        return trace

    def _misfit(
        self, points: Sequence[Fitted], misfits: Sequence[float], kind: str, colour: str, symbol: str
    ) -> Figure:
        shown = [
            f"{self.numbers.nbytes(point.nbytes)}<br>{self.numbers.percent(misfit)}"
            for point, misfit in zip(points, misfits, strict=True)
        ]
        heights = [max(-_WORST, min(_WORST, misfit)) for misfit in misfits]
        sizes = [point.nbytes for point in points]
        return self.drawn(sizes, heights, self._say(kind), colour, symbol=symbol, text=shown)


def _one_way(profile: Profile) -> list[Fitted]:
    return sorted(
        (point for point in profile.points if point.pattern == "pingpong" and point.nbytes > 0 and point.seconds > 0),
        key=lambda point: point.nbytes,
    )


def _between(low: int, high: int) -> list[float]:
    """Sizes from ``low`` to ``high``, close enough for a straight line to be drawn on logarithmic axes."""
    return [low * (high / low) ** (step / _STEPS) for step in range(_STEPS + 1)]


def _columns(knots: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [size for size, _ in knots], [value for _, value in knots]


def _binary_ticks(sizes: Sequence[int], shown: Callable[[int], str]) -> Figure:
    """Ticks at powers of 16 from 1 B on, which read better than powers of ten."""
    ticks = [16**power for power in range(9) if min(sizes) <= 16**power <= max(sizes)]
    return {"tickvals": ticks, "ticktext": [shown(tick) for tick in ticks]} if len(ticks) > 1 else {}


def _change(size: int) -> Figure:
    """A line where the library changes how it sends."""
    return {
        "type": "line", "xref": "x", "yref": "paper", "x0": size, "x1": size, "y0": 0, "y1": 1,
        "line": {"color": "var(--muted)", "width": 1.5, "dash": "dot"},
    }  # fmt: skip


def _level(height: float) -> Figure:
    return {
        "type": "line", "xref": "paper", "yref": "y", "x0": 0, "x1": 1, "y0": height, "y1": height,
        "line": {"color": "var(--muted)", "width": 1, "dash": "dot"},
    }  # fmt: skip
