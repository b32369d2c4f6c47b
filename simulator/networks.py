"""Networks to simulate on, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Measured", "Network", "from_profile", "star"]


class Measured(Protocol):
    """What a network is made from: ``collectives.profile.Profile`` has it."""

    @property
    def alpha(self) -> float:
        """Seconds per message."""
        ...

    @property
    def beta(self) -> float:
        """Seconds per byte."""
        ...

    @property
    def gamma(self) -> float:
        """Seconds per reduced byte."""
        ...


@dataclass(frozen=True, slots=True)
class Network:
    """``size`` hosts of one rank each, every pair of them connected alike and none in another's way.

    ``alpha``: seconds per message. ``beta``: seconds per byte through a host's port, which sends and receives at the
    same time. ``gamma``: seconds per reduced byte. Source: Hockney, "The communication challenge for MPP" (1994).

    Raises ValueError for a number that is negative or not finite.
    """

    size: int
    alpha: float
    beta: float
    gamma: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a network needs at least one host, got size={self.size}")
        for name, unit in (("alpha", "s"), ("beta", "s/byte"), ("gamma", "s/byte")):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and at least 0 {unit}, got {value}")


def star(size: int, latency: float, bandwidth: float, reduction: float = 0.0) -> Network:
    """``size`` hosts around one switch that is never the bottleneck.

    ``latency``: seconds from one host to another. ``bandwidth``: bytes/s of each host's full-duplex link, in each
    direction (``math.inf`` for a link that costs latency only). ``reduction``: seconds per reduced byte.
    Raises ValueError for a bandwidth of zero or below, and for a number that is negative, NaN or not finite.
    """
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be above 0 bytes/s, got {bandwidth}")
    if not (math.isfinite(latency) and latency >= 0):
        raise ValueError(f"latency must be finite and at least 0 s, got {latency}")
    return Network(size, latency, 1.0 / bandwidth, reduction)


def from_profile(profile: Measured, size: int) -> Network:
    """``size`` ranks that pay what ``profile`` says for a message, a byte and a reduced byte."""
    return Network(size, profile.alpha, profile.beta, profile.gamma)
