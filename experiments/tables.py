"""Tables on the terminal: a title, right-aligned numbers behind a first column of names."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["show"]


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table and an empty line; columns move apart where the terminal is wide enough."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    gap = 1 if console.width >= 100 else 0
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", show_edge=False, padding=(0, gap))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold", no_wrap=bool(index))
    for row in rows:
        table.add_row(*row)
    console.print(table, "")
