"""Networks to simulate on, as values: shapes, presets, and files of your own."""

from __future__ import annotations

from simulator.networks.custom import custom
from simulator.networks.devices import PATHS, PIECE, Path, behind
from simulator.networks.dragonfly import dragonfly
from simulator.networks.files import find, load
from simulator.networks.measured import TERMS, Measured, from_profile
from simulator.networks.network import Cut, Hop, Network
from simulator.networks.parameters import shape, shapes
from simulator.networks.placement import PLACEMENTS, place
from simulator.networks.presets import names, preset
from simulator.networks.rails import rails
from simulator.networks.servers import Server, server
from simulator.networks.star import bus, star, uniform
from simulator.networks.topology import Routes, Topology
from simulator.networks.torus import ring, torus
from simulator.networks.tree import fat_tree, hierarchical

__all__ = [
    "PATHS",
    "PIECE",
    "PLACEMENTS",
    "TERMS",
    "Cut",
    "Hop",
    "Measured",
    "Network",
    "Path",
    "Routes",
    "Server",
    "Topology",
    "behind",
    "bus",
    "custom",
    "dragonfly",
    "fat_tree",
    "find",
    "from_profile",
    "hierarchical",
    "load",
    "names",
    "place",
    "preset",
    "rails",
    "ring",
    "server",
    "shape",
    "shapes",
    "star",
    "torus",
    "uniform",
]
