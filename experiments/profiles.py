"""The profile of what the ranks measured: fits, factors, and what the pairs say of the topology."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from collectives.profile import Crowd, Fitted, Knots, Pair, PairClass, Profile, interpolated
from experiments import environment
from experiments.fitting import Piecewise, fit_cost, fit_pieces
from experiments.probing.sizes import DTYPES
from experiments.statistics import Line, fit_line, fit_rate, median
from experiments.topology_inference import same_groups

__all__ = ["fitted"]

_SHARED = 0.8  # of what its pairs carry alone: a trunk that carries less than that is the bottleneck
_SMALL = 8  # bytes of the small messages between pairs

Samples = Mapping[str, Any]


def fitted(measured: Samples, place: Mapping[str, Any] | None = None) -> Profile:
    """The profile of ``Probe.all()`` under ``samples`` and ``Job.describe()`` under ``job``.

    ``place``: the name of where the ranks ran and what is known of it, for the environment; its ``topology`` is
    compared with what was found.
    """
    samples, job, place = measured["samples"], measured["job"], dict(place or {})
    ranks, eager = int(job["ranks"]), int(samples["eager"])
    whole = samples["crowds"][str(ranks)]
    sizes, found = whole["sizes"], whole["samples"]
    line = fit_line(sizes["pingpong"], found["pingpong"])
    curve = fit_pieces(sizes["pingpong"], found["pingpong"], jump=eager)
    gamma = fit_rate(sizes["reduction"], found["reduction"])
    crowd = tuple(sorted((_crowd(int(count), part, eager) for count, part in samples["crowds"].items()), key=_ranks))
    everyone = crowd[-1]
    costs = {"alpha": line.intercept, "beta": line.slope, "gamma": gamma}
    return Profile(
        alpha=line.intercept.value,
        beta=line.slope.value,
        gamma=gamma.value,
        overhead=everyone.overhead,
        ranks=ranks,
        oversubscribed=job["oversubscribed"],
        library=job["library"],
        calls=str(samples.get("calls", "")),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        intervals={name: (cost.low, cost.high) for name, cost in costs.items() if cost.low and cost.high}
        | _effort_interval(whole),
        duplex=everyone.duplex,
        points=tuple(_all_points(whole, line, curve, everyone, gamma.value)),
        environment=environment.collect() | {"job": dict(job), "place": place},
        curve=curve.knots,
        changes=curve.changes,
        eager=eager,
        streams=everyone.streams,
        start=everyone.start,
        overhead_per_byte=everyone.overhead_per_byte,
        crowd=crowd,
        reductions={dtype: _rates(sizes[dtype], found[dtype]) for dtype in DTYPES},
        cores=int(samples["cores"]),
        waiting=samples["waiting"],
        **_topology(ranks, samples["topology"], place),
    )


def _ranks(crowd: Crowd) -> int:
    return crowd.ranks


def _crowd(ranks: int, part: Samples, eager: int) -> Crowd:
    sizes, found = part["sizes"], part["samples"]
    line = fit_line(sizes["pingpong"], found["pingpong"])
    curve = fit_pieces(sizes["pingpong"], found["pingpong"], jump=eager).knots
    overhead, per_byte = fit_cost(sizes["effort"], found["effort"])
    return Crowd(
        ranks=ranks,
        alpha=line.intercept.value,
        beta=line.slope.value,
        overhead=overhead,
        overhead_per_byte=per_byte,
        curve=curve,
        start=max(0.0, median(found["start"][0]).value - median(found["exchange"][0]).value),
        duplex=tuple(
            (size, median(group).value / interpolated(curve, size, onward=True))
            for size, group in zip(sizes["exchange"], found["exchange"], strict=True)
        ),
        streams=tuple(
            (size, _following(median(group).value, wagons, interpolated(curve, size)) / interpolated(curve, size))
            for size, group, wagons in zip(sizes["stream"], found["stream"], part["wagons"], strict=True)
        ),
    )


def _following(seconds: float, wagons: int, single: float) -> float:
    """Seconds between two messages of a train that took ``seconds`` a message, the first of which took ``single``."""
    return max(0.0, seconds * wagons - single) / (wagons - 1)


def _rates(sizes: Sequence[int], groups: Sequence[Sequence[float]]) -> Knots:
    return tuple((size, median(group).value / size) for size, group in zip(sizes, groups, strict=True))


def _effort_interval(part: Samples) -> dict[str, tuple[float, float]]:
    """The interval of ``overhead``, which is what the smallest messages cost."""
    small = median(part["samples"]["effort"][0])
    return {} if small.low is None or small.high is None else {"overhead": (small.low, small.high)}


def _all_points(part: Samples, line: Line, curve: Piecewise, crowd: Crowd, gamma: float) -> Iterator[Fitted]:
    def once(size: float) -> float:
        return interpolated(curve.knots, size, onward=True)

    def crossing(size: float) -> float:
        return once(size) * interpolated(crowd.duplex, size)

    yield from _points(part, "pingpong", line, once)
    yield from _points(part, "exchange", line, crossing)
    yield from _points(part, "stream", line, lambda size: once(size) * interpolated(crowd.streams, size))
    yield from _points(part, "reduction", lambda size: gamma * size, None)


def _points(
    part: Samples, pattern: str, model: Callable[[float], float], curve: Callable[[float], float] | None
) -> Iterator[Fitted]:
    for size, group in zip(part["sizes"][pattern], part["samples"][pattern], strict=True):
        time = median(group)
        yield Fitted(
            pattern, size, time.value, time.low, time.high, len(group), model(size), curve(size) if curve else None
        )


# --- between pairs --------------------------------------------------------------------------------------------------


def _topology(ranks: int, found: Samples, place: Mapping[str, Any]) -> dict[str, Any]:
    pairs = tuple(_pairs(found))
    groups: list[int] = found["groups"]
    classes = tuple(_classes(pairs, groups))
    declared, expected = _declared(ranks, place)
    return {
        "pairs": pairs,
        "groups": tuple(groups),
        "classes": classes,
        "trunk": _trunk(found["trunk"], classes),
        "declared": declared,
        "agrees": None if expected is None else same_groups(groups, expected),
    }


def _pairs(found: Samples) -> Iterator[Pair]:
    for (source, dest), small, large in zip(found["pairs"], found["small"], found["large"], strict=True):
        short, long = float(np.median(small)), float(np.median(large))
        beta = max(0.0, (long - short) / (found["typical"] - _SMALL))
        yield Pair(source, dest, max(0.0, short - _SMALL * beta), beta)


def _classes(pairs: Sequence[Pair], groups: Sequence[int]) -> Iterator[PairClass]:
    for name, near in (("near", True), ("far", False)):
        members = [pair for pair in pairs if (groups[pair.source] == groups[pair.dest]) == near]
        if members:
            alpha, beta = median([pair.alpha for pair in members]), median([pair.beta for pair in members])
            ends = {cost: (value.low, value.high) for cost, value in (("alpha", alpha), ("beta", beta))
                    if value.low is not None and value.high is not None}  # fmt: skip
            yield PairClass(name, len(members), alpha.value, beta.value, ends)


def _trunk(measured: Samples | None, classes: Sequence[PairClass]) -> float:
    """Bytes/s that the pairs between two groups share, 0 where together they get what each gets alone."""
    beta = next((kind.beta for kind in classes if kind.name == "far"), 0.0)
    if measured is None or not beta:
        return 0.0
    return measured["rate"] if measured["rate"] * beta < _SHARED * len(measured["pairs"]) else 0.0


def _declared(ranks: int, place: Mapping[str, Any]) -> tuple[str, list[int] | None]:
    """What the place says that its topology is, and for each rank the group that follows from it (None: unknown)."""
    name, hosts = str(place.get("topology") or ""), int(place.get("hosts") or 0)
    if name == "star":
        return name, [0] * ranks
    racks: Sequence[int] = place.get("racks") or ()
    return name, [racks[rank % hosts] for rank in range(ranks)] if racks else None
