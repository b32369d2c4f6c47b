"""The scaling experiment: measured beside simulated beside theory over ranks and sizes, with the reason of each gap."""

from experiments.scaling.command import Command, command

__all__ = ["Command", "command"]
