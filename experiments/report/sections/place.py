"""The section that says where the ranks ran, and how busy they kept its cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from markupsafe import Markup

from experiments.report.findings import landmarks, ours
from experiments.report.place import LOCAL
from experiments.report.results import Cell, Results
from experiments.report.texts import Texts

__all__ = ["Busy", "Use", "values"]

_LISTED = 4  # as many unmeasured cells are named


@dataclass(frozen=True, slots=True)
class Use:
    """CPU ``seconds`` of a rank in a call, and the ``share`` of all cores' time that the ranks used together."""

    seconds: float
    share: float


@dataclass(frozen=True, slots=True)
class Busy:
    """CPU use at a small, a medium and a large size: a row for each rank count."""

    sizes: Sequence[int]
    rows: Sequence[tuple[int, Sequence[Use | None]]]


def values(results: Results, say: Texts) -> dict[str, Any]:
    """What the template needs: ``place``, ``busy`` and ``unmeasured``."""
    return {
        "place": {"lead": _lead(results, say), "facts": _facts(results, say)},
        "busy": _busy(results),
        "unmeasured": _unmeasured(results, say),
    }


def _lead(results: Results, say: Texts) -> Markup:
    place, cores = results.place, results.cores or "?"
    if place.emulated:
        rate = place.facts.get("rate")
        shown = say.numbers.line_rate(rate) if isinstance(rate, (int, float)) else "?"
        return say("place.cluster", hosts=place.facts.get("hosts", "?"), rate=shown, cores=cores)
    if place.name != LOCAL:
        return say("place.other", name=place.name)
    local = say("place.local", ranks=", ".join(map(str, results.ranks)), cores=cores)
    return local + Markup(" ") + say("place.reason", reason=place.reason) if place.reason else local


def _facts(results: Results, say: Texts) -> list[tuple[Markup, str]]:
    known, number = results.place.facts, say.numbers
    forms = {"rate": number.line_rate, "delay": number.seconds}
    found: list[tuple[Markup, str]] = []
    for key in ("hosts", "rate", "delay", "topology", "oversubscription"):
        value = known.get(key)
        if value not in (None, "", 0):
            shown = forms[key](value) if key in forms and isinstance(value, (int, float)) else str(value)
            found.append((say(f"place.{key}"), shown))
    return found


def _busy(results: Results) -> Busy | None:
    used = [cell for cell in ours(results.cells) if cell.cpu is not None]
    if not used or not results.cores:
        return None
    sizes, cores = landmarks(cell.nbytes for cell in used), results.cores

    def use(ranks: int, size: int) -> Use | None:
        here = [cell for cell in used if (cell.ranks, cell.nbytes) == (ranks, size)]
        if not here:
            return None
        return Use(median(cell.cpu or 0.0 for cell in here), median(_share(cell, cores) for cell in here))

    return Busy(sizes, [(ranks, [use(ranks, size) for size in sizes]) for ranks in results.ranks])


def _share(cell: Cell, cores: int) -> float:
    return cell.ranks * (cell.cpu or 0.0) / (cores * cell.seconds)


def _unmeasured(results: Results, say: Texts) -> Markup | None:
    missing = sorted(results.unmeasured, key=lambda record: record.is_native)  # last, as nothing predicts it
    if not missing:
        return None
    number = say.numbers
    named = [
        say(
            "place.unmeasured_at", algorithm=record.algorithm, size=number.nbytes(record.nbytes), ranks=record.ranks,
            time=number.seconds(record.simulated_seconds),
        )
        for record in missing[:_LISTED]
    ]  # fmt: skip
    if len(missing) > _LISTED:
        named.append(say("place.unmeasured_more", count=len(missing) - _LISTED))
    return say("place.unmeasured", count=len(missing), list=Markup(", ").join(named))
