"""Figures made small for the page: a text is written once, and numbers have as many digits as a plot can show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from experiments.report.plots import Figure

__all__ = ["compact"]

_DIGITS = 5


def compact(figures: Mapping[str, Mapping[str, Figure]]) -> tuple[dict[str, dict[str, Figure]], list[str]]:
    """The figures with numbers in place of what the pointer shows, and the texts that those numbers stand for."""
    numbers: dict[str, int] = {}
    small = {
        name: {choice: cast("Figure", _small(figure, numbers)) for choice, figure in forms.items()}
        for name, forms in figures.items()
    }
    return small, list(numbers)


def _small(value: Any, numbers: dict[str, int], key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _small(inner, numbers, name) for name, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if key in ("text", "hovertext"):
            return [numbers.setdefault(text, len(numbers)) for text in items]
        return [_small(item, numbers) for item in items]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
