"""Runs as other tools read them: Perfetto, LogGOPSim (GOAL), SimGrid (SMPI traces) and Paje viewers."""

from __future__ import annotations

from simulator.exports import goal, paje, perfetto, smpi

__all__ = ["goal", "paje", "perfetto", "smpi"]
