"""How the errors of the predictions are spread, for the section on predictions."""

from __future__ import annotations

from typing import Any

from experiments.report.error_figures import ErrorFigures
from experiments.report.judgement import BANDS, WINNERS, spreads, winners
from experiments.report.plots import Figure
from experiments.report.results import Results
from experiments.report.texts import Texts

__all__ = ["figures", "values"]


def values(results: Results, say: Texts) -> dict[str, Any]:
    """What the template needs: the spreads, the winners, and the bands to choose from."""
    found = spreads(results.cells)
    present = {spread.band for spread in found}
    return {
        "spreads": found,
        "judged_winners": winners(results.cells),
        "winner_target": WINNERS,
        "bands": [(band, say(f"errors.{band}")) for band in BANDS if band in present],
    }


def figures(results: Results, say: Texts) -> dict[str, dict[str, Figure]]:
    """The distribution of the errors, for each band."""
    found = spreads(results.cells)
    draw = ErrorFigures(say)
    present = {spread.band for spread in found}
    return {"errors": {band: draw.distribution(found, band) for band in BANDS if band in present}}
