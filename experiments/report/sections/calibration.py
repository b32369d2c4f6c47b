"""What a calibration holds beside α, β and γ: the fits, crowds of ranks, and the topology that was inferred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from markupsafe import Markup

from collectives.profile import PairClass, Profile
from experiments.report.plots import Figure
from experiments.report.profile_figures import ProfileFigures
from experiments.report.results import Results
from experiments.report.texts import Texts

__all__ = ["Class", "Matrix", "figures", "values"]


@dataclass(frozen=True, slots=True)
class Class:
    """Pairs that cost alike; ``costs`` are α and bandwidth with their intervals, ready to print."""

    name: str
    pairs: int
    costs: tuple[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Each pair's α and bandwidth, a row for each source; None where a pair was not measured."""

    dests: list[int]
    rows: list[tuple[int, list[str | None]]]


def values(results: Results, say: Texts) -> dict[str, Any]:
    """What the template needs: the profiles to choose from, and what each one says of its network."""
    drawn = figures(results, say)
    return {
        "profile_options": [(ranks, ranks) for ranks in drawn.get("messages", {})],
        "has_factors": "factors" in drawn,
        "networks": [
            {
                "ranks": ranks, "said": _said(profile, say), "crowd": _crowd(profile, say),
                "topology": _topology(profile, say), "classes": [_class(each, say) for each in profile.classes],
                "matrix": _matrix(profile, say),
            }
            for ranks, profile in sorted(results.profiles.items())
        ],
    }  # fmt: skip


def figures(results: Results, say: Texts) -> dict[str, dict[str, Figure]]:
    """Measured messages with both fits, their misfits, and the factors; for each profile."""
    draw = ProfileFigures(say)
    kinds = {"messages": draw.messages, "residuals": draw.residuals, "factors": draw.factors}
    found = {
        name: {
            str(ranks): figure
            for ranks, profile in sorted(results.profiles.items())
            if (figure := picture(profile)) is not None
        }
        for name, picture in kinds.items()
    }
    return {name: forms for name, forms in found.items() if forms}


def _said(profile: Profile, say: Texts) -> list[Markup]:
    """Facts that were measured beside the costs; none from a profile of an older version, which lacks them."""
    if not profile.curve:
        return []
    number = say.numbers
    eager = say("calibration.eager", size=number.about_bytes(profile.eager)) if profile.eager >= 0 else None
    found = [eager or say("calibration.eager_none")]
    if profile.changes:
        found.append(say("calibration.changes", list=", ".join(number.about_bytes(size) for size in profile.changes)))
    found.append(say(f"calibration.waiting_{profile.waiting}"))
    if profile.overhead_per_byte:
        found.append(say("calibration.per_byte", rate=number.rate(1 / profile.overhead_per_byte)))
    return found


def _crowd(profile: Profile, say: Texts) -> list[tuple[str, ...]]:
    number = say.numbers
    return [
        (
            str(each.ranks), number.seconds(each.alpha), _rate(each.beta, say), number.seconds(each.overhead),
            number.factor(median(factor for _, factor in each.duplex) if each.duplex else None),
        )
        for each in profile.crowd
    ]  # fmt: skip


def _topology(profile: Profile, say: Texts) -> Markup:
    groups: dict[int, list[str]] = {}
    for rank, group in enumerate(profile.groups):
        groups.setdefault(group, []).append(str(rank))
    listed = "; ".join(", ".join(ranks) for ranks in groups.values())
    found = [say("calibration.groups", count=len(groups), list=listed) if len(groups) > 1 else say("calibration.alike")]
    if profile.agrees is None:
        found.append(say("calibration.undeclared"))
    else:
        key = "calibration.agrees" if profile.agrees else "calibration.disagrees"
        found.append(say(key, declared=profile.declared))
    if profile.trunk:
        found.append(say("calibration.trunk", rate=say.numbers.rate(profile.trunk)))
    return Markup(" ").join(found)


def _class(each: PairClass, say: Texts) -> Class:
    def span(name: str) -> str:
        ends = each.intervals.get(name)
        if not ends:
            return ""
        low, high = (say.numbers.seconds(end) for end in ends)
        if name == "beta":  # a high cost is a low bandwidth
            high, low = (_rate(end, say) for end in ends)
        return str(say("calibration.interval", low=low, high=high))

    costs = (say.numbers.seconds(each.alpha), span("alpha")), (_rate(each.beta, say), span("beta"))
    return Class(str(say.get(f"calibration.{each.name}") or each.name), each.pairs, costs)


def _matrix(profile: Profile, say: Texts) -> Matrix | None:
    if not profile.pairs:
        return None
    known: Mapping[tuple[int, int], str] = {
        (pair.source, pair.dest): f"{say.numbers.seconds(pair.alpha)} · {_rate(pair.beta, say)}"
        for pair in profile.pairs
    }
    ranks = sorted({rank for pair in known for rank in pair})
    return Matrix(ranks, [(source, [known.get((source, dest)) for dest in ranks]) for source in ranks])


def _rate(beta: float, say: Texts) -> str:
    return say.numbers.rate(1 / beta if beta else None)
