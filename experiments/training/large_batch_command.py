"""`ciranda large-batch`: how accurate a model gets as the global batch grows, with and without the remedies."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.environment import collect
from experiments.errors import UsageFault
from experiments.records import SCHEMA
from experiments.tables import show
from experiments.units import parse_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from experiments.training.large_batch import Outcome, Plan, Recipe

__all__ = ["command"]


def command(
    model: Annotated[str, typer.Argument(help="Such as mlp, softmax or convnet.")] = "mlp",
    dataset: Annotated[str, typer.Option(help="Such as digits or fashion-mnist.")] = "digits",
    batch: Annotated[str, typer.Option(help="Samples of a global batch: 16:1024 (doubling) or 32,512.")] = "16:1024",
    epochs: Annotated[int, typer.Option(min=1, help="Times that every sample is seen, whatever the batch.")] = 20,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each; the median is shown.")] = 3,
    reference: Annotated[int, typer.Option(min=1, help="Batch that the rates are meant for.")] = 16,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of momentum, for that batch.")] = 0.02,
    lars_rate: Annotated[float, typer.Option(min=0.0, help="Of LARS, for that batch.")] = 0.3,
    warm_up: Annotated[float, typer.Option(min=0.0, help="Epochs in which the rate rises.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a record for each run, for machines.")] = False,
) -> None:
    """Train with larger and larger batches: accuracy without a remedy, with scaled rates, warm-up too, and with LARS.

    One process computes it all: workers that share a batch compute the same gradients. No MPI is needed.

    Example: ciranda large-batch mlp --dataset digits --batch 16:1024 --seeds 5
    """
    from experiments.training.large_batch import Plan, recipes, summary

    sizes = parse_sizes(batch)
    chosen = recipes(reference=reference, warm_up=warm_up, learning_rate=learning_rate, lars_rate=lars_rate)
    outcomes = _trained(model, dataset, Plan(tuple(sizes), epochs, tuple(range(seeds))), chosen)
    found = summary(outcomes)
    if as_json:
        around = {"model": model, "dataset": dataset, "warm_up_epochs": warm_up, "reference": reference}
        records = [outcome.to_json() for outcome in outcomes]
        document = {"schema": SCHEMA, "environment": {**collect(), **around}, "records": records, "summary": found}
        json.dump(document, sys.stdout, indent=1, allow_nan=False)
        print()
        return
    _print(
        f"{model} on {dataset}, {epochs} epochs: test accuracy in %, median (lowest-highest) of {seeds}", chosen, found
    )


def _trained(model: str, name: str, plan: Plan, chosen: Sequence[Recipe]) -> list[Outcome]:
    from rich.console import Console
    from rich.progress import track

    from experiments.training import datasets, models
    from experiments.training.large_batch import train

    dataset = datasets.get(name)
    one = models.get(model, dataset)
    if (largest := max(plan.batches)) > len(dataset.inputs):
        raise UsageFault(f"{name} has {len(dataset.inputs)} samples to learn from, fewer than a batch of {largest}")
    runs = list(plan.runs(chosen))
    console = Console(stderr=True)
    return [
        train(one, dataset, recipe, batch=size, epochs=plan.epochs, seed=seed)
        for recipe, size, seed in track(runs, "training", console=console, disable=not console.is_terminal)
    ]


def _print(title: str, chosen: Sequence[Recipe], found: Sequence[Mapping[str, Any]]) -> None:
    cells = {(one["recipe"], one["batch"]): one for one in found}
    steps = {one["batch"]: one["steps"] for one in found}
    rows = [[str(size), str(steps[size]), *(_told(cells[recipe.name, size]) for recipe in chosen)] for size in steps]
    show(title, ("batch", "steps", *(recipe.name for recipe in chosen)), rows)


def _told(cell: Mapping[str, Any]) -> str:
    low, middle, high = (f"{cell[key] * 100:.1f}" for key in ("accuracy_low", "accuracy", "accuracy_high"))
    return f"{middle} ({low}-{high})"
