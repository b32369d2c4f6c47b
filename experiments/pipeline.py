"""`ciranda pipeline`: orders in which stages compute micro-batches, proven, timed and drawn."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from collectives import pipeline
from collectives.pipeline import Forward, Order, Slot
from collectives.schedule import ScheduleError
from experiments.errors import UsageFault
from experiments.units import format_seconds, parse_seconds

__all__ = ["Finding", "command", "examine", "lines"]

_IDLE = "·"


@dataclass(frozen=True, slots=True)
class Finding:
    """An order, proven for so many stages and micro-batches. ``hangs``: where each send waits for its receive."""

    order: str
    stages: int
    micro: int
    kept: tuple[int, ...]
    seconds: float
    bubble: float
    theory_bubble: float
    hangs: bool


def command(
    orders: Annotated[list[str] | None, typer.Argument(help="gpipe and 1f1b; all if none.", show_default=False)] = None,
    stages: Annotated[int, typer.Option("-n", "--stages", help="How many stages.", min=1)] = 4,
    micro: Annotated[int, typer.Option(help="Micro-batches of a batch.", min=1)] = 8,
    forward: Annotated[str, typer.Option(help="What a stage takes for the forward pass of a micro-batch.")] = "1ms",
    backward: Annotated[str, typer.Option(help="And for its backward pass.")] = "2ms",
    message: Annotated[str, typer.Option(help="How long a message takes to the next stage.")] = "0s",
    slow: Annotated[list[str] | None, typer.Option(help="STAGE=FACTOR: it takes so many times as long.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a record for each order, for machines.")] = False,
) -> None:
    """Prove orders of a pipeline, and show when each stage computes what, and how long it has nothing to do.

    Exit code 1 where an order is wrong, with the stage and the pass that fail.

    Example: ciranda pipeline gpipe 1f1b -n 4 --micro 8
    """
    factors = _factors(slow, stages)
    times = tuple([parse_seconds(each) * factor for factor in factors] for each in (forward, backward))
    if min(map(sum, zip(*times, strict=True))) <= 0:
        raise UsageFault("a stage that takes no time has no bubble: let --forward or --backward be above 0")
    findings: list[Finding] = []
    for name in orders or pipeline.names():
        order = _order(name)
        slots = pipeline.timeline(order, micro, *times, message=parse_seconds(message))
        findings.append(examine(name, order, micro, slots))
        if not as_json:
            _tell(findings[-1], slots)
    if as_json:
        json.dump({"records": [asdict(each) for each in findings]}, sys.stdout, indent=1)
        sys.stdout.write("\n")


def examine(name: str, order: Order, micro: int, slots: Sequence[Sequence[Slot]]) -> Finding:
    """Prove the order, and say what these times of it come to. ScheduleError where it is wrong."""
    stages = len(slots)
    proof = pipeline.prove(order, stages, micro)
    end = max(each[-1].end for each in slots)
    busy = sum(slot.end - slot.start for each in slots for slot in each)
    return Finding(
        name, stages, micro, proof.kept, end, 1 - busy / (stages * end), pipeline.bubble(stages, micro),
        _hangs(lambda: pipeline.prove(order, stages, micro, blocking=True)),
    )  # fmt: skip


def lines(slots: Sequence[Sequence[Slot]], width: int) -> Iterator[str]:
    """A line a stage, time to the right: forward passes as digits, backward as letters (a is 0), counted modulo 10."""
    end = max(each[-1].end for each in slots)
    margin = len(f"stage {len(slots) - 1}")
    columns = max(1, width - margin - 2)
    shortest = min(slot.end - slot.start for each in slots for slot in each if slot.end > slot.start)
    scale = min(columns / end, 3 / shortest)
    scale = max(1, int(scale * shortest)) / shortest if scale * shortest >= 1 else scale  # whole columns for a pass
    for stage, each in enumerate(slots):
        row = [_IDLE] * round(end * scale)
        for slot in each:
            first, last = round(slot.start * scale), round(slot.end * scale)
            row[first:last] = _sign(slot) * (last - first)
        yield f"{f'stage {stage}'.ljust(margin)}  {''.join(row)}"


def _sign(slot: Slot) -> str:
    number = slot.action.micro % 10
    return str(number) if isinstance(slot.action, Forward) else chr(ord("a") + number)


def _order(name: str) -> Order:
    try:
        return pipeline.get(name)
    except ValueError as fault:
        raise UsageFault(str(fault)) from None


def _factors(slow: list[str] | None, stages: int) -> list[float]:
    from experiments.arguments import factors

    given = factors(slow, "--slow")
    if unknown := [each for each in given if not 0 <= each < stages]:
        raise UsageFault(f"--slow {unknown[0]}=...: there are stages 0 to {stages - 1}")
    return [given.get(stage, 1.0) for stage in range(stages)]


def _hangs(prove: Callable[[], object]) -> bool:
    try:
        prove()
    except ScheduleError:
        return True
    return False


def _tell(found: Finding, slots: Sequence[Sequence[Slot]]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    kept = ", ".join(map(str, found.kept))
    idle = f"idle {found.bubble:.1%} of it, and (p-1)/(m+p-1) = {found.theory_bubble:.1%}"
    said = (
        f"{found.order}: {found.stages} stages, {found.micro} micro-batches, proven",
        *lines(slots, console.width),
        f"{format_seconds(found.seconds)} a batch; {idle} where stages are alike and messages take no time",
        f"activations of {kept} micro-batches are kept by stages 0 to {found.stages - 1}, at most",
        "it would hang where sends wait for their receive" if found.hangs else "it also works where sends wait",
        "",
    )
    console.print(*said, sep="\n", markup=False, soft_wrap=True)
