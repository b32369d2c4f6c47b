"""The section on the short measurement on this machine itself, beside the one on the emulated cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.report import tables
from experiments.report.figures import Figures
from experiments.report.judgement import spreads
from experiments.report.palette import Series
from experiments.report.plots import Figure
from experiments.report.results import Results
from experiments.report.texts import Texts

__all__ = ["figures", "values"]


def values(local: Results | None, looks: Mapping[str, Series], files: object) -> dict[str, Any]:
    """What the template needs under ``local``, None where nothing was measured there."""
    if local is None:
        return {"local": None}
    return {
        "local": {
            "cores": local.cores or "?",
            "options": [(str(ranks), str(ranks)) for ranks in local.ranks],
            "tables": tables.times(local, looks),
            "spreads": spreads(local.cells),
            "files": files,
        }
    }


def figures(local: Results | None, looks: Mapping[str, Series], say: Texts) -> dict[str, dict[str, Figure]]:
    """Time against size at each rank count."""
    if local is None:
        return {}
    draw = Figures(local.cells, looks, say)
    return {"local": {str(ranks): draw.latency(ranks) for ranks in local.ranks}}
