"""What a training run is made of, as options: the same for `ciranda train` and for the program on the ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from experiments.arguments import factors
from experiments.errors import UsageFault
from experiments.units import parse_seconds

if TYPE_CHECKING:
    from experiments.training.batches import Batches
    from experiments.training.dataset import Dataset
    from experiments.training.learning_rates import Rates
    from experiments.training.pace import Pace
    from experiments.training.strategy import Plan
    from kernels.optimise import Optimiser

__all__ = ["Options", "Outputs", "arguments"]

_GRAINS = 16
"""A batch has so many grains at most, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is trained, on what, and how. The methods read the texts; UsageFault says what is wrong with them."""

    strategy: Annotated[
        str,
        typer.Option(
            help="A name, and parameters where they are not as usual: allreduce:bucket=64KiB, local-sgd:8, ssp:3."
        ),
    ] = "allreduce"
    dataset: Annotated[str, typer.Option(help="digits, fashion-mnist or python-sources.")] = "digits"
    model: Annotated[str, typer.Option(help="Such as softmax, mlp:hidden=256x128, convnet.")] = "mlp"
    backend: Annotated[
        str, typer.Option(help="What works out gradients: numpy, by hand, or torch, where PyTorch is installed.")
    ] = "numpy"  # fmt: skip
    epochs: Annotated[float, typer.Option(help="How often every sample is seen.", min=0.0)] = 10.0
    steps: Annotated[int, typer.Option(help="How many steps, whatever epochs say; 0: see epochs.", min=0)] = 0
    batch: Annotated[int, typer.Option(help="Samples of the global batch.", min=1)] = 96
    grains: Annotated[
        int,
        typer.Option(help="Equal pieces of a batch that ranks share out; 0: the most up to 16 that divide it.", min=0),
    ] = 0
    optimiser: Annotated[
        str, typer.Option(help="Such as adam:learning_rate=0.001.")
    ] = "momentum:learning_rate=0.1,momentum=0.9"  # fmt: skip
    schedule: Annotated[
        str,
        typer.Option(
            help="Of the learning rate: constant, step or cosine, with warm_up=EPOCHS, and reference=BATCH for the "
            "linear scaling rule."
        ),
    ] = "constant"
    seed: Annotated[int, typer.Option(help="Of the weights and of the order of samples.", min=0)] = 0
    algorithm: Annotated[str, typer.Option(help="Of the allreduce; by default the fastest by prediction.")] = ""
    bucket: Annotated[str, typer.Option(help="Bytes at which a bucket of gradients is closed.")] = ""
    compress: Annotated[str, typer.Option(help="An encoding of gradients, such as int8, with error feedback.")] = ""
    accumulate: Annotated[int, typer.Option(help="Pieces of a rank's samples that go one after another.", min=0)] = 0
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bits on any number of ranks, by exact sums.")
    ] = False
    balance: Annotated[
        int, typer.Option(help="Share batches out by measured speed, anew every so many steps; 0: equally.", min=0)
    ] = 0
    compute: Annotated[
        str, typer.Option(help="How long a rank's equal share of a step computes at least, as an accelerator would.")
    ] = "0s"
    slow: Annotated[list[str] | None, typer.Option(help="RANK=FACTOR: this rank computes so many times as long.")] = (
        None
    )
    evaluate: Annotated[int, typer.Option(help="Judge the model every so many steps; 0: every epoch.", min=0)] = 0
    limit: Annotated[str, typer.Option(help="How long a rank waits for another before it gives up.")] = "60s"

    def plan(self) -> Plan:
        """The strategy with the parameters that have options of their own."""
        from experiments.training import strategies

        own = {"algorithm": self.algorithm, "bucket": self.bucket, "compress": self.compress,
               "accumulate": str(self.accumulate) if self.accumulate else ""}  # fmt: skip
        return strategies.get(self.strategy, {name: value for name, value in own.items() if value})

    def method(self) -> Optimiser:
        """The optimiser."""
        from kernels import optimise

        name, _, rest = self.optimiser.partition(":")
        pairs = [item.partition("=") for item in rest.split(",") if item]
        try:
            return optimise.get(name, **{key: float(value) for key, _, value in pairs})
        except (KeyError, ValueError) as fault:
            raise UsageFault(f"--optimiser {self.optimiser}: {fault.args[0]}") from None

    def batches(self, data: Dataset) -> Batches:
        """Batches of the data's samples."""
        from experiments.training.batches import Batches

        grains = self.grains or max(each for each in range(1, _GRAINS + 1) if self.batch % each == 0)
        try:
            return Batches(len(data.inputs), self.batch, grains, self.seed)
        except ValueError as fault:
            raise UsageFault(str(fault)) from None

    def length(self, batches: Batches) -> int:
        """How many steps the run has."""
        return self.steps or max(1, round(self.epochs * batches.an_epoch))

    def rates(self, batches: Batches) -> Rates:
        """The learning rate of each step."""
        from experiments.training import learning_rates

        try:
            schedule = learning_rates.get(self.schedule)
        except ValueError as fault:
            raise UsageFault(f"--schedule {self.schedule}: {fault}") from None
        return schedule.over(
            self.method().learning_rate, batch=self.batch, an_epoch=batches.an_epoch, steps=self.length(batches)
        )

    def pace(self, batches: Batches, rank: int, ranks: int) -> Pace:
        """How long this rank computes. A slow rank takes longer for the same."""
        from experiments.training.pace import Pace

        slow = factors(self.slow, "--slow")
        if unknown := [each for each in slow if not 0 <= each < ranks]:
            raise UsageFault(f"--slow {unknown[0]}=...: there are ranks 0 to {ranks - 1}")
        try:
            return Pace(parse_seconds(self.compute) * ranks / batches.grains, slow.get(rank, 1.0))
        except ValueError as fault:
            raise UsageFault(str(fault)) from None

    def identity(self) -> dict[str, Any]:
        """What must not change where a run goes on: what its numbers depend on, but for its length."""
        left_out = {"steps", "epochs", "compute", "slow", "evaluate", "limit", "balance"}
        return {name: value for name, value in asdict(self).items() if name not in left_out}


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is kept of a run, on the host of rank 0."""

    metrics: Annotated[
        Path | None, typer.Option(help="Write a line of JSON for each step and evaluation.", show_default=False)
    ] = None
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write event files for TensorBoard into this folder.", show_default=False)
    ] = None
    checkpoint: Annotated[
        Path | None, typer.Option(help="Keep checkpoints in this folder.", show_default=False)
    ] = None  # fmt: skip
    every: Annotated[int, typer.Option(help="Steps between checkpoints.", min=1)] = 100
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint; the run is as if it had never ended.")
    ] = False


def arguments(group: Options | Outputs, changed: Mapping[str, Any] | None = None) -> list[str]:
    """The options as a command line that says the same, but for what is ``changed``."""
    found: list[str] = []
    for each in fields(group):
        value = (changed or {}).get(each.name, getattr(group, each.name))
        name = f"--{each.name}"
        if isinstance(value, bool):
            found += [name] * value
        elif isinstance(value, list):
            found += [f"{name}={item}" for item in cast("list[str]", value)]
        elif value is not None and value != "":
            found.append(f"{name}={value}")
    return found
