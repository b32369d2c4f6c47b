"""A parameter server: servers keep the parameters, workers push gradients and pull parameters."""

from __future__ import annotations

from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.consistency import BSP, SSP, Async, Backup, Elastic

__all__ = ["BSP", "SSP", "Async", "Backup", "Configuration", "Elastic"]
