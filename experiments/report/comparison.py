"""Two measurements held against each other: which cells got faster or slower, and whether chance can tell it.

Times of one cell in two measurements are two independent samples, so they get the rank-sum test (Mann and Whitney,
1947), which assumes no distribution. The many tests are corrected together for false discoveries (Benjamini and
Hochberg, 1995). All cells together are pairs, so they get the signed-rank test (Wilcoxon, 1945) on the logarithms.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple, cast

from scipy import stats

from experiments import samples as raw
from experiments.errors import UsageFault
from experiments.report.results import Cell, Results, load
from experiments.statistics import Estimate, median_ratio

__all__ = ["LEVEL", "SCHEMA", "Change", "Comparison", "Difference", "Side", "Total", "compare", "side"]

SCHEMA = 1
"""Version of ``comparison.json``."""

_KIND = "ciranda-comparison"

LEVEL = 0.05
"""Share of false discoveries that is put up with among the cells called faster or slower."""

_FEWEST = 6  # pairs, for a signed-rank test at 5 % to be able to find anything
_MACHINE = ("cpu", "cores", "system", "python", "mpi")
_PACKAGES = ("numpy", "mpi4py")

Verdict = Literal["faster", "slower", "same", "untested"]


class _Key(NamedTuple):
    algorithm: str
    ranks: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two measurements: its results, and the seconds of every sample of each cell."""

    results: Results
    samples: Mapping[_Key, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Change:
    """One cell in both measurements; ``old`` and ``new`` are median seconds.

    ``speed`` is old / new (above 1: faster now) with its 95 % interval. ``p`` is the rank-sum test's, ``adjusted`` the
    same corrected for all cells; both None where a side has no samples to test.
    """

    algorithm: str
    native: bool
    ranks: int
    nbytes: int
    old: float
    new: float
    speed: Estimate
    p: float | None
    adjusted: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Total:
    """Several cells together: the median of their speeds, and the signed-rank test that they are 1 (None: too few)."""

    cells: int
    speed: float | None
    p: float | None
    faster: int
    slower: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Something beside the program that was not the same in both, so that times may differ for its sake."""

    key: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed from ``before`` to now; ``only_old`` and ``only_new`` count cells that one side lacks."""

    before: Mapping[str, Any]
    changes: Sequence[Change]
    only_old: int
    only_new: int
    differences: Sequence[Difference]

    def total(self, *, native: bool) -> Total:
        """Our algorithms together, or the MPI library's own."""
        group = [change for change in self.changes if change.native == native]
        counts = {verdict: sum(change.verdict == verdict for change in group) for verdict in ("faster", "slower")}
        speeds = [change.speed.value for change in group]
        return Total(len(group), median(speeds) if speeds else None, _signed_rank(speeds), **counts)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Comparison:
        """What ``to_json`` wrote; raises UsageFault for anything else."""
        if content.get("kind") != _KIND or content.get("schema") != SCHEMA:
            raise UsageFault(f"this is no comparison of schema {SCHEMA}; compare anew with --against")
        try:
            changes = [_unflattened(item) for item in content["changes"]]
            differences = [Difference(**item) for item in content["differences"]]
            return cls(content["before"], changes, content["only_old"], content["only_new"], differences)
        except (KeyError, TypeError) as problem:
            raise UsageFault(f"the comparison is not complete ({problem}); compare anew with --against") from None

    def to_json(self) -> dict[str, Any]:
        """The content of ``comparison.json``: one record for each cell, times in seconds."""
        return {
            "schema": SCHEMA,
            "kind": _KIND,
            "before": dict(self.before),
            "only_old": self.only_old,
            "only_new": self.only_new,
            "differences": [asdict(difference) for difference in self.differences],
            "changes": [_flat(change) for change in self.changes],
        }


def side(folder: Path) -> Side:
    """A folder of results, or of a report that has one within; a UsageFault says what is wrong with it."""
    place = folder if (folder / "results.json").is_file() or not (folder / "data").is_dir() else folder / "data"
    results = load(place)
    return Side(results, _samples(place / "samples.jsonl", results))


def compare(before: Side, now: Side) -> Comparison:
    """Every cell that both have, tested; ordered by ranks, size and algorithm."""
    old, new = _cells(before.results), _cells(now.results)
    shared = sorted(old.keys() & new.keys(), key=lambda key: (key.ranks, key.nbytes, key.algorithm))
    changes = [
        _change(old[key], new[key], before.samples.get(key, ()), now.samples.get(key, ())) for key in shared
    ]  # fmt: skip
    return Comparison(
        before.results.environment,
        _judged(changes),
        len(old.keys() - new.keys()),
        len(new.keys() - old.keys()),
        _differences(before.results, now.results),
    )


def _cells(results: Results) -> dict[_Key, Cell]:
    return {_Key(cell.algorithm, cell.ranks, cell.nbytes): cell for cell in results.cells}


def _samples(path: Path, results: Results) -> dict[_Key, list[float]]:
    """The timed samples of the kind that the results are of; none where the file is not there."""
    found: dict[_Key, list[float]] = defaultdict(list)
    if not path.is_file():
        return found
    wanted = results.kind.dtype, results.kind.op, results.kind.in_place
    try:
        for line in raw.read(path):
            kind = line.get("dtype"), line.get("op"), line.get("in_place")
            if kind == wanted and not line["warmup"] and line["seconds"] > 0:
                found[_Key(line["algorithm"], line["ranks"], line["nbytes"])].append(line["seconds"])
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise UsageFault(f"{path} holds no samples of Ciranda ({type(problem).__name__}: {problem})") from None
    return found


def _change(old: Cell, new: Cell, before: Sequence[float], now: Sequence[float]) -> Change:
    tested = len(before) > 1 and len(now) > 1
    # From the medians of the results where there are no samples; the interval then joins the opposite ends.
    ends = (old.low / new.high, old.high / new.low) if old.low < old.high and new.low < new.high else (None, None)
    speed = median_ratio(before, now) if tested else Estimate(old.seconds / new.seconds, *ends)
    p = float(stats.mannwhitneyu(before, now, alternative="two-sided").pvalue) if tested else None
    return Change(
        new.algorithm, new.native, new.ranks, new.nbytes, old.seconds, new.seconds, speed, p, None, "untested"
    )  # fmt: skip


def _judged(changes: Sequence[Change]) -> list[Change]:
    """The changes with their tests corrected for how many there are."""
    tested = [change.p for change in changes if change.p is not None]
    adjusted = iter(stats.false_discovery_control(tested, method="bh").tolist() if tested else [])
    return [
        change if change.p is None else _with_verdict(replace(change, adjusted=float(next(adjusted))))
        for change in changes
    ]


def _with_verdict(change: Change) -> Change:
    low, high = change.speed.low, change.speed.high
    open_ = low is not None and high is not None and low <= 1 <= high
    if change.adjusted is None or change.adjusted >= LEVEL or open_ or change.speed.value == 1:
        return replace(change, verdict="same")
    return replace(change, verdict="faster" if change.speed.value > 1 else "slower")


def _signed_rank(speeds: Iterable[float]) -> float | None:
    logarithms = [math.log(speed) for speed in speeds]
    if len(logarithms) < _FEWEST:
        return None
    return float(stats.wilcoxon(logarithms).pvalue) if any(logarithms) else 1.0


def _differences(old: Results, new: Results) -> list[Difference]:
    before, now = _surroundings(old), _surroundings(new)
    return [Difference(key, before[key], now[key]) for key in before if before[key] != now[key]]


def _surroundings(results: Results) -> dict[str, str]:
    """What else decides on times, each as text; an empty one where nothing is known of it."""
    known = results.environment
    packages = known.get("packages")
    versions = cast("Mapping[str, Any]", packages if isinstance(packages, Mapping) else {})
    facts = {key: str(known.get(key, "")) for key in _MACHINE}
    facts |= {name: str(versions.get(name, "")) for name in _PACKAGES}
    return facts | {"library": results.kind.library, "kind": " ".join(results.kind[:2]), "place": results.place.told}


def _flat(change: Change) -> dict[str, Any]:
    values = asdict(change)
    speed = values.pop("speed")
    return values | {"speed": speed["value"], "speed_low": speed["low"], "speed_high": speed["high"]}


def _unflattened(item: Mapping[str, Any]) -> Change:
    values: dict[str, Any] = dict(item)
    values["speed"] = Estimate(values["speed"], values.pop("speed_low"), values.pop("speed_high"))
    return Change(**values)
