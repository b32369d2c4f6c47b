"""Networks to simulate on, as values: shapes, presets, and files of your own."""

from __future__ import annotations

from simulator.networks.network import Network
from simulator.networks.shapes import Measured, from_profile, star
from simulator.networks.topology import Routes, Topology

__all__ = ["Measured", "Network", "Routes", "Topology", "from_profile", "star"]
