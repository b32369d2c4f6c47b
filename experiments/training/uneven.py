"""Uneven machines: one worker is slow, and strategies are set against each other by the time to an accuracy.

Every contestant is measured on ranks whose computing takes a stated time (``pace``), and expected beforehand by virtual
workers of the same speeds (``virtual``), for which messages and servers cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from collectives.parameter_server import consistency
from collectives.parameter_server.configuration import Configuration
from experiments.arguments import factors
from experiments.training import datasets, models, virtual
from experiments.training.options import Options
from experiments.training.shares import apportion
from experiments.units import parse_seconds

__all__ = ["CONTESTANTS", "Contestant", "Result", "expected", "result"]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to live with a slow worker: a strategy of ``ciranda train``, and how often shares are settled anew."""

    name: str
    strategy: str
    rules: str
    balance: int = 0

    def options(self, common: Options) -> Options:
        """The run."""
        return replace(common, strategy=self.strategy, balance=self.balance)


CONTESTANTS = (
    Contestant("static", "ps", "bsp"),
    Contestant("balanced", "ps", "bsp", balance=5),
    Contestant("backup", "backup:1", "backup:1"),
    Contestant("stale", "ssp:3", "ssp:3"),
    Contestant("asynchronous", "async", "async"),
)
"""All wait, with equal shares or with shares by speed; nobody waits for the slow one; for at most 3 steps; for none."""


@dataclass(frozen=True, slots=True)
class Result:
    """``reached``: seconds until the test samples were told so well (None: never); ``step_seconds``: median.

    ``expected``: the same of virtual workers, without messages. ``staleness``: of pushes, mean and largest.
    """

    contestant: str
    strategy: str
    reached_seconds: float | None
    expected_seconds: float | None
    training_seconds: float
    step_seconds: float
    accuracy: float
    staleness_mean: float | None
    staleness_max: int | None

    def to_json(self) -> dict[str, Any]:
        """A flat record."""
        return asdict(self)


def expected(contestant: Contestant, common: Options, ranks: int) -> virtual.Outcome:
    """The run of virtual workers whose computing takes what the options say. UsageFault for options that cannot be."""
    data = datasets.get(common.dataset)
    batches = common.batches(data)
    steps = common.length(batches)
    slow = factors(common.slow, "--slow")
    grain = parse_seconds(common.compute) * ranks / batches.grains
    each = [grain * slow.get(rank, 1.0) for rank in range(ranks)]
    shares = [hi - lo for lo, hi in batches.shares(ranks)]
    if contestant.balance and grain:
        shares = apportion(batches.grains, each)
    work = virtual.Work(
        models.get(common.model, data), data, batches, common.method(), steps, common.rates(batches).at, common.seed,
        every=common.evaluate or batches.an_epoch,
    )  # fmt: skip
    configuration = Configuration(ranks, ranks, colocated=True, consistency=consistency.get(contestant.rules))
    times = tuple(seconds * share for seconds, share in zip(each, shares, strict=True))
    return virtual.train(work, configuration, virtual.Times(times))


def result(
    contestant: Contestant, found: Mapping[str, Any], lines: Sequence[Mapping[str, Any]],
    wanted: float, outcome: virtual.Outcome,
) -> Result:  # fmt: skip
    """What a run came to: its summary ``found``, and the ``lines`` of its metrics."""
    reached = [each["elapsed_seconds"] for each in lines if each["kind"] == "evaluation" and each["accuracy"] >= wanted]
    return Result(
        contestant.name, contestant.strategy, min(reached, default=None), outcome.seconds_to(wanted),
        found["training_seconds"], found["step_seconds"], found["accuracy"],
        found["staleness_mean"], found["staleness_max"],
    )  # fmt: skip
