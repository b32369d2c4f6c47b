"""The plot of how errors are spread: which share of the cells is no further off than so much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scipy import stats

from experiments.report.judgement import BANDS, Band, Spread
from experiments.report.plots import Figure, Plots
from experiments.report.results import Model

__all__ = ["ErrorFigures"]

_LEAST = 1e-3  # an error smaller than this is drawn there, as a logarithmic axis has no zero
_LOOKS: dict[Model, tuple[str, str]] = {
    "theory": ("var(--series-1)", "dash"),
    "simulated": ("var(--series-0)", "solid"),
}


class ErrorFigures(Plots):
    """Draws the spreads of one band at a time."""

    def distribution(self, spreads: Sequence[Spread], band: Band) -> Figure:
        """Empirical distribution of the relative error of each model; the dotted lines are the targets."""
        traces = [self._steps(spread) for spread in spreads if spread.band == band]
        ends = [value for trace in traces for value in trace["x"]]
        across = self.log_axis("axis.error", [], self.numbers.percent, values=[*ends, *BANDS[band]])
        figure = self.framed(traces, across, self.even_axis("axis.share", (0, 1.03), self.numbers.percent), legend=True)
        median, high = BANDS[band]
        figure["layout"]["shapes"] = [self._target(median, 0.5), self._target(high, 0.95)]
        return figure

    def _steps(self, spread: Spread) -> Figure:
        known = stats.ecdf(spread.errors).cdf
        errors = [max(_LEAST, float(error)) for error in known.quantiles]
        shares = [float(share) for share in known.probabilities]
        colour, dash = _LOOKS[spread.model]
        percent = self.numbers.percent
        shown = [
            str(self.texts("hover.errors", share=percent(share), error=percent(error)))
            for error, share in zip(errors, shares, strict=True)
        ]
        name = str(self.texts(f"controls.{spread.model}"))
        return self.drawn(errors, shares, name, colour, mode="lines", dash=dash, text=shown, shape="hv")

    @staticmethod
    def _target(error: float, share: float) -> dict[str, Any]:
        """A target: the curve should have passed this share by this error."""
        return {
            "type": "line", "xref": "x", "yref": "y", "x0": error, "x1": error, "y0": 0, "y1": share,
            "line": {"color": "var(--muted)", "width": 1.5, "dash": "dot"},
        }  # fmt: skip
