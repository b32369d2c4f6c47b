"""Measurements that other people published, and what is known of the machines that they were taken on."""

from __future__ import annotations

from experiments.published import cloud, deepbench, fugaku
from experiments.published.series import Measurement, Series

__all__ = ["Measurement", "Series", "every"]


def every() -> dict[str, Series]:
    """All series by name."""
    return {series.name: series for series in (*fugaku.series(), *deepbench.series(), *cloud.series())}
