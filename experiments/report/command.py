"""`ciranda report`: calibrate, measure, predict, and write one page that sets the three side by side."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.errors import Failure, UsageFault
from experiments.units import parse_ranks

if TYPE_CHECKING:
    from experiments.report.results import Results
    from experiments.report.texts import Texts

__all__ = ["command"]

_RANKS = "2,4,8"

Ranks = Annotated[list[str] | None, typer.Option("-n", "--ranks", help="Rank counts.", show_default="2,4,8")]
Output = Annotated[Path, typer.Option(help="Folder for the page, and for the raw data in its folder data.")]
Language = Annotated[str, typer.Option("--lang", help="en or pt.")]
Data = Annotated[
    Path | None, typer.Option(help="Measure nothing; make the page from this results folder.", show_default=False)
]
Quick = Annotated[bool, typer.Option("--quick", help="A small grid, in less than a minute: a look, not a measurement.")]
Full = Annotated[bool, typer.Option("--full", help="All sizes up to 16 MiB and more samples, in ten minutes or more.")]
Flavour = Annotated[str, typer.Option(help="openmpi, mpich or system.", envvar="CIRANDA_MPI")]


def command(
    ranks: Ranks = None,
    output: Output = Path("report"),
    lang: Language = "en",
    data: Data = None,
    quick: Quick = False,
    full: Full = False,
    mpi: Flavour = "openmpi",
) -> None:
    """Measure this machine and write report/index.html: predicted and measured times, and why they differ.

    The page needs nothing but itself: no network, no server. The raw data lie beside it.

    Example: ciranda report --lang pt --output relatorio
    """
    from experiments.report.results import load
    from experiments.report.texts import Texts

    if quick + full + (data is not None) > 1:
        raise UsageFault("--quick, --full and --data exclude each other: choose one")
    say, raw = Texts(lang), output / "data"
    stories = _measure(raw, ranks, mpi, quick=quick, full=full) if data is None else _copy(data, raw)
    place = _write(output, load(raw), say, _commands(output, lang, mpi, ranks, quick=quick, full=full))
    typer.echo(f"wrote {place}")
    if stories:
        raise Failure(f"wrong results, marked on the page: {'; '.join(stories)}")


def _measure(raw: Path, ranks: Sequence[str] | None, mpi: str, *, quick: bool, full: bool) -> Sequence[str]:
    """Fill ``raw`` by measuring; returns a story for each wrong result."""
    from experiments.report.measuring import FULL, QUICK, USUAL, measure

    counts = parse_ranks(",".join(ranks or [_RANKS]))
    if min(counts) < 2:
        raise UsageFault("one rank has nobody to talk to: the report needs rank counts of 2 and more, such as -n 2,4")
    _make(raw)
    # Elsewhere until it is whole, so that a run that fails leaves the earlier page with the data that it links to.
    with TemporaryDirectory(dir=raw.parent, prefix=".measuring-") as name:
        stories = measure(Path(name), counts, FULL if full else QUICK if quick else USUAL, mpi)
        _replace(Path(name), [file.name for file in Path(name).iterdir()], raw)
    return stories


def _commands(
    output: Path, lang: str, mpi: str, ranks: Sequence[str] | None, *, quick: bool, full: bool
) -> tuple[str, str]:
    """What the reader types to measure again, and to make the page again from the same data."""
    same = ["ciranda", "report", "--output", str(output), "--lang", lang]
    extent = ["--full"] if full else ["--quick"] if quick else []
    counts = ["-n", ",".join(ranks)] if ranks else []
    return shlex.join([*same, *extent, *counts, "--mpi", mpi]), shlex.join([*same, "--data", str(output / "data")])


def _copy(source: Path, folder: Path) -> Sequence[str]:
    """Put the raw data of an earlier measurement beside the page, unless they lie there already."""
    from experiments.report.results import load

    files = load(source).files  # first, so that a folder that holds no results changes nothing
    if source.resolve() != folder.resolve():
        _make(folder)
        _replace(source, files, folder)
    return []


def _make(folder: Path) -> None:
    blocking = next((place for place in (folder, *folder.parents) if place.exists() and not place.is_dir()), None)
    if blocking:
        raise UsageFault(f"{blocking} is a file, and the report needs a folder there; name another with --output")
    folder.mkdir(parents=True, exist_ok=True)


def _replace(source: Path, files: Iterable[str], folder: Path) -> None:
    """Copy ``files`` into ``folder``, where our own files of an earlier measurement go and all else stays."""
    for pattern in ("samples.jsonl", "results.json", "environment.json", "profile*.json"):
        for file in folder.glob(pattern):
            file.unlink()
    for name in files:
        shutil.copyfile(source / name, folder / name)


def _write(output: Path, results: Results, say: Texts, commands: tuple[str, str]) -> Path:
    """Write the page, whole or not at all."""
    from experiments.report.drawings import drawings
    from experiments.report.page import render

    page, part = output / "index.html", output / "index.html.part"
    part.write_text(render(results, say, drawings(results, say.language), commands), encoding="utf-8")
    part.replace(page)
    return page
