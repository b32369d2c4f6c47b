"""The options that disturb a simulation: slow ranks and links, jitter, other traffic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.errors import UsageFault
from experiments.units import parse_rate, parse_seconds

if TYPE_CHECKING:
    from simulator import Conditions, Flow, Jitter, LinkChange, Network

__all__ = ["ConditionOptions"]

PANEL = "Disturbances"


@dataclass(frozen=True, slots=True)
class ConditionOptions:
    """What a command line says of the conditions of a run; ``build`` makes them for a network."""

    straggler: Annotated[
        list[str] | None,
        typer.Option(
            help="RANK=FACTOR: its work and messages take FACTOR times as long.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    late: Annotated[
        list[str] | None, typer.Option(help="RANK=TIME: it starts later.", show_default=False, rich_help_panel=PANEL)
    ] = None
    slow_link: Annotated[
        list[str] | None,
        typer.Option(
            help="LINK=FACTOR or LINK=FACTOR@TIME: its bandwidth times FACTOR (0: it fails), from TIME on. LINK is a "
            "number that --show-route prints, or A-B: all links from rank A to rank B and back.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    jitter: Annotated[
        str | None,
        typer.Option(
            help="DISTRIBUTION:MEAN added to each message's latency: exponential:5us.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Of the jitter.", rich_help_panel=PANEL)] = 0
    background: Annotated[
        list[str] | None,
        typer.Option(
            help="A-B or A-B=RATE: other traffic from rank A's host to rank B's.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def build(self, network: Network) -> Conditions:
        """The conditions on ``network``. UsageFault names what cannot be."""
        from simulator import Conditions

        try:
            found = Conditions(
                start={rank: parse_seconds(time) for rank, time in _by_rank(self.late, "--late", "3=5ms")},
                slow_ranks={
                    rank: _number(factor, "--straggler")
                    for rank, factor in _by_rank(self.straggler, "--straggler", "3=2")
                },
                links=tuple(change for text in self.slow_link or () for change in _changes(text, network)),
                jitter=None if self.jitter is None else _jitter(self.jitter, self.seed),
                background=tuple(_flow(text, network) for text in self.background or ()),
            )
            found.check(network)
        except ValueError as problem:
            raise UsageFault(str(problem)) from problem
        return found

    def describe(self) -> str:
        """The conditions in a few words, empty where there are none."""
        parts = [f"rank {text} times slower" for text in _spaced(self.straggler)]
        parts += [f"rank {text} late" for text in _spaced(self.late)]
        parts += [f"link {text} of its bandwidth" for text in _spaced(self.slow_link)]
        parts += [f"jitter {self.jitter} (seed {self.seed})"] if self.jitter else []
        parts += [f"other traffic {text}" for text in self.background or ()]
        return ", ".join(parts)


def _spaced(texts: list[str] | None) -> list[str]:
    return [text.replace("=", " ") for text in texts or ()]


def _by_rank(texts: list[str] | None, option: str, example: str) -> Iterator[tuple[int, str]]:
    for text in texts or ():
        rank, _, value = text.partition("=")
        if not value or not _is_whole(rank):
            raise UsageFault(f"{option} {text}: write it like {example}")
        yield int(rank), value


def _changes(text: str, network: Network) -> Iterator[LinkChange]:
    from simulator import LinkChange

    link, _, change = text.partition("=")
    factor, _, time = change.partition("@")
    at = parse_seconds(time) if time else 0.0
    scale = _number(factor, f"--slow-link {text}")
    if _is_whole(link):
        yield LinkChange(int(link), scale, at)
        return
    source, dest = _pair(link, f"--slow-link {text}", "0-1=0.5")
    both = (*network.route(source, dest), *network.route(dest, source))
    for number in dict.fromkeys(hop.link for hop in both):
        yield LinkChange(number, scale, at)


def _flow(text: str, network: Network) -> Flow:
    from simulator import Flow

    pair, _, rate = text.partition("=")
    source, dest = _pair(pair, f"--background {text}", "0-1=1Gbit/s")
    if source == dest:
        raise UsageFault(f"--background {text}: traffic needs two different ranks, such as 0-1=1Gbit/s")
    for rank in (source, dest):
        if rank >= network.size:
            raise UsageFault(f"--background {text}: there is no rank {rank}, only 0 to {network.size - 1}")
    return Flow(int(network.place[source]), int(network.place[dest]), parse_rate(rate) if rate else math.inf)


def _jitter(text: str, seed: int) -> Jitter:
    from simulator import Jitter

    distribution, _, mean = text.partition(":")
    if not mean:
        raise UsageFault(f"--jitter {text}: write it like exponential:5us")
    return Jitter(distribution, parse_seconds(mean), seed)


def _pair(text: str, option: str, example: str) -> tuple[int, int]:
    first, _, second = text.partition("-")
    if not (_is_whole(first) and _is_whole(second)):
        raise UsageFault(f"{option}: two ranks are written like {example}")
    return int(first), int(second)


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageFault(f"{option}: {text!r} is no factor; write it like 2 or 0.5") from None


def _is_whole(text: str) -> bool:
    return text.strip().isascii() and text.strip().isdigit()
