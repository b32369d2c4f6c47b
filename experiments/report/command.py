"""`ciranda report`: calibrate, measure, predict, and write one page that sets the three side by side."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.chosen_profile import chosen_profile
from experiments.errors import Failure, UsageFault
from experiments.units import parse_ranks

if TYPE_CHECKING:
    from experiments.report.comparison import Side
    from experiments.report.texts import Texts

__all__ = ["command"]

_RANKS, _QUICK_RANKS = "2,3,4,5,6,8", "2,4"
_AUTO = "auto"
_QUICK_FORECAST = 4  # seconds of simulation for more hosts, with --quick

Ranks = Annotated[list[str] | None, typer.Option("-n", "--ranks", help="Rank counts.", show_default=_RANKS)]
Output = Annotated[Path, typer.Option(help="Folder for the page, and for the raw data in its folder data.")]
Language = Annotated[str, typer.Option("--lang", help="en or pt.")]
Data = Annotated[
    Path | None, typer.Option(help="Measure nothing; make the page from this results folder.", show_default=False)
]
Against = Annotated[
    Path | None,
    typer.Option(help="Compare with an earlier report or results folder: what got faster, slower.", show_default=False),
]
On = Annotated[
    str, typer.Option("--on", help="auto (an emulated cluster, else local), local, cluster, hostfile:FILE or slurm.")
]
Quick = Annotated[bool, typer.Option("--quick", help="A small grid on local ranks, in less than a minute: a look.")]
Full = Annotated[bool, typer.Option("--full", help="All sizes up to 16 MiB and more samples, in twenty minutes.")]
Profiled = Annotated[
    str | None,
    typer.Option(
        "--profile", help="Predict from this profile, a name or a file, instead of calibrating.", show_default=False
    ),
]
Flavour = Annotated[str, typer.Option(help="openmpi, mpich or system.", envvar="CIRANDA_MPI")]


def command(
    ranks: Ranks = None,
    output: Output = Path("report"),
    lang: Language = "en",
    data: Data = None,
    against: Against = None,
    on: On = _AUTO,
    quick: Quick = False,
    full: Full = False,
    profile: Profiled = None,
    mpi: Flavour = "openmpi",
) -> None:
    """Measure and write report/index.html: predicted and measured times, and why they differ.

    Measures how collectives scale on an emulated cluster, where one can be made, and then this machine itself.
    The page needs nothing but itself: no network, no server. The raw data lie beside it.

    Example: ciranda report --lang pt --output relatorio
    """
    from experiments.report import folder
    from experiments.report.comparison import side
    from experiments.report.texts import Texts

    if quick + full + (data is not None) > 1:
        raise UsageFault("--quick, --full and --data exclude each other: choose one")
    if quick and on not in (_AUTO, "local"):
        raise UsageFault(f"--quick measures local ranks; leave out --on {on}, or leave out --quick")
    if profile is not None and (quick or data is not None):
        raise UsageFault("--profile is for a measurement of scaling: leave it out with --quick and --data")
    say, raw = Texts(lang), output / "data"
    before = None if against is None else side(against)  # read first: it may be the folder that is written
    stories: Sequence[str] = ()
    if data is None:
        stories = _measure(raw, ranks, mpi, on, profile, quick=quick, full=full)
    else:
        folder.copy(data, raw)
    if before is not None:
        _compare(before, raw)
    commands = _commands(output, lang, mpi, on, ranks, quick=quick, full=full)
    place = _write(output, say, commands, quick=quick)
    typer.echo(f"wrote {place}")
    if stories:
        raise Failure(f"wrong results, marked on the page: {'; '.join(stories)}")


def _measure(
    raw: Path, ranks: Sequence[str] | None, mpi: str, on: str, profile: str | None, *, quick: bool, full: bool
) -> Sequence[str]:
    """Fill ``raw`` by measuring; returns a story for each wrong result."""
    from experiments.report import folder
    from experiments.report.measuring import FULL, QUICK, USUAL, measure, scale

    counts = parse_ranks(",".join(ranks or [_QUICK_RANKS if quick else _RANKS]))
    if min(counts) < 2:
        raise UsageFault("one rank has nobody to talk to: the report needs rank counts of 2 and more, such as -n 2,4")
    known = chosen_profile(profile, max(counts))
    folder.make(raw)
    # Elsewhere until it is whole, so that a run that fails leaves the earlier page with the data that it links to.
    with TemporaryDirectory(dir=raw.parent, prefix=".measuring-") as name:
        if quick:
            stories = measure(Path(name), counts, QUICK, mpi)
        else:
            stories = scale(Path(name), counts, FULL if full else USUAL, mpi, on, known)
        folder.replace(Path(name), raw)
    return stories


def _compare(before: Side, raw: Path) -> None:
    """Leave ``comparison.json`` with the raw data, and say in a line what it says."""
    from experiments.report import folder
    from experiments.report.comparison import compare, side

    found = compare(before, side(raw))
    folder.write_json(raw / "comparison.json", found.to_json())
    total = found.total(native=False)
    typer.echo(f"of {total.cells} cells in both, {total.faster} got faster and {total.slower} slower")


def _commands(
    output: Path, lang: str, mpi: str, on: str, ranks: Sequence[str] | None, *, quick: bool, full: bool
) -> tuple[str, str]:
    """What the reader types to measure again, and to make the page again from the same data."""
    same = ["ciranda", "report", "--output", str(output), "--lang", lang]
    extent = ["--full"] if full else ["--quick"] if quick else []
    extent += ["--on", on] if on != _AUTO else []
    counts = ["-n", ",".join(ranks)] if ranks else []
    return shlex.join([*same, *extent, *counts, "--mpi", mpi]), shlex.join([*same, "--data", str(output / "data")])


def _write(output: Path, say: Texts, commands: tuple[str, str], *, quick: bool) -> Path:
    """Write the page from the data beside it, whole or not at all."""
    from experiments.report import folder
    from experiments.report.drawings import drawings
    from experiments.report.page import Extras, render
    from experiments.report.results import load
    from experiments.report.what_if import LIMIT
    from experiments.training.comparison import records

    raw = output / "data"
    forecast = folder.forecast(raw, load(raw), _QUICK_FORECAST if quick else LIMIT)
    results = load(raw)  # again, for the files that now lie there
    extras = Extras(folder.comparison(raw), forecast, folder.local(raw), records.read(raw))
    page, part = output / "index.html", output / "index.html.part"
    part.write_text(render(results, say, drawings(results, say.language), commands, extras), encoding="utf-8")
    part.replace(page)
    return page
