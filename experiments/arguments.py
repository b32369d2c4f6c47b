"""Arguments that several commands share."""

from __future__ import annotations

from collections.abc import Sequence

from collectives import catalogue
from experiments.errors import UsageFault

__all__ = ["algorithm", "factors"]


def algorithm(text: str) -> catalogue.Algorithm:
    """The catalogue entry spelled ``ring`` or ``chain:segments=16``; UsageFault lists the known ones, nearest first."""
    try:
        return catalogue.parse(text)
    except (KeyError, ValueError) as fault:
        raise UsageFault(str(fault.args[0])) from fault


def factors(texts: Sequence[str] | None, option: str) -> dict[int, float]:
    """Factors by rank from ``["0=3", "2=1.5"]``; UsageFault for what is not written so, or names a rank twice."""
    found: dict[int, float] = {}
    for text in texts or ():
        rank, _, factor = text.partition("=")
        try:
            number, value = int(rank), float(factor)
        except ValueError:
            raise UsageFault(f"{option} {text}: write it like 0=2, a rank and a factor") from None
        if number in found:
            raise UsageFault(f"{option} {text}: rank {number} has its factor already")
        found[number] = value
    return found
