"""Arguments that several commands share."""

from __future__ import annotations

from collectives import catalogue
from experiments.errors import UsageFault

__all__ = ["algorithm"]


def algorithm(text: str) -> catalogue.Algorithm:
    """The catalogue entry spelled ``ring`` or ``chain:segments=16``; UsageFault lists the known ones, nearest first."""
    try:
        return catalogue.parse(text)
    except (KeyError, ValueError) as fault:
        raise UsageFault(str(fault.args[0])) from fault
