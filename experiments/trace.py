"""`ciranda trace`: a simulated run as other tools read it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from experiments.conditions import ConditionOptions
from experiments.errors import UsageFault
from experiments.network import NetworkOptions
from experiments.option_groups import grouped
from experiments.single import RunOptions, played

if TYPE_CHECKING:
    from simulator import Run

__all__ = ["command"]

_FORMATS = ".json (Perfetto), .goal (LogGOPSim), .paje, or a folder or .ti (SMPI)"


@grouped
def command(
    name: Annotated[str, typer.Argument(metavar="ALGORITHM", help="Such as ring or chain:segments=16.")],
    *,
    what: RunOptions,
    output: Annotated[Path, typer.Option("-o", "--output", help=f"What to write, by its ending: {_FORMATS}.")],
    place: NetworkOptions,
    disturbance: ConditionOptions,
) -> None:
    """Write a simulated run for Perfetto, LogGOPSim, Paje viewers or SimGrid.

    GOAL and SMPI traces hold what the ranks do, so that the tool that reads them simulates it; a folder for SMPI also
    holds the network as a platform of SimGrid. The others hold when everything happened here.

    Example: ciranda trace ring -n 8 --size 1MiB --network star -o trace.json
    """
    write = _writer(output)
    write(played(name, what, place, disturbance), output)
    typer.echo(f"wrote {output}")


def _writer(output: Path) -> Callable[[Run, Path], None]:
    from simulator.exports import goal, paje, perfetto, smpi

    texts: dict[str, Callable[[Run, TextIO], None]] = {
        ".json": perfetto.write,
        ".goal": goal.write,
        ".paje": paje.write,
        ".ti": smpi.write,
    }
    if not output.parent.is_dir():
        raise UsageFault(f"{output}: there is no folder {output.parent}")
    if output.is_dir() or not output.suffix:
        return _folder
    if output.suffix.lower() not in texts:
        raise UsageFault(f"{output}: a trace is written as {_FORMATS}")
    return partial(_file, texts[output.suffix.lower()])


def _folder(run: Run, folder: Path) -> None:
    from simulator.exports import platform, smpi

    smpi.write_folder(run, folder)
    try:
        network = platform.text(run.network)
    except ValueError as reason:
        typer.echo(f"no platform.xml: {reason}", err=True)
        return
    hosts = "".join(f"{name}\n" for name in platform.host_names(run.network))
    for name, text in (("platform.xml", network), ("hosts.txt", hosts)):
        _file(lambda _, stream, text=text: print(text, end="", file=stream), run, folder / name)


def _file(write: Callable[[Run, TextIO], None], run: Run, file: Path) -> None:
    """Write under another name first, so that nobody ever finds half of a trace."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8") as stream:
            write(run, stream)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
