"""`ciranda validate`: what the simulator predicts beside what other people measured."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.environment import collect
from experiments.errors import UsageFault
from experiments.network import Costs
from experiments.records import Record, bandwidths, document
from experiments.units import format_bytes, format_rate, format_seconds

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.published import Series
    from experiments.validation import Order, Prediction, Share

__all__ = ["SUMMARY", "Validated", "command", "summary", "validated"]

EXECUTOR = "published"
MAX_RANKS = 4096

SUMMARY = ("series", "n", "error", "formula", "≤ 1/4", "≤ 2×", "order")
"""Columns: how many runs, median errors of the simulator and of the closed form, shares of the runs that the simulator
has within a quarter and within a factor of two, and in how many pairs of algorithms it names the faster one."""

_SHORT = {"recursive_doubling": "doubling", "halving_doubling": "halving"}
"""So that a line of the table fits into 80 columns."""


@dataclass(frozen=True, slots=True)
class Validated:
    """A series, the costs fitted on its smallest scale (or known), and all its predictions."""

    series: Series
    costs: Costs
    predictions: Sequence[Prediction]

    @property
    def blind(self) -> list[Prediction]:
        """The predictions of scales that were not fitted."""
        return [one for one in self.predictions if one.blind]

    def records(self) -> Iterable[Record]:
        """One flat record a prediction; ``library`` is the series and what its authors call the algorithm."""
        for one in self.predictions:
            run = one.measurement
            algbw, busbw = bandwidths("allreduce", run.ranks, run.nbytes, run.seconds)
            yield Record(
                algorithm=one.algorithm,
                collective="allreduce",
                executor=EXECUTOR,
                library=f"{self.series.name}: {run.theirs}",
                ranks=run.ranks,
                nbytes=run.nbytes,
                dtype="",
                op="sum",
                measured_seconds=run.seconds,
                simulated_seconds=one.simulated,
                theory_seconds=one.theory,
                bound_seconds=one.bound,
                algbw=algbw,
                busbw=busbw,
            )


def command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SERIES]...", help="Such as fugaku-mpi; all if none.")
    ] = None,
    max_ranks: Annotated[
        int, typer.Option(min=1, help="Leave out larger scales, whose simulation takes minutes; 24576 for all.")
    ] = MAX_RANKS,
    as_json: Annotated[bool, typer.Option("--json", help="Print records, for machines.")] = False,
) -> None:
    """Predict measurements that other people published, and say how far off the prediction is.

    Costs are fitted on the smallest scale of a series only; all larger scales are predicted blind, and what the model
    gets wrong is shown with what it lacks.

    Example: ciranda validate deepbench-titanx
    """
    from experiments import published

    known = published.every()
    for name in names or ():
        if name not in known:
            nearest = difflib.get_close_matches(name, known, len(known), 0.0)
            raise UsageFault(f"no published series is called {name!r}; known: {', '.join(nearest)}")
    found = (validated(known[name], max_ranks) for name in names or known)
    if as_json:
        _print_json(list(found))
    else:
        _print(found)


def validated(series: Series, max_ranks: int = MAX_RANKS) -> Validated:
    """Fit on the smallest scale, then predict every scale of up to ``max_ranks`` ranks.

    UsageFault where all scales are larger. The time grows with the messages of the largest one.
    """
    from experiments import validation

    runs = [one for one in series.comparable if one.ranks <= max_ranks]
    if all(one.scale == series.on_which_fitted for one in runs):
        least = min(one.ranks for one in series.comparable if one.scale != series.on_which_fitted)
        raise UsageFault(f"{series.name}: its smallest blind scale has {least} ranks; give --max-ranks {least} or more")
    costs = validation.fit(series)
    return Validated(series, costs, validation.predict(series, costs, runs))


def _print_json(found: Sequence[Validated]) -> None:
    fits: dict[str, Any] = {
        one.series.name: {
            "source": one.series.source, "fitted": list(one.series.fitted), "fitted_on": one.series.on_which_fitted,
            **asdict(one.costs),
        }
        for one in found
    }  # fmt: skip
    records = (record for one in found for record in one.records())
    json.dump(document(records, {**collect(), "series": fits}), sys.stdout, indent=1, allow_nan=False)
    print()


def _print(found: Iterable[Validated]) -> None:
    from rich.console import Console

    console = Console()
    rows: list[list[str]] = []
    told: list[str] = []
    for one in found:
        _print_series(console, one)
        words = _words(one.series)
        for line in words if words != told else ["assumed, missing and not compared: as above"]:
            console.print(f"- {line}", markup=False, highlight=False)
        console.print()
        rows.append(summary(one))
        told = words
    console.print(
        _table(
            "Blind predictions: median error of the simulator, and of the closed form without contention",
            SUMMARY,
            rows,
        )
    )


def _print_series(console: Console, one: Validated) -> None:
    from experiments import validation

    series, costs = one.series, one.costs
    rows = [_row(share) for share in validation.shares(one.predictions)]
    columns = ("scale", "algorithm", "sizes", "n", "error", "formula", "worst", "")
    console.print(_table(f"{series.name}: {series.title} ({series.source})", columns, rows))
    for line in filter(None, (_costs(series, costs), _order(validation.order(one.blind)), _left_out(one))):
        console.print(f"- {line}", markup=False, highlight=False)


def _words(series: Series) -> list[str]:
    return [
        *(f"assumed: {text}" for text in series.assumed),
        *(f"missing: {text}" for text in series.missing),
        *(f"not compared: {name}: {why}" for name, why in series.absent.items()),
    ]


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        show_edge=False,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )
    for index, column in enumerate(columns):
        left = not index or column in ("algorithm", "sizes", "")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _row(share: Share) -> list[str]:
    worst = share.worst
    return [
        share.scale if share.blind else f"{share.scale} (fitted)",
        _SHORT.get(share.algorithm, share.algorithm),
        share.sizes,
        str(share.count),
        f"{share.median:.0%}",
        f"{share.theory_median:.0%}",
        f"{worst.error:+.0%}",
        format_bytes(worst.measurement.nbytes),
    ]


def summary(one: Validated) -> list[str]:
    """A line of the last table, of blind predictions only: the columns of ``SUMMARY``."""
    from experiments import validation

    errors = [abs(each.error) for each in one.blind]
    ratios = [max(each.error + 1, 1 / (each.error + 1)) for each in one.blind]
    found = validation.order(one.blind)
    return [
        one.series.name,
        str(len(errors)),
        f"{median(errors):.0%}",
        f"{median(abs(each.theory_error) for each in one.blind):.0%}",
        f"{sum(error <= 0.25 for error in errors) / len(errors):.0%}",
        f"{sum(ratio <= 2 for ratio in ratios) / len(ratios):.0%}",
        f"{found.right} of {found.pairs}" if found.pairs else "",
    ]


def _costs(series: Series, costs: Costs) -> str:
    rate = format_rate(1 / costs.beta)
    values = f"alpha {format_seconds(costs.alpha)}, beta {costs.beta:.3g} s ({rate}), gamma {costs.gamma:.3g} s"
    if not series.fitted:
        return f"{values}: all known beforehand, every scale is blind"
    return f"{values}: {', '.join(series.fitted)} fitted on {series.on_which_fitted} only"


def _left_out(one: Validated) -> str:
    seen = {each.measurement.scale for each in one.predictions}
    scales = [scale for scale in one.series.scales if scale not in seen]
    return f"larger than --max-ranks and left out: {', '.join(scales)}" if scales else ""


def _order(found: Order) -> str:
    if not found.pairs:
        return ""
    return (
        f"the faster of two algorithms is named in {found.right} of {found.pairs} pairs (Kendall's tau "
        f"{found.tau:.2f}), by the closed form in {found.theory_right}"
    )
