"""`ciranda draw`: pictures of schedules, read from the simulator's timeline and never drawn by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments import network
from experiments.arguments import algorithm
from experiments.errors import UsageFault
from experiments.network import costs
from experiments.units import parse_bytes

if TYPE_CHECKING:
    from collectives.catalogue import Algorithm
    from simulator import Network

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


def command(
    name: Annotated[str, typer.Argument(metavar="ALGORITHM", help="Such as ring or chain:segments=16.")],
    ranks: Annotated[int, typer.Option("-n", "--ranks", min=1, help="Number of ranks.")] = 4,
    size: Annotated[str, typer.Option(help="Bytes of the vector, such as 64KiB.")] = "1MiB",
    latency: network.Latency = None,
    bandwidth: network.Bandwidth = None,
    gamma: network.Gamma = None,
    profile: network.Measured = None,
    rounds: Annotated[bool, typer.Option("--rounds", help="One step a round instead of time.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write an .svg or .png instead of the terminal.")
    ] = None,
    language: Annotated[str, typer.Option("--lang", help="Language of the words: en or pt.")] = "en",
    theme: Annotated[
        str, typer.Option(help="auto (as the reader's system), light, dark, or inherit (the page around it).")
    ] = "auto",
) -> None:
    """Draw what every rank sends, receives and combines, and when, on a simulated network.

    Time runs to the right. Without --output the picture appears in the terminal.

    Example: ciranda draw ring -n 4 --size 1MiB --output ring.svg
    """
    entry = algorithm(name)
    if not entry.supports(ranks):
        raise UsageFault(f"{entry.label} does not work for {ranks} ranks")
    place, nbytes = costs(latency, bandwidth, gamma, profile).network(ranks), parse_bytes(size)
    if output is None:
        _to_terminal(entry, place, nbytes, rounds=rounds, language=language)
        return
    suffix = output.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise UsageFault(f"{output}: pictures are written as .svg or .png, so let the name end in one of these")
    if suffix == ".png" and theme in ("auto", "inherit"):
        theme = "light"  # pixels cannot follow their reader
    drawing = svg(entry, ranks, nbytes, place, rounds=rounds, language=language, theme=theme)
    output.write_bytes(drawing.encode() if suffix == ".svg" else png(drawing))
    typer.echo(f"wrote {output}")


def _to_terminal(entry: Algorithm, place: Network, nbytes: int, *, rounds: bool, language: str) -> None:
    from rich.console import Console

    from experiments.draw import terminal
    from simulator import simulate

    if place.size > _MOST_IN_TERMINAL:
        raise UsageFault(f"{place.size} ranks are too many for a terminal; draw them with --output {entry.name}.svg")
    console = Console()
    run = simulate(entry, place.size, nbytes, place)
    for line in terminal.lines(run, console.width, rounds=rounds, language=language):
        console.print(line)
