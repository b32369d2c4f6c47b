"""The simulator's terms in the section on why theory and measurement differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from experiments.report.explanations import Example, example, terms_of, totals
from experiments.report.findings import ours
from experiments.report.palette import Series
from experiments.report.plots import Figure
from experiments.report.profile_figures import ProfileFigures
from experiments.report.results import Cell, Results
from experiments.report.term_figures import TermFigures
from experiments.report.texts import Texts

__all__ = ["figures", "values"]


def values(results: Results, looks: Mapping[str, Series], say: Texts) -> dict[str, Any]:
    """What the template needs under ``terms`` and ``example``; None where no cell is explained."""
    cells = _explained(results)
    if not cells:
        return {"terms": None, "example": None}
    ranks, sizes = _most_ranks(cells)
    return {
        "terms": {
            "ranks": ranks,
            "sizes": [(str(size), say.numbers.nbytes(size)) for size in sizes],
            "default": str(sizes[-1]),
            "totals": [
                {
                    "name": _name(row.term, say), "meaning": say.get(f"meaning.{row.term}") or "",
                    "effect": row.effect, "largest": row.largest, "cells": row.cells,
                }
                for row in totals(cells)
            ],
            "tables": [_table(cells, count, looks, say) for count in sorted({cell.ranks for cell in cells})],
        },
        "example": _example(results, say),
    }  # fmt: skip


def figures(results: Results, say: Texts) -> dict[str, dict[str, Figure]]:
    """The bars of the largest rank count by size, and the plot that shows the example's cause."""
    cells = _explained(results)
    if not cells:
        return {}
    ranks, sizes = _most_ranks(cells)
    draw = TermFigures(say)
    bars = {
        str(size): figure
        for size in sizes
        if (figure := draw.stacked([cell for cell in cells if (cell.ranks, cell.nbytes) == (ranks, size)]))
    }
    shown = example(cells)
    proof = shown and _proof(results, shown, say)
    return {"terms": bars} | ({"example": {"": proof}} if proof else {})


def _explained(results: Results) -> list[Cell]:
    return [cell for cell in ours(results.cells) if cell.explained and cell.theory]


def _most_ranks(cells: Sequence[Cell]) -> tuple[int, list[int]]:
    ranks = max(cell.ranks for cell in cells)
    return ranks, sorted({cell.nbytes for cell in cells if cell.ranks == ranks})


def _name(term: str, say: Texts) -> str:
    return str(say.get(f"terms.{term}") or term)


def _table(cells: Sequence[Cell], ranks: int, looks: Mapping[str, Series], say: Texts) -> dict[str, Any]:
    here = [cell for cell in cells if cell.ranks == ranks]
    names = terms_of(here)
    order = list(looks)
    here.sort(key=lambda cell: (order.index(cell.algorithm), cell.nbytes))
    rows = [
        (looks[cell.algorithm], cell, [cell.explained.get(name) for name in names], _name(cell.reason, say))
        for cell in here
    ]
    return {"ranks": ranks, "terms": [_name(name, say) for name in names], "rows": rows}


def _example(results: Results, say: Texts) -> dict[str, Any] | None:
    found = example(results.cells)
    if found is None:
        return None
    number, cell = say.numbers, found.cell
    text = say(
        "terms_of.slower" if found.factor > 1 else "terms_of.faster",
        algorithm=cell.algorithm, size=number.nbytes(cell.nbytes), ranks=cell.ranks, factor=number.factor(found.factor),
        measured=number.seconds(cell.seconds), theory=number.seconds(cell.theory), share=number.percent(found.share),
        term=_name(found.term, say), meaning=say.get(f"meaning.{found.term}") or "",
        simulated=number.seconds(cell.simulated), left=number.percent(abs(found.left)),
    )  # fmt: skip
    proof = _proof(results, found, say)
    caption = say(f"terms_of.proof_{found.term}") if proof else Markup("")
    return {"text": text, "figure": proof is not None, "caption": caption}


def _proof(results: Results, shown: Example, say: Texts) -> Figure | None:
    """The plot of the calibration that shows what the term says, for those terms that have one."""
    profile = results.profile(shown.cell.ranks)
    if profile is None:
        return None
    draw = ProfileFigures(say)
    if shown.term == "duplex":
        return draw.factors(profile)
    own = shown.cell.ranks in results.profiles
    return draw.messages(profile, measured=own) if shown.term == "curve" else None
