"""The scaling experiment on the terminal: every time with its reason, and what all of them say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from experiments.differences import WORDS
from experiments.records import Record
from experiments.scaling.cells import HALF
from experiments.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from experiments.scaling.run import Scaling

__all__ = ["show"]

_ROWS = ("size", "algorithm", "measured", "95 % interval", "n", "simulated", "off", "theory", "off", "bound", "CPU")
_NAMES = ("algorithm", "because", "fastest", "servers", "against", "measured by", "sizes")
_MODELS = {"simulated": "simulated", "theory": "theory (Hockney)"}


def show(found: Scaling) -> None:
    """Print everything; every header states its unit or the numbers carry it."""
    for ranks, group in groupby(found.records, lambda record: record.ranks):
        _table(f"{ranks} ranks", (*_ROWS, "because"), [_row(record) for record in group])
    said = found.findings
    _errors(said)
    _winners(said["winners"])
    _scaling(said["scaling"])
    _training(said["training"])
    _crossings(said["crossings"])
    _reasons(found.records)
    print(_method(found))


def _row(record: Record) -> list[str]:
    if record.measured_seconds is None:
        said = (
            f"not measured: predicted {_time(record.simulated_seconds)}" if record.simulated_seconds else "not measured"
        )
        return [format_bytes(record.nbytes), record.algorithm, said, *[""] * 6, _time(record.bound_seconds), "", ""]
    known = record.measured_low is not None
    return [
        format_bytes(record.nbytes),
        record.algorithm,
        _time(record.measured_seconds) + ("" if record.correct else f" ({record.wrong} wrong)"),
        f"{_time(record.measured_low)} .. {_time(record.measured_high)}" if known else "too few",
        str(record.samples),
        *_beside(record.simulated_seconds, record.measured_seconds),
        *_beside(record.theory_seconds, record.measured_seconds),
        _time(record.bound_seconds),
        _time(record.cpu_seconds),
        _because(record),
    ]


def _beside(seconds: float | None, measured: float) -> tuple[str, str]:
    return ("", "") if seconds is None else (_time(seconds), f"{seconds / measured - 1:+.0%}")


def _because(record: Record) -> str:
    """The term that adds most to theory, as a part of the measured time."""
    if not record.explained or not record.measured_seconds:
        return ""
    return f"{record.reason} {record.explained[record.reason] / record.measured_seconds:+.0%}"


def _errors(said: Mapping[str, Any]) -> None:
    sizes = {"large": f"from {format_bytes(said['large_from_bytes'])}", "small": "below"}
    rows = [
        [name, where, str(spread["cells"]), _percent(spread["median"]), _percent(spread["percentile_95"]),
         *((_percent(said["targets"][size][key]) for key in ("median", "percentile_95")) if model == "simulated"
           else ("", ""))]
        for model, name in _MODELS.items() for size, where in sizes.items()
        for spread in [said["errors"][model][size]]
    ]  # fmt: skip
    columns = ("|predicted - measured| / measured", "sizes", "cells", "median", "95 % are below", "target", "target")
    _table("How far predictions are off", columns, rows)


def _winners(said: Mapping[str, Any]) -> None:
    if not said["cells"]:
        return
    wrong = [row for row in said["cells"] if not row["simulated_right"]]
    share = {model: _percent(said["share"][model]) for model in _MODELS}
    title = (
        f"Right winner, or one within {said['within']:.0%} of it: simulated {share['simulated']}, theory "
        f"{share['theory']} of {len(said['cells'])} cells. Where simulation is wrong:"
    )
    rows = [
        [str(row["ranks"]), format_bytes(row["nbytes"]), row["measured"], row["simulated"],
         f"{row['simulated_excess']:+.0%}", row["theory"], f"{row['theory_excess']:+.0%}"]
        for row in wrong
    ]  # fmt: skip
    columns = ("ranks", "size", "fastest", "simulated", "takes", "theory", "takes")
    _table(title, columns, rows or [["none", *[""] * 6]])


def _scaling(rows: Sequence[Mapping[str, Any]]) -> None:
    """Efficiency of the largest size that has most rank counts; the document has all sizes."""
    if not rows:
        return
    counts = {nbytes: len([row for row in rows if row["nbytes"] == nbytes]) for nbytes in {r["nbytes"] for r in rows}}
    size = max(counts, key=lambda nbytes: (counts[nbytes], nbytes))
    chosen = [row for row in rows if row["nbytes"] == size]
    title = f"Efficiency T(fewest ranks) / T(p) at {format_bytes(size)}, measured (simulated)"
    _over_ranks(title, chosen, "efficiency")


def _training(said: Mapping[str, Any]) -> None:
    if not said["rows"]:
        return
    title = (
        f"Efficiency of a training step that computes {format_seconds(said['compute_seconds'])} and then sums "
        f"{format_bytes(said['nbytes'])}, measured (simulated)"
    )
    _over_ranks(title, said["rows"], "efficiency")


def _over_ranks(title: str, rows: Sequence[Mapping[str, Any]], kind: str) -> None:
    counts = sorted({row["ranks"] for row in rows})
    table: dict[str, dict[int, str]] = {}
    for row in rows:
        shown = f"{row[f'measured_{kind}']:.0%} ({row[f'simulated_{kind}']:.0%})"
        table.setdefault(row["algorithm"], {})[row["ranks"]] = shown
    shown = [[name, *(cells.get(count, "") for count in counts)] for name, cells in sorted(table.items())]
    _table(title, ("algorithm", *(f"{count} ranks" for count in counts)), shown)


def _crossings(rows: Sequence[Mapping[str, Any]]) -> None:
    shown = [
        [
            row["servers"],
            row["rival"],
            f"{row['ranks']} ranks",
            *(_lead(row[name], row["rival"]) for name in ("measured", *_MODELS)),
        ]
        for row in rows
        if row["over"] == "nbytes"
    ]
    if not shown:
        return
    columns = ("servers", "against", "", "measured", *_MODELS.values())
    _table(f"Where parameter servers and allreduce overtake each other (servers {HALF}, p: of p ranks)", columns, shown)


def _lead(said: Mapping[str, Any], rival: str) -> str:
    """Who is faster, from the least size on: ``servers, ring from 26.4KiB``."""
    names = ("servers", rival) if said["first"] == "server" else (rival, "servers")
    if not said["at"]:
        return f"{names[0]} everywhere" if said["first"] != "neither" else "neither anywhere"
    later = (f"{names[(index + 1) % 2]} from {_size(at)}" for index, at in enumerate(said["at"]))
    return ", ".join([names[0], *later])


def _reasons(records: Sequence[Record]) -> None:
    used = {record.reason for record in records if record.reason}
    for term, words in WORDS.items():
        if term in used:
            print(f"{term}: {words}")


def _method(found: Scaling) -> str:
    around = found.environment
    launches = len({job["launch"] for job in around["launches"]})
    missing = len([record for record in found.records if record.measured_seconds is None])
    left_out = f" {missing} cells found no time and are listed as not measured." if missing else ""
    return (
        f"Place: {around['place']} ({around['place_reason']}), {around['library']}. Medians of single calls over "
        f"{'one launch' if launches == 1 else f'{launches} launches'} with 95 % intervals where there are 6 samples, "
        "order shuffled; every result was checked. Predictions rest on point-to-point traffic alone. A percentage "
        f"behind a reason is its part of the measured time.{left_out}"
    )


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Names to the left, numbers to the right, and never cut: a line that wraps can be read."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in _NAMES else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.width = max(console.width, console.measure(table, options=console.options.update(width=1000)).maximum)
    console.print(title, soft_wrap=True, style="bold")
    console.print(table, "")


def _time(seconds: float | None) -> str:
    return "" if seconds is None else format_seconds(seconds, digits=3)


def _size(nbytes: float) -> str:
    """In three digits, for a point between two sizes."""
    for unit, scale in (("MiB", 2**20), ("KiB", 2**10)):
        if nbytes >= scale:
            return f"{nbytes / scale:.3g}{unit}"
    return f"{nbytes:.3g}B"


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.1%}"
