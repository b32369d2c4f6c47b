"""One run of one algorithm from the words of a command line, for the commands that show a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from collectives import proof
from experiments.arguments import algorithm
from experiments.conditions import ConditionOptions
from experiments.errors import UsageFault
from experiments.network import NetworkOptions
from experiments.units import parse_bytes

if TYPE_CHECKING:
    from simulator import Run

__all__ = ["RunOptions", "played"]

_RANKS = 4
_PROVEN_TO = 32
"""Up to so many ranks a proof takes no time worth mentioning."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How many ranks, how many bytes, and whether messages share links."""

    ranks: Annotated[
        int | None,
        typer.Option(
            "-n", "--ranks", min=1, help=f"Number of ranks; all hosts of a network with a size, else {_RANKS}."
        ),
    ] = None
    size: Annotated[str, typer.Option(help="Bytes of the vector, such as 64KiB.")] = "1MiB"
    contention: Annotated[
        bool, typer.Option("--contention/--no-contention", help="Whether messages on one link share its bandwidth.")
    ] = True


def played(name: str, what: RunOptions, place: NetworkOptions, disturbance: ConditionOptions) -> Run:
    """The run of algorithm ``name`` (``ring``, ``chain:segments=16``), proven first where that is quick.

    UsageFault for what there is not, or what cannot be; ScheduleError for an algorithm that does not prove.
    """
    from simulator import simulate

    entry, nbytes = algorithm(name), parse_bytes(what.size)
    count = what.ranks or place.size() or _RANKS
    if not entry.supports(count):
        raise UsageFault(f"{entry.label} does not work for {count} ranks")
    network = place.build(count)
    conditions = disturbance.build(network)
    if count <= _PROVEN_TO:
        proof.prove(entry, count)
    try:
        return simulate(entry, count, nbytes, network, contention=what.contention, conditions=conditions)
    except ValueError as problem:  # a run that cannot end, because of a link that failed
        raise UsageFault(f"{entry.label}: {problem}") from problem
