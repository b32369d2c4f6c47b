"""The page's tables: rows for the template, with nothing formatted that the template can format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, cast

from collectives.profile import Fitted, Profile
from experiments.report.findings import Accuracy, Contest, accuracy, contests, landmarks, ours
from experiments.report.judgement import winners
from experiments.report.palette import Series
from experiments.report.results import Cell, Model, Results
from experiments.report.texts import Texts

__all__ = [
    "Calibration", "Map", "Podium", "Square", "Step", "Times", "accuracies", "calibrations", "everything", "facts",
    "maps", "moment", "podium", "times",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Times:
    """The cells of one rank count: a row for each algorithm, a column for each size, None where there is no cell."""

    ranks: int
    sizes: Sequence[int]
    rows: Sequence[tuple[Series, Sequence[Cell | None]]]


@dataclass(frozen=True, slots=True)
class Square:
    """One cell of a crossover map."""

    look: Series
    names: str
    more: str
    note: str
    missed: bool


@dataclass(frozen=True, slots=True)
class Map:
    """A crossover map: for each rank count a square at each size; ``share`` says how often it is right."""

    title: str
    share: str
    rows: Sequence[tuple[int, Sequence[Square | None]]]


@dataclass(frozen=True, slots=True)
class Step:
    """The fastest algorithm at one rank count and size, and how many cannot be told from it."""

    look: Series
    cell: Cell
    tied: int


@dataclass(frozen=True, slots=True)
class Podium:
    """The fastest at a small, a medium and a large size: a row for each rank count."""

    sizes: Sequence[int]
    rows: Sequence[tuple[int, Sequence[Step | None]]]


@dataclass(frozen=True, slots=True)
class Calibration:
    """One profile: ``costs`` are pairs of a value and its interval, in the order of the table's columns."""

    ranks: int
    guess: bool
    costs: Sequence[tuple[str, str]]
    points: Sequence[Fitted]


def times(results: Results, looks: Mapping[str, Series]) -> list[Times]:
    """One table of cells for each rank count."""
    at = {(cell.ranks, cell.nbytes, cell.algorithm): cell for cell in results.cells}
    tables: list[Times] = []
    for ranks in results.ranks:
        here = [cell for cell in results.cells if cell.ranks == ranks]
        sizes = sorted({cell.nbytes for cell in here})
        present = {cell.algorithm for cell in here}
        rows = [
            (look, [at.get((ranks, size, name)) for size in sizes]) for name, look in looks.items() if name in present
        ]
        tables.append(Times(ranks, sizes, rows))
    return tables


def podium(results: Results, looks: Mapping[str, Series]) -> Podium:
    """The winners at the landmark sizes that all rank counts have (of all sizes, where they share none)."""
    fought = {(contest.ranks, contest.nbytes): contest for contest in contests(results.cells)}
    shared = [size for size in results.sizes if all((ranks, size) in fought for ranks in results.ranks)]
    sizes = landmarks(shared or results.sizes)

    def step(contest: Contest | None) -> Step | None:
        return contest and Step(looks[contest.winner.algorithm], contest.winner, len(contest.tied))

    rows = [(ranks, [step(fought.get((ranks, size))) for size in sizes]) for ranks in results.ranks]
    return Podium(sizes, rows)


def accuracies(results: Results, looks: Mapping[str, Series]) -> list[tuple[Series | None, Accuracy]]:
    """The errors of every algorithm, smallest first, and of all together under None at the end."""
    cells = ours(results.cells)
    names = [name for name, look in looks.items() if not look.native]
    rows = [accuracy((cell for cell in cells if cell.algorithm == name), name) for name in names]
    rows.sort(key=lambda row: (row.theory is None, row.theory))
    return [*((looks[row.algorithm], row) for row in rows), (None, accuracy(cells, ""))]


def maps(results: Results, looks: Mapping[str, Series], say: Texts) -> list[Map]:
    """Who wins at each rank count and size: as measured, as simulated, and as theory says."""
    fought = {(contest.ranks, contest.nbytes): contest for contest in contests(results.cells)}

    def rows(square: Callable[[Contest], Square | None]) -> list[tuple[int, list[Square | None]]]:
        return [
            (ranks, [square(contest) if (contest := fought.get((ranks, size))) else None for size in results.sizes])
            for ranks in results.ranks
        ]

    found = [Map(say("winners.measured"), "", rows(lambda contest: _measured(contest, looks, say)))]
    for judged in reversed(winners(results.cells)):
        model = judged.model
        share = say(
            "winners.right", right=judged.right, contests=judged.contests, share=say.numbers.percent(judged.share)
        )
        drawn = rows(lambda contest, model=model: _picked(contest, model, looks, say))
        found.append(Map(say(f"winners.{model}"), share, drawn))
    return found


def calibrations(results: Results, say: Texts) -> list[Calibration]:
    """The profiles by rank count, their numbers ready to print."""
    return [_calibration(profile, say) for _, profile in sorted(results.profiles.items())]


def facts(results: Results, say: Texts) -> list[tuple[str, str]]:
    """The machine and the software in a few lines."""
    known = results.environment
    memory = known.get("memory_bytes")
    packages = known.get("packages")
    lines = [
        ("cpu", known.get("cpu")),
        ("cores", known.get("cores")),
        ("memory", say.numbers.nbytes(round(memory / 2**30) * 2**30) if isinstance(memory, int) else None),
        ("system", known.get("system")),
        ("library", results.kind.library),
        ("python", known.get("python")),
        ("packages", _pairs(cast("Mapping[str, Any]", packages)) if isinstance(packages, Mapping) else None),
        ("ciranda", " · ".join(str(known[key]) for key in ("ciranda", "revision") if known.get(key))),
        ("load", say.numbers.plain(results.load)),
        ("created", moment(known.get("created"))),
    ]
    return [(str(say(f"environment.{key}")), str(value)) for key, value in lines if value not in (None, "")]


def moment(stamp: object) -> str:
    """An ISO time stamp as people write it."""
    return str(stamp or "–").replace("T", " ").replace("+00:00", " UTC")


def everything(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The whole environment, nested keys joined by dots."""
    return [(".".join(keys), str(value)) for keys, value in _leaves((), environment)]


def _leaves(keys: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        inner = [(str(key), item) for key, item in cast("Mapping[str, Any]", value).items()]
    elif isinstance(value, list):
        inner = [(str(index), item) for index, item in enumerate(cast("list[Any]", value), 1)]
    else:
        yield keys, value
        return
    for key, item in inner:
        yield from _leaves((*keys, key), item)


def _measured(contest: Contest, looks: Mapping[str, Series], say: Texts) -> Square:
    names = ", ".join(cell.algorithm for cell in (contest.winner, *contest.tied))
    note = say.numbers.seconds(contest.winner.seconds)
    return Square(looks[contest.winner.algorithm], names, _more(len(contest.tied), say), note, missed=False)


def _picked(contest: Contest, model: Model, looks: Mapping[str, Series], say: Texts) -> Square | None:
    picks = contest.picks[model]
    if not picks:
        return None
    right = contest.right(model)
    note = f"{'✓' if right else '✗'} {say.numbers.factor(contest.regret(model))}"
    names = ", ".join(cell.algorithm for cell in picks)
    return Square(looks[picks[0].algorithm], names, _more(len(picks) - 1, say), note, missed=not right)


def _more(count: int, say: Texts) -> str:
    return str(say("winners.tied", count=count)) if count else ""


def _calibration(profile: Profile, say: Texts) -> Calibration:
    number = say.numbers
    duplex = [factor for _, factor in profile.duplex]
    misfits = [abs(point.residual) for point in profile.points if point.pattern == "pingpong"]
    costs = [
        (number.seconds(profile.alpha), _span(profile, "alpha", number.seconds, say)),
        (_bandwidth(profile.beta, say), _span(profile, "beta", lambda cost: _bandwidth(cost, say), say)),
        (_bandwidth(profile.gamma, say), _span(profile, "gamma", lambda cost: _bandwidth(cost, say), say)),
        (number.seconds(profile.overhead), _span(profile, "overhead", number.seconds, say)),
        (
            number.factor(median(duplex) if duplex else None),
            str(say("calibration.worst", worst=number.factor(max(duplex)))) if duplex else "",
        ),
        (number.percent(median(misfits) if misfits else None), ""),
    ]
    return Calibration(profile.ranks, not profile.measured, costs, profile.points)


def _span(profile: Profile, name: str, shown: Callable[[float], str], say: Texts) -> str:
    ends = profile.intervals.get(name)
    if not ends:
        return ""
    low, high = ends if shown(1.0) == say.numbers.seconds(1.0) else reversed(ends)  # a high cost is a low bandwidth
    return str(say("calibration.interval", low=shown(low), high=shown(high)))


def _bandwidth(cost: float, say: Texts) -> str:
    """Seconds per byte as bytes per second."""
    return say.numbers.rate(1 / cost if cost else None)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
