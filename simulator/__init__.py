"""Pricing: how long a schedule takes on a network that need not exist.

``simulate`` plays a schedule message by message, ``theory`` evaluates its closed form and the lower bounds, and
``networks`` describes what both run on. The simulator reads the same schedules as the prover and the executors.
"""

from __future__ import annotations

from simulator import models, networks, theory
from simulator.conditions import Conditions, Flow, Jitter, LinkChange
from simulator.engine import Run, simulate
from simulator.networks import Network
from simulator.playing import Phase, play
from simulator.timeline import Message, Stay, Timeline

__all__ = [
    "Conditions", "Flow", "Jitter", "LinkChange", "Message", "Network", "Phase", "Run", "Stay", "Timeline", "models",
    "networks", "play", "simulate", "theory",
]  # fmt: skip
