"""The page's sentences and cards: findings put into words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup

from experiments.report.findings import Contest, accuracy, contests, landmarks, ours
from experiments.report.judgement import spreads
from experiments.report.reasons import Fit, Reason, reasons
from experiments.report.results import Cell, Results
from experiments.report.texts import Texts

__all__ = ["Card", "beats", "cards", "headlines", "notices", "reason_texts"]

_NAMED = 2  # as many rivals of a winner are named, and more are counted
_PERCENT = ("share", "gap", "width")
_FACTORS = ("factor", "fitting", "crowded", "typical", "worst")
_BUSY = 0.5  # a load of half the cores before anything was measured is too much


@dataclass(frozen=True, slots=True)
class Card:
    """One large number: what it is, the number, and how it is defined."""

    label: Markup
    value: str
    note: Markup


def notices(results: Results, say: Texts) -> list[tuple[str, Markup]]:
    """``(class, text)`` of what a reader must know before believing a number."""
    found: list[tuple[str, Markup]] = []
    cores = results.cores
    wrong = sorted({cell.algorithm for cell in results.cells if cell.correct is False})
    if wrong:
        found.append(("bad", say("notice.wrong", names=", ".join(wrong))))
    crowded = sorted({cell.ranks for cell in results.cells if cell.oversubscribed})
    if crowded:
        found.append(("", say("notice.crowded", ranks=_listed(map(str, crowded), say), cores=cores or "?")))
    if cores and results.load and results.load > _BUSY * cores:
        found.append(("", say("notice.load", load=say.numbers.plain(results.load), cores=cores)))
    if any(cell.theory is None for cell in ours(results.cells)) or not _calibrated(results):
        found.append(("", say("notice.unpriced")))
    return found


def cards(results: Results, say: Texts) -> list[Card]:
    """The numbers at the top."""
    number, cells = say.numbers, ours(results.cells)
    total, fought = accuracy(cells, ""), contests(results.cells)
    found = [
        Card(
            say("summary.theory"),
            number.percent(total.theory),
            say(
                "summary.theory_note",
                cells=len(cells),
                simulated=number.percent(total.simulated),
                factor=number.factor(total.factor),
            ),
        )
    ]
    found += _simulator(results.cells, say)
    lost = [regret for contest in fought if (regret := contest.regret("theory"))]
    if lost:
        agreed = sum(contest.right("theory") is True for contest in fought)
        note = say("summary.choice_note", agreed=agreed, contests=len(fought))
        found.append(Card(say("summary.choice"), number.factor(median(lost)), note))
    found += _against_native(fought, results.kind.library, say)
    cores = results.cores or "?"
    ranks = _listed(map(str, results.ranks), say)
    found.append(Card(say("summary.cores"), ranks, say("summary.cores_note", cores=cores)))
    return found


def headlines(results: Results, say: Texts) -> list[Markup]:
    """Who is fastest at small, medium and large sizes, and how right theory was, one sentence each."""
    lines: list[Markup] = []
    for ranks in results.ranks:
        here = [contest for contest in contests(results.cells) if contest.ranks == ranks]
        marks = landmarks(contest.nbytes for contest in here)
        chosen = [contest for contest in here if contest.nbytes in marks]
        if chosen:
            key = "summary.crowded" if chosen[0].oversubscribed else "summary.winners"
            lines.append(say(key, ranks=ranks, list=_joined((_winner(contest, say) for contest in chosen), say)))
    total = accuracy(results.cells, "")
    if total.fitting is not None and total.crowded is not None:
        percent = say.numbers.percent
        lines.append(say("summary.error", fitting=percent(total.fitting), crowded=percent(total.crowded)))
    return lines


def beats(cells: Iterable[Cell], say: Texts) -> Markup | None:
    """A word on the cells that were faster than the lower bound, where there are any."""
    bounded = [cell for cell in ours(cells) if cell.bound]
    below = sum(cell.high < cell.bound for cell in bounded if cell.bound)
    return say("measured.beats", count=below, cells=len(bounded)) if below else None


def reason_texts(results: Results, fitted: Sequence[Fit], say: Texts) -> list[Markup]:
    """The reasons why theory and measurement differ, in words."""
    return [_reason(reason, say) for reason in reasons(results.cells, fitted)]


def _simulator(cells: Sequence[Cell], say: Texts) -> list[Card]:
    """How far the simulator is off from 64 KiB up and below, where it was measured in both."""
    by_band = {spread.band: spread for spread in spreads(cells) if spread.model == "simulated"}
    if len(by_band) < 2:
        return []
    percent, large, small = say.numbers.percent, by_band["large"], by_band["small"]
    note = say(
        "summary.simulator_note", high=percent(large.high), small=percent(small.median), small_high=percent(small.high)
    )
    return [Card(say("summary.simulator"), percent(large.median), note)]


def _against_native(fought: Sequence[Contest], library: str, say: Texts) -> list[Card]:
    """The fastest of ours beside the library's own, at the fewest ranks and the largest size that both have."""
    for contest in reversed([contest for contest in fought if contest.ranks == fought[0].ranks]):
        if contest.winner.speed:
            value, low, high = map(say.numbers.factor, contest.winner.speed)
            where = {"ranks": contest.ranks, "size": say.numbers.nbytes(contest.nbytes)}
            note = say("summary.native_note", library=library, low=low, high=high, **where)
            return [Card(say("summary.native", library=library), value, note)]
    return []


def _calibrated(results: Results) -> bool:
    profiles = [results.profile(ranks) for ranks in results.ranks]
    return all(profile is not None and profile.measured for profile in profiles)


def _winner(contest: Contest, say: Texts) -> Markup:
    size = say.numbers.nbytes(contest.nbytes)
    if contest.tied and len(contest.tied) == contest.rivals:
        return say("summary.tied_all", size=size)
    if not contest.tied:
        return say("summary.winner", algorithm=contest.winner.algorithm, size=size)
    if len(contest.tied) > _NAMED:
        return say("summary.tied_many", algorithm=contest.winner.algorithm, size=size, count=len(contest.tied))
    tied = _listed((cell.algorithm for cell in contest.tied), say)
    return say("summary.tied", algorithm=contest.winner.algorithm, size=size, tied=tied)


def _reason(reason: Reason, say: Texts) -> Markup:
    """The reason in words; what is true of several rank counts lists them."""
    shown = [_shown(values, say) for values in reason.values]
    if "ranks" not in shown[0]:
        return say(f"why.{reason.key}", **shown[0])
    return say(f"why.{reason.key}", list=_joined((say(f"why.{reason.key}_at", **values) for values in shown), say))


def _shown(values: Mapping[str, float], say: Texts) -> dict[str, str]:
    """Each number in the unit that its name implies."""
    number = say.numbers
    forms: dict[str, Callable[[float], str]] = dict.fromkeys(_PERCENT, number.percent)
    forms |= dict.fromkeys(_FACTORS, number.factor)
    forms |= {"nbytes": lambda value: number.nbytes(int(value)), "ranks": lambda value: str(int(value))}
    return {name: forms.get(name, number.seconds)(value) for name, value in values.items()}


def _listed(names: Iterable[str], say: Texts) -> str:
    """``a, b and c``."""
    parts = list(names)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {say('page.and')} {parts[-1]}" if parts else ""


def _joined(parts: Iterable[Markup], say: Texts) -> Markup:
    """The same of texts that are HTML already."""
    texts = list(parts)
    last = Markup(" {} ").format(say("page.and"))
    return Markup("").join([Markup(", ").join(texts[:-1]), last if len(texts) > 1 else Markup(""), texts[-1]])
