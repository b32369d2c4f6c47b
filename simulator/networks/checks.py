"""What every shape asks of its numbers, said the same way."""

from __future__ import annotations

import math
import operator
from typing import SupportsIndex

__all__ = ["check_bandwidth", "check_latency", "whole"]


def whole(name: str, value: SupportsIndex, least: int = 1) -> int:
    """``value`` as a whole number of at least ``least``; ValueError names it by ``name``."""
    try:
        found = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, got {value!r}") from None
    if found < least:
        raise ValueError(f"{name} must be at least {least}, got {found}")
    return found


def check_latency(value: float, name: str = "latency") -> float:
    """Seconds, finite and at least 0; ValueError names them by ``name``."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and at least 0 s, got {value}")
    return float(value)


def check_bandwidth(value: float, name: str = "bandwidth") -> float:
    """Bytes/s above 0, ``math.inf`` included; ValueError names them by ``name``."""
    if not value > 0:
        raise ValueError(f"{name} must be above 0 bytes/s, got {value}")
    return float(value)
