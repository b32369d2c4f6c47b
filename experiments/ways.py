"""What messages pass and how they are encoded: `ciranda simulate --device-path staged,gpudirect --encoding int8`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.environment import collect
from experiments.errors import UsageFault
from experiments.units import format_bytes, format_seconds, parse_bytes

if TYPE_CHECKING:
    from experiments.simulate import Outcome
    from simulator import Network, Run
    from simulator.networks import Path, Server

__all__ = ["AS_IS", "KIND", "Seen", "Way", "WayOptions", "look", "print_json", "print_table"]

PANEL = "Devices and encodings"

KIND = "ciranda-ways"
"""Of the documents that ``--json`` prints where ways are compared."""

_PLAIN = "none"

_KEPT = 500_000
"""Messages of a run whose busiest link and critical path are looked for: all of them are kept for it."""


@dataclass(frozen=True, slots=True)
class Way:
    """How vectors get from rank to rank: by which device path, on which server and in which pieces; and encoded how."""

    path: Path | None = None
    server: Server | None = None
    piece: int = 0
    encoding: str | None = None

    def leads(self, network: Network) -> Network:
        """``network`` with the devices of this way behind its hosts; itself where there are none."""
        from simulator import networks

        if self.path is None:
            return network
        return networks.behind(network, self.path, self.server or networks.server("h100"), self.piece)

    def preset(self, name: str, ranks: int) -> Network:
        """The preset ``name``, with devices if the way has them: its own, where no server is named."""
        from simulator import networks

        return networks.preset(name, ranks, self.path, self.server, self.piece)

    def encoded(self, network: Network) -> Network:
        """``network`` whose messages are encoded, by kernels that run at the speed of its reductions."""
        from simulator import encodings

        if self.encoding is None:
            return network
        reduction = network.model.reduction
        memory = 3 / network.gamma if network.gamma else math.inf  # a reduction moves three bytes for each byte
        found = encodings.get(self.encoding, reduction.launch, memory)
        return replace(network, model=replace(network.model, encoding=found))

    def __str__(self) -> str:
        return ", ".join(part for part in (self.path, self.encoding) if part) or "as it is"


AS_IS = Way()
"""Vectors where the network's hosts have them, and messages as they are."""


@dataclass(frozen=True, slots=True)
class WayOptions:
    """What a command line says of ways; ``ways`` makes them, one where nothing is said."""

    device_path: Annotated[
        str | None,
        typer.Option(
            help="Where vectors live and what messages pass: host, staged, peer or gpudirect, several to compare.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    server: Annotated[
        str | None,
        typer.Option(
            help="What the devices stand in: a100, h100 or h100-pcie; a preset's own, else h100.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    piece: Annotated[
        str, typer.Option(help="In what pieces staged messages are copied and sent.", rich_help_panel=PANEL)
    ] = "1MiB"
    encoding: Annotated[
        str | None,
        typer.Option(
            help="What messages are encoded in: float16, int8, int8:block=128 ..., or none; several to compare, "
            "separated by spaces.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether anything is said of the way."""
        return self.device_path is not None or self.encoding is not None

    def ways(self) -> list[Way]:
        """Every path with every encoding. UsageFault names what is not known."""
        from simulator import networks

        paths: list[Path | None] = [None]
        if self.device_path is not None:
            paths = [_path(text) for text in self.device_path.split(",")]
        elif self.server is not None:
            raise UsageFault("--server says what stands behind the network: give --device-path too")
        encodings = [None if text == _PLAIN else text for text in (self.encoding or _PLAIN).split()]
        piece = parse_bytes(self.piece)
        if piece < 1:
            raise UsageFault(f"--piece {self.piece}: a piece has at least one byte")
        try:
            server = None if self.server is None else networks.server(self.server)
        except ValueError as problem:
            raise UsageFault(str(problem)) from problem
        return [Way(path, server, piece, encoding) for path, encoding in product(paths, encodings)]


def _path(text: str) -> Path:
    from simulator import networks

    if text not in networks.PATHS:
        raise UsageFault(f"--device-path {text!r} is not known; use {', '.join(networks.PATHS)}")
    return text


@dataclass(frozen=True, slots=True)
class Seen:
    """One run by one way: its busiest link (name, share of its bandwidth over the run), and where its time went.

    ``shares``: seconds on the critical path by kind, and ``words`` for them. Empty for a run too long to keep.
    """

    way: Way
    outcome: Outcome
    link: str
    busy: float
    shares: Mapping[str, float]
    words: str


def look(way: Way, outcome: Outcome) -> Seen:
    """Play the run again and see what it waited for."""
    run = outcome.run
    if run.messages > _KEPT or not run.seconds:
        return Seen(way, outcome, "", 0.0, {}, "")
    from simulator.sentences import kinds_in_words

    name, busy = _busiest(run) if run.contention else ("", 0.0)
    explained = run.explain()
    shares = {str(kind): seconds for kind, seconds in explained.shares().items()}
    return Seen(way, outcome, name, busy, shares, kinds_in_words(explained, "en"))


def _busiest(run: Run) -> tuple[str, float]:
    """The link that used most of its bandwidth over the whole run, and which share."""
    use = run.utilisation(1)[:, 0]
    link = int(use.argmax()) if use.any() else -1
    return (run.network.hop(link).name, float(use[link])) if link >= 0 else ("", 0.0)


def print_json(found: Sequence[Seen], around: Mapping[str, Any]) -> None:
    """Records with the keys of all records, and those of the way beside them."""
    sources = {str(seen.way): seen.outcome.run.network.source for seen in found}
    content = {
        "kind": KIND,
        "environment": {**collect(), **around, "assumptions": sources},
        "records": [{**seen.outcome.record().to_json(), **_of_way(seen)} for seen in found],
    }
    json.dump(content, sys.stdout, indent=1, allow_nan=False)
    print()


def _of_way(seen: Seen) -> dict[str, Any]:
    way, run = seen.way, seen.outcome.run
    return {
        "device": "cpu" if way.path in (None, "host") else "cuda",
        "device_path": way.path,
        "piece_nbytes": way.piece if way.path in ("staged", "peer") else None,
        "encoding": way.encoding,
        "wire_nbytes": run.bytes,
        "busiest_link": seen.link or None,
        "busiest_share": seen.busy if seen.link else None,
        "critical_path": dict(seen.shares) or None,
    }


def print_table(found: Sequence[Seen], notes: Iterable[str], *, explain: bool) -> None:
    """A table for each number of ranks and size, what the ways make of each algorithm, and what that rests on.

    ``explain``: with all that is to be said of each run.
    """
    from rich.console import Console

    console = Console()

    def cell(seen: Seen) -> tuple[int, int]:
        return seen.outcome.run.size, seen.outcome.run.nbytes

    for _, group in groupby(sorted(found, key=cell), key=cell):
        rows = list(group)
        console.print(_table(rows), "")
        for line in _differences(rows):
            console.print(line, markup=False, highlight=False)
        for seen in rows if explain and rows[0].words else ():
            console.print("", f"{seen.way}:", *seen.outcome.run.explain().words(), markup=False, highlight=False)
        console.print("")
    for line in (*notes, *_assumptions(found)):
        console.print(line, markup=False, highlight=False)


def _table(rows: Sequence[Seen]) -> Any:
    from rich import box
    from rich.table import Table

    run = rows[0].outcome.run
    title = (
        f"{run.algorithm.collective}, {run.size} ranks, {format_bytes(run.nbytes)} on {run.network.name.split(',')[0]}"
    )
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False)
    table.add_column("algorithm", overflow="fold")
    table.add_column("way", overflow="fold")
    for column in ("simulated", "× bound", "on the wire"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("busiest link", overflow="fold")
    for seen in sorted(rows, key=lambda seen: (seen.outcome.run.algorithm.label, seen.outcome.run.seconds)):
        run = seen.outcome.run
        table.add_row(
            run.algorithm.label, str(seen.way), format_seconds(run.seconds),
            f"{run.seconds / run.bound:.2f}" if run.bound else "", format_bytes(run.bytes),
            f"{seen.link}, {seen.busy:.0%}" if seen.link else "",
        )  # fmt: skip
    return table


def _differences(rows: Sequence[Seen]) -> Iterator[str]:
    """For each algorithm, the quickest way beside the others, and what each of them spent its time on."""
    for label, group in groupby(
        sorted(rows, key=lambda seen: (seen.outcome.run.algorithm.label, seen.outcome.run.seconds)),
        key=lambda seen: seen.outcome.run.algorithm.label,
    ):
        best, *others = group
        least = best.outcome.run.seconds
        yield f"{label}, {best.way}: {format_seconds(least)}{_spent(best)}"
        for seen in others:
            seconds = seen.outcome.run.seconds
            times = f", {seconds / least:.2f} times as long" if least else ""
            yield f"{label}, {seen.way}: {format_seconds(seconds - least)} more{times}{_spent(seen)}"


def _spent(seen: Seen) -> str:
    return f": {seen.words}" if seen.words else ""


def _assumptions(found: Sequence[Seen]) -> Iterator[str]:
    """Where the figures of each network are from, each text once."""
    yield from dict.fromkeys(f"Source: {seen.outcome.run.network.source}" for seen in found if seen.way.path)
    if any(seen.way.encoding for seen in found):
        yield (
            "Encodings: kernels at the speed of the reductions, which read and write each byte of vector and message "
            "once; no error feedback. A sender encodes what changed, chunk by chunk, a receiver decodes all."
        )
