"""One colour, marker and short code for each algorithm, the same in every picture of the page.

The colours are CSS variables (``--series-0`` …) with a light and a dark form in ``templates/page.css``; they follow
Paul Tol's *muted* scheme, which readers with any common colour blindness can tell apart. The marker and the code say
the same again without colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from collectives import catalogue
from experiments.records import NATIVE

__all__ = ["Series", "palette"]

_COLOURS = 9  # as many --series-N as page.css has

# marker name in Plotly -> the same shape as an SVG path in a box of 12 by 12, for the legend and the tables
_SHAPES: Mapping[str, str] = MappingProxyType(
    {
        "circle": "M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10z",
        "square": "M1.5 1.5h9v9h-9z",
        "diamond": "M6 0l6 6-6 6-6-6z",
        "triangle-up": "M6 .5l5.5 10H.5z",
        "cross": "M4 0h4v4h4v4H8v4H4V8H0V4h4z",
        "triangle-down": "M6 11.5L.5 1.5h11z",
        "star": "M6 0l1.5 4.2 4.4.1-3.5 2.8 1.2 4.3L6 8.9l-3.6 2.5 1.2-4.3L.1 4.3l4.4-.1z",
        "pentagon": "M6 .5l5.7 4.2-2.2 6.8H2.5L.3 4.7z",
        "x": "M2.5 0L6 3.5 9.5 0 12 2.5 8.5 6 12 9.5 9.5 12 6 8.5 2.5 12 0 9.5 3.5 6 0 2.5z",
        "hexagon": "M6 0l5.2 3v6L6 12 .8 9V3z",
        "bowtie": "M0 1l6 5 6-5v10L6 6 0 11z",
    }
)
_NATIVE_SHAPE = "M6 .5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11zM6 3a3 3 0 1 1 0 6a3 3 0 1 1 0-6z"


@dataclass(frozen=True, slots=True)
class Series:
    """How one algorithm looks: ``colour`` is a CSS value, ``symbol`` Plotly's marker, ``path`` the marker as SVG."""

    name: str
    code: str
    colour: str
    symbol: str
    path: str
    native: bool = False


def palette(names: Iterable[str]) -> dict[str, Series]:
    """The look of each of ``names``, by name: known algorithms in the catalogue's order, then others, native last."""
    wanted = set(names)
    known = catalogue.names("allreduce")
    ordered = known + sorted(wanted - {*known, NATIVE})
    looks = {NATIVE: Series(NATIVE, "MPI", "var(--ink)", "circle-open", _NATIVE_SHAPE, native=True)}
    taken: set[str] = {"MPI"}
    symbols = list(_SHAPES)
    for index, name in enumerate(ordered):
        symbol = symbols[index % len(symbols)]
        looks[name] = Series(name, _code(name, taken), f"var(--series-{index % _COLOURS})", symbol, _SHAPES[symbol])
        taken.add(looks[name].code)
    return {name: looks[name] for name in (*ordered, NATIVE) if name in wanted}


def _code(name: str, taken: set[str]) -> str:
    """Two letters where they are free: the initials of the words, or the first letters of the only word."""
    words = [word for word in "".join(c if c.isalnum() else " " for c in name).split() if word]
    initials = "".join(word[0] for word in words).upper()
    candidates = [initials[:2] if len(words) > 1 else name[:2].title(), *(initials[:1] + str(n) for n in range(1, 100))]
    return next(code for code in candidates if code not in taken)
