"""The rank's side of calibration: times of messages and of arithmetic, taken by all ranks together.

Messages go through the executor that carries the collectives, so alpha holds what its Python costs. Ranks that have
no part in a measurement nap: with more ranks than cores, one that polls takes a core from those that are measured.
"""

from __future__ import annotations

from experiments.probing.probe import CALLS, Probe
from experiments.probing.sizes import DTYPES, MESSAGE_SIZES, REDUCTION_SIZES

__all__ = ["CALLS", "DTYPES", "MESSAGE_SIZES", "REDUCTION_SIZES", "Probe"]
