"""Tensor parallel: the matrices of each layer cut among ranks, which sum what they make of the same samples."""

from __future__ import annotations

from dataclasses import dataclass

from collectives.pipeline import gpipe
from experiments.training.strategies.model_parallel import ModelParallel
from experiments.training.strategy import Task

__all__ = ["Tensor"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Layers are cut among ranks, in pairs by outputs and inputs, attention by heads.

    ``ways``: among how many, by default all; with fewer there are replicas, among which the batch is shared.
    ``micro``: a replica's samples go through in so many pieces. ``algorithm``: which allreduce makes all sums.
    """

    ways: int = 0
    micro: int = 1
    algorithm: str = ""

    def __post_init__(self) -> None:
        if self.ways < 0 or self.micro < 1:
            raise ValueError(f"ways must be at least 0 and micro at least 1, got {self.ways} and {self.micro}")

    def start(self, task: Task) -> ModelParallel:
        """Begin on all ranks of the task."""
        ways = self.ways or task.comm.size
        return ModelParallel(task, stages=1, ways=ways, micro=self.micro, order=gpipe, algorithm=self.algorithm)
