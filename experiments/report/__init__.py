"""The report: one HTML page that sets predicted times beside measured ones, and says why they differ."""

from experiments.report.command import command

__all__ = ["command"]
