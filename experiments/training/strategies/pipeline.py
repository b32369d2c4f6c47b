"""Pipeline parallel: layers cut into stages, a stage a rank, and micro-batches that follow one another through them."""

from __future__ import annotations

from dataclasses import dataclass

from collectives import pipeline
from experiments.training.strategies.model_parallel import ModelParallel
from experiments.training.strategy import Task

__all__ = ["Pipeline"]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Layers are cut into stages, and micro-batches pass through them one after another.

    ``stages``: how many, by default one a rank; with fewer there are replicas, among which the batch is shared.
    ``order``: of ``collectives.pipeline``. ``micro``: micro-batches of a replica, by default its grains. ``ways``: so
    many ranks share the layers of each stage (as in ``tensor``). ``algorithm``: which allreduce makes all sums.
    """

    stages: int = 0
    order: str = "1f1b"
    micro: int = 0
    ways: int = 1
    algorithm: str = ""

    def __post_init__(self) -> None:
        pipeline.get(self.order)
        if self.stages < 0 or self.micro < 0 or self.ways < 1:
            raise ValueError(
                f"stages and micro must be at least 0 and ways at least 1, got {self.stages}, {self.micro}, {self.ways}"
            )

    def start(self, task: Task) -> ModelParallel:
        """Begin on all ranks of the task."""
        stages = self.stages or max(1, task.comm.size // self.ways)
        return ModelParallel(
            task, stages=stages, ways=self.ways, micro=self.micro, order=pipeline.get(self.order),
            algorithm=self.algorithm,
        )  # fmt: skip
