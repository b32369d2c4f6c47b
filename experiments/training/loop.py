"""The training loop: drives a strategy, judges the model now and then, and keeps checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.training.checkpoints import Keeper
from experiments.training.gradients import added, on_grid
from experiments.training.model import Scores
from experiments.training.recorder import Recorder, Ticker
from experiments.training.strategy import Strategy, Task

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["Course", "judge", "train"]

_CHUNK = 256
"""Samples that are judged at a time: a chunk is one rank's, so that its score does not depend on how many there are."""

_NAP = 0.001  # seconds


@dataclass(frozen=True, slots=True)
class Course:
    """``steps`` at ``rate`` (by step); judged every ``evaluate`` steps and at the end, kept every ``keep`` (0: never).

    ``done``: how many steps there were before, in the run that goes on.
    """

    steps: int
    rate: Callable[[int], float]
    evaluate: int
    keep: int = 0
    done: int = 0

    def evaluates(self, step: int) -> bool:
        """Whether the model is judged after this step."""
        return step == self.steps or (bool(self.evaluate) and step % self.evaluate == 0)

    def keeps(self, step: int) -> bool:
        """Whether there is a checkpoint after this step."""
        return bool(self.keep) and (step == self.steps or step % self.keep == 0)


def train(
    strategy: Strategy, task: Task, course: Course,
    recorder: Recorder, keeper: Keeper | None = None, ticker: Ticker | None = None,
) -> None:  # fmt: skip
    """Do the steps of ``course`` on this worker. Collective over the strategy's workers.

    Time for judging and keeping counts as no step's. Before the model is judged the last time all workers have done
    their steps. UsageFault where checkpoints are asked for and the strategy's workers never meet.
    """
    workers = strategy.workers
    assert workers is not None  # others have nothing to do here
    for number in range(course.done + 1, course.steps + 1):
        rate, began = course.rate(number), time.perf_counter()
        step = strategy.step(number, rate)
        recorder.step(number, rate, step, time.perf_counter() - began)
        if ticker is not None:
            ticker.step(number, step.scores)
        if number == course.steps:
            _meet(workers)
        if course.evaluates(number):
            recorder.evaluation(number, judge(task, strategy, workers))
        if keeper is not None and course.keeps(number):
            keeper.write(number, strategy.snapshot())
        if number == course.steps or (strategy.lockstep and (course.evaluates(number) or course.keeps(number))):
            recorder.meet()


def judge(task: Task, strategy: Strategy, workers: MPI.Intracomm) -> Scores:
    """This rank's share of the test samples, judged by the strategy's weights: every so many chunks of them."""
    weights, data = strategy.weights, task.data
    starts = range(workers.rank * _CHUNK, len(data.test_inputs), workers.size * _CHUNK)
    chunks = [slice(start, start + _CHUNK) for start in starts]
    scores = [task.model.score(weights, data.test_inputs[chunk], data.test_targets[chunk]) for chunk in chunks]
    return added([Scores(0.0, 0, 0), *map(on_grid, scores)])


def _meet(comm: MPI.Intracomm) -> None:
    """A barrier in which a rank that waits sleeps: some are long done when the last one is."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(_NAP)
