"""Pricing: how long a schedule takes on a network that need not exist.

``simulate`` plays a schedule message by message, ``theory`` evaluates its closed form and the lower bounds, and
``networks`` describes what both run on. The simulator reads the same schedules as the prover and the executors.
"""

from __future__ import annotations

from simulator import networks, theory
from simulator.engine import Run, simulate
from simulator.networks import Network
from simulator.timeline import Message, Stay, Timeline

__all__ = ["Message", "Network", "Run", "Stay", "Timeline", "networks", "simulate", "theory"]
