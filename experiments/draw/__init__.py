"""`ciranda draw`: pictures of schedules, read from the simulator's timeline and never drawn by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.conditions import ConditionOptions
from experiments.errors import UsageFault
from experiments.network import NetworkOptions
from experiments.option_groups import grouped
from experiments.single import RunOptions, played

if TYPE_CHECKING:
    from collectives.catalogue import Algorithm
    from simulator import Network, Run

__all__ = ["command", "png", "svg"]

_MOST_IN_TERMINAL = 32


def svg(
    algorithm: Algorithm,
    size: int,
    nbytes: int,
    network: Network,
    *,
    rounds: bool = False,
    language: str = "en",
    theme: str = "auto",
    critical_path: bool = False,
) -> str:
    """The space-time diagram of ``algorithm`` for ``size`` ranks and ``nbytes`` bytes on ``network``, as SVG.

    ``rounds``: one step a round instead of time. ``language``: ``en`` or ``pt``. ``theme``: ``auto`` follows the
    reader's preference, ``light`` and ``dark`` are fixed, ``inherit`` takes the ``color`` of the page around it.
    ``critical_path``: highlight what the end of the run waited for.
    Raises UsageFault for another language or theme, and ValueError for what ``simulate`` refuses.
    """
    from experiments.draw import diagram
    from simulator import simulate

    run = simulate(algorithm, size, nbytes, network)
    return diagram.svg(run, rounds=rounds, language=language, theme=theme, critical_path=critical_path)


def png(drawing: str, scale: float = 2.0) -> bytes:
    """An SVG of ``svg`` with a fixed theme as PNG, ``scale`` pixels a unit, in a font that comes with Matplotlib."""
    import matplotlib as mpl
    import resvg_py

    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return resvg_py.svg_to_bytes(
        svg_string=drawing,
        zoom=scale,  # pyright: ignore[reportArgumentType] - its stub says int, and its code takes fractions too
        skip_system_fonts=True,
        font_files=[str(fonts / "DejaVuSans.ttf"), str(fonts / "DejaVuSans-Bold.ttf")],
        sans_serif_family="DejaVu Sans",
    )


@grouped
def command(
    name: Annotated[str, typer.Argument(metavar="ALGORITHM", help="Such as ring or chain:segments=16.")],
    *,
    what: RunOptions,
    rounds: Annotated[bool, typer.Option("--rounds", help="One step a round instead of time.")] = False,
    critical_path: Annotated[
        bool, typer.Option("--critical-path", help="Highlight what the end of the run waited for.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write an .svg or .png instead of the terminal.")
    ] = None,
    links: Annotated[
        Path | None, typer.Option(help="Write how much of every link is used when, as .svg or .png.")
    ] = None,
    animate: Annotated[
        Path | None, typer.Option(help="Write a page that plays a small run step by step, as .html.")
    ] = None,
    language: Annotated[str, typer.Option("--lang", help="Language of the words: en or pt.")] = "en",
    theme: Annotated[
        str, typer.Option(help="auto (as the reader's system), light, dark, or inherit (the page around it).")
    ] = "auto",
    place: NetworkOptions,
    disturbance: ConditionOptions,
) -> None:
    """Draw what every rank sends, receives and combines, and when, on a simulated network.

    Time runs to the right. Without a file to write the picture appears in the terminal.

    Example: ciranda draw ring -n 4 --size 1MiB --critical-path --output ring.svg
    """
    wanted = {output: (".svg", ".png"), links: (".svg", ".png"), animate: (".html",)}
    for file, suffixes in wanted.items():
        if file is not None and file.suffix.lower() not in suffixes:
            raise UsageFault(
                f"{file}: such a picture is written as {' or '.join(suffixes)}, so let the name end in {suffixes[0]}"
            )
    run = played(name, what, place, disturbance)
    if output is None and links is None and animate is None:
        _to_terminal(run, rounds=rounds, critical_path=critical_path, language=language)
    if output is not None:
        from experiments.draw import diagram

        look = _readable(theme, output)
        _write(
            output,
            diagram.svg(run, rounds=rounds, language=language, theme=look, critical_path=critical_path),
        )
    if links is not None:
        from experiments.draw import links as heat_map

        _write(links, heat_map.svg(run, language=language, theme=_readable(theme, links)))
    if animate is not None:
        from experiments.draw import animation

        _write(animate, animation.html(run, language))


def _readable(theme: str, file: Path) -> str:
    """Pixels cannot follow their reader, so they have a theme of their own."""
    return "light" if file.suffix.lower() == ".png" and theme in ("auto", "inherit") else theme


def _write(file: Path, drawing: str) -> None:
    file.write_bytes(png(drawing) if file.suffix.lower() == ".png" else drawing.encode())
    typer.echo(f"wrote {file}")


def _to_terminal(run: Run, *, rounds: bool, critical_path: bool, language: str) -> None:
    from rich.console import Console

    from experiments.draw import terminal
    from simulator.explanation import explain

    if run.size > _MOST_IN_TERMINAL:
        raise UsageFault(
            f"{run.size} ranks are too many for a terminal; draw them with --output {run.algorithm.name}.svg"
        )
    console = Console()
    for line in terminal.lines(run, console.width, rounds=rounds, language=language):
        console.print(line)
    if critical_path:
        console.print("", *explain(run).words(language), sep="\n", markup=False, highlight=False)
