"""What a strategy is: how the ranks of a run make one model together, a step at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from experiments.training.flat import Flat
from experiments.training.model import Scores

if TYPE_CHECKING:
    from collectives import Communicator
    from experiments.training.batches import Batches
    from experiments.training.dataset import Dataset
    from experiments.training.model import Model
    from kernels.optimise import Optimiser

__all__ = ["Step", "Strategy", "Task"]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What all strategies are given, alike on all ranks of ``comm``."""

    comm: Communicator
    model: Model
    data: Dataset
    batches: Batches
    optimiser: Optimiser
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """What one step was like on this rank. ``scores``: of its own samples, by the weights before the step.

    Seconds: ``computing``; ``exposed``: waiting for others and for messages. ``sent``: bytes that left this rank.
    ``staleness``: updates by others that its pushes missed, for each push whose answer it saw in this step.
    """

    scores: Scores
    computing: float
    exposed: float
    sent: int = 0
    staleness: tuple[int, ...] = ()


class Strategy(Protocol):
    """One on each rank. Steps are counted from 1; ``step`` is called for each number, in ascending order."""

    @property
    def weights(self) -> Flat:
        """The model as this rank has it now; where ranks hold shares of it, collective: the whole is gathered."""
        ...

    def step(self, number: int, learning_rate: float) -> Step:
        """Do this rank's part of a step. Where ranks do not wait for each other, numbers are this rank's own."""
        ...

    def close(self) -> None:
        """Leave the others in peace: wait for what is under way, free what was made. Collective."""
        ...
