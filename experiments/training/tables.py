"""What a training run came to, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.training.summary import WARM_UP
from experiments.units import format_seconds

__all__ = ["show"]


def show(found: Mapping[str, Any]) -> None:
    """Print it: every number with its unit, and whether more ranks than cores were running."""
    table = Table(title=f"{found['strategy']}: {found['model']} on {found['dataset']}", show_header=False)
    for name, value in _rows(found):
        table.add_row(name, value)
    console = Console()
    console.print(table)
    console.print(_note(found), soft_wrap=True)


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "ranks", f"{found['workers']} train, of {found['ranks']}, on {found['place']}"
    yield "steps", f"{found['steps']} of {found['batch']} samples; {found['parameters']} parameters"
    if found["accuracy"] is not None:
        yield "accuracy on test samples", f"{found['accuracy']:.2%} (best {found['best_accuracy']:.2%})"
    if found["loss"] is not None:
        yield "loss on test samples", f"{found['loss']:.4f} a prediction"
    low, high = found["step_low"], found["step_high"]
    interval = f" ({_time(low)} .. {_time(high)})" if low is not None else " (too few for an interval)"
    yield "a step", _time(found["step_seconds"]) + interval
    yield "of it computing", _time(found["computing_seconds"])
    yield "and exposed communication", _time(found["exposed_seconds"])
    if found.get("simulated_seconds") is not None:
        off = found["simulated_seconds"] / found["step_mean_seconds"] - 1
        yield "a step, simulated", f"{_time(found['simulated_seconds'])} ({off:+.0%})"
    yield "throughput", f"{found['samples_per_second']:.0f} samples/s"
    yield "sent", f"{found['bytes_sent'] / 1e3:.1f} kB a step by all ranks"
    if found["staleness_max"] is not None:
        yield "staleness", f"{found['staleness_mean']:.2f} updates on average, {found['staleness_max']} at most"
    yield "training", f"{found['training_seconds']:.2f} s without evaluations and checkpoints"


def _time(seconds: float) -> str:
    return format_seconds(seconds)


def _note(found: Mapping[str, Any]) -> str:
    crowded = " More ranks than cores were running: times are oversubscribed." if found["oversubscribed"] else ""
    stated = f" Computing was padded to {found['compute']} a step." if found["compute"] != "0s" else ""
    return (
        f"Times are medians over {found['samples']} steps, with 95 % intervals; the first {WARM_UP} steps are left out."
        f"{stated}{crowded}"
    )
