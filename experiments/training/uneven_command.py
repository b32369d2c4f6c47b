"""`ciranda uneven`: what a slow worker costs, by how the others live with it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments import places
from experiments.errors import UsageFault
from experiments.records import SCHEMA
from experiments.tables import show
from experiments.units import format_seconds, parse_seconds

if TYPE_CHECKING:
    from experiments.training.options import Options
    from experiments.training.uneven import Contestant, Result

__all__ = ["command", "measured"]


def command(
    model: Annotated[str, typer.Argument(help="Such as mlp or softmax.")] = "mlp:hidden=64",
    dataset: Annotated[str, typer.Option(help="digits, fashion-mnist or python-sources.")] = "digits",
    ranks: Annotated[int, typer.Option("-n", "--ranks", min=2, help="Workers, each with a server beside it.")] = 4,
    slow: Annotated[
        list[str] | None, typer.Option(help="RANK=FACTOR: it computes FACTOR times as long; the last one 4 times.")
    ] = None,
    compute: Annotated[str, typer.Option(help="How long an equal share of a step computes on the others.")] = "20ms",
    accuracy: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the test samples, that is waited for.")] = 0.9,
    epochs: Annotated[float, typer.Option(min=0.1, help="How often every sample is seen.")] = 8.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights and of the order of samples.")] = 0,
    on: places.On = "local",
    mpi: Annotated[str, typer.Option(help="openmpi, mpich or system.", envvar="CIRANDA_MPI")] = "openmpi",
    time_limit: Annotated[str, typer.Option(help="How long each run may take.")] = "2min",
    as_json: Annotated[bool, typer.Option("--json", help="Print records, for machines.")] = False,
) -> None:
    """Train beside a slow worker: equal shares, shares by speed, a spare worker, bounded staleness, no waiting.

    All by a parameter server. Shown is the time to an accuracy, beside that of virtual workers without messages.
    Computing takes a stated time, so ranks may share cores.

    Example: ciranda uneven -n 4 --slow 3=4 --compute 20ms --json
    """
    from experiments.training.options import Options
    from experiments.training.uneven import CONTESTANTS

    common = Options(
        model=model, dataset=dataset, epochs=epochs, seed=seed, compute=compute, slow=slow or [f"{ranks - 1}=4"],
        evaluate=2,
    )  # fmt: skip
    if not parse_seconds(compute):
        raise UsageFault("--compute must be above 0: speeds are compared by it")
    place, limit = places.parse(on), parse_seconds(time_limit)
    found: list[Result] = []
    around: dict[str, Any] = {}
    for contestant in CONTESTANTS:
        one, around = measured(contestant, common, ranks, place, accuracy, mpi=mpi, limit=limit)
        found.append(one)
    if as_json:
        asked = {"slow": common.slow, "compute": compute, "accuracy_wanted": accuracy, "model": model,
                 "dataset": dataset, "ranks": ranks}  # fmt: skip
        records = [one.to_json() | {"ranks": ranks, "oversubscribed": around["oversubscribed"]} for one in found]
        json.dump({"schema": SCHEMA, "environment": around["environment"] | asked, "records": records}, sys.stdout,
                  indent=1, allow_nan=False)  # fmt: skip
        print()
        return
    _print(found, common, ranks, accuracy, oversubscribed=around["oversubscribed"])


def measured(
    contestant: Contestant, common: Options, ranks: int, place: places.Place, wanted: float, *, mpi: str, limit: float
) -> tuple[Result, dict[str, Any]]:
    """What the contestant came to, and the summary of its run. Raises as ``launched`` does."""
    from experiments.training import command as train
    from experiments.training.options import Outputs
    from experiments.training.uneven import expected, result
    from experiments.work_folders import work_folder

    options = contestant.options(common)
    outcome = expected(contestant, common, ranks)
    with work_folder() as folder:
        outputs = replace(Outputs(), metrics=folder / "metrics.jsonl")
        summary = train.launched(options, outputs, ranks, place, mpi=mpi, time_limit=limit)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return result(contestant, summary, lines, wanted, outcome), summary


def _print(found: list[Result], common: Options, ranks: int, wanted: float, *, oversubscribed: bool) -> None:
    rows = [
        [
            f"{one.contestant} ({one.strategy})", _told(one.reached_seconds), _told(one.expected_seconds),
            format_seconds(one.step_seconds, digits=3), _told(one.training_seconds), f"{one.accuracy:.1%}",
            "" if one.staleness_mean is None else f"{one.staleness_mean:.1f} / {one.staleness_max}",
        ]
        for one in found
    ]  # fmt: skip
    title = f"{common.model} on {common.dataset}, {ranks} workers, slow {', '.join(common.slow or [])}"
    show(title, ("", f"to {wanted:.0%}", "virtual", "step", "all steps", "accuracy", "stale"), rows)
    typer.echo("Stale: updates that a push missed, mean / most. Virtual: messages and servers take no time.")
    if oversubscribed:
        typer.echo("More ranks than cores: computing is stated and slept, messages share the cores.")


def _told(seconds: float | None) -> str:
    return "never" if seconds is None else format_seconds(seconds, digits=3)
