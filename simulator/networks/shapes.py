"""The shapes of networks: who is linked to whom, and which way messages go."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from simulator.models import Hockney, Model, Reduction
from simulator.networks.network import Network
from simulator.networks.topology import Topology

__all__ = ["Measured", "from_profile", "star"]


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


def star(size: int, latency: float, bandwidth: float, reduction: float = 0.0) -> Network:
    """``size`` hosts around one switch that is never the bottleneck.

    ``latency``: seconds from one host to another. ``bandwidth``: bytes/s of each host's full-duplex link, in each
    direction (``math.inf`` for a link that costs latency only). ``reduction``: seconds per reduced byte.
    Raises ValueError for a bandwidth of zero or below, and for a number that is negative, NaN or not finite.
    """
    if size < 1:
        raise ValueError(f"a network needs at least one host, got size={size}")
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be above 0 bytes/s, got {bandwidth}")
    if not (math.isfinite(latency) and latency >= 0):
        raise ValueError(f"latency must be finite and at least 0 s, got {latency}")
    hosts = np.arange(size)
    up = np.stack([hosts, np.full(size, size)], axis=1)
    topology = Topology(
        name="star",
        hosts=size,
        ends=np.concatenate([up, up[:, ::-1]]),
        latency=np.full(2 * size, latency / 2),
        bandwidth=np.full(2 * size, float(bandwidth)),
        machine=hosts,
        route=lambda source, dest: (source, size + dest),
        cuts=lambda: (),
        label=lambda vertex: f"host {vertex}" if vertex < size else "switch",
        private=True,
    )
    return Network(topology, hosts, Model(reduction=Reduction(((math.inf, reduction),))))


def from_profile(profile: Measured, size: int) -> Network:
    """``size`` ranks that pay what ``profile`` says for a message, a byte and a reduced byte."""
    quick = star(size, 0.0, math.inf)
    model = Model(Hockney(profile.alpha, profile.beta), Reduction(((math.inf, profile.gamma),)))
    return Network(quick.topology, quick.place, model)
