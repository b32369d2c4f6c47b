"""A profile on the terminal: its costs with their intervals, what depends on the size, and what on the pair."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.profile import Fitted, Profile
from experiments import tables
from experiments.units import format_bytes, format_rate, format_seconds

__all__ = ["show"]


def show(profile: Profile) -> None:
    """Print all that was measured."""
    crowded = ", oversubscribed: more ranks than cores" if profile.oversubscribed else ""
    title = f"{profile.ranks} ranks at work at once, {profile.library}{crowded}"
    tables.show(title, ("cost", "value", "95 % interval", "which is"), list(_costs(profile)))
    tables.show("by size: measured, and the piecewise fit", _SIZE_COLUMNS, list(_sizes(profile)))
    if len(profile.crowd) > 1:
        tables.show("by ranks at work", ("ranks", "alpha", "beta", "o", "O", "start"), list(_crowds(profile)))
    if profile.reductions:
        tables.show("reducing, CPU time", ("size", *profile.reductions), list(_reductions(profile)))
    for line in _findings(profile):
        print(line)
    print()


_SIZE_COLUMNS = ("size", "one way", "fit", "residual", "line", "residual", "both ways", "in a train")


def _costs(profile: Profile) -> Iterator[tuple[str, str, str, str]]:
    rates = [format_rate(1 / cost, digits=3) if cost else "free" for cost in (profile.beta, profile.gamma)]
    for name, shown, meaning, unit in (
        ("alpha", "alpha", "seconds per message", ""),
        ("beta", "beta", f"seconds per byte: {rates[0]}", "/B"),
        ("gamma", "gamma", f"seconds per reduced byte: {rates[1]}", "/B"),
        ("overhead", "o", "CPU seconds of a message at each end", ""),
        ("overhead_per_byte", "O", "CPU seconds of a byte at each end", "/B"),
    ):
        ends = profile.intervals.get(name)
        interval = f"{_cost(ends[0])} .. {_cost(ends[1])}" if ends else ""
        yield shown, _cost(getattr(profile, name)) + unit, interval, meaning


def _sizes(profile: Profile) -> Iterator[tuple[str, ...]]:
    duplex, streams = dict(profile.duplex), dict(profile.streams)
    for point in profile.points:
        if point.pattern == "pingpong":
            yield (
                format_bytes(point.nbytes), _cost(point.seconds), *_fit(point),
                _cost(point.fitted), f"{100 * point.residual:+.0f} %",
                _times(duplex.get(point.nbytes)), _times(streams.get(point.nbytes)),
            )  # fmt: skip


def _fit(point: Fitted) -> tuple[str, str]:
    if point.curve is None or point.curve_residual is None:
        return "", ""
    return _cost(point.curve), f"{100 * point.curve_residual:+.1f} %"


def _crowds(profile: Profile) -> Iterator[tuple[str, ...]]:
    for part in profile.crowd:
        yield (
            str(part.ranks), _cost(part.alpha), f"{_cost(part.beta)}/B", _cost(part.overhead),
            f"{_cost(part.overhead_per_byte)}/B", _cost(part.start),
        )  # fmt: skip


def _reductions(profile: Profile) -> Iterator[tuple[str, ...]]:
    rows = {dtype: dict(points) for dtype, points in profile.reductions.items()}
    for size in dict.fromkeys(size for points in rows.values() for size in points):
        yield (format_bytes(size), *(f"{_cost(points[size])}/B" if size in points else "" for points in rows.values()))


def _findings(profile: Profile) -> Iterator[str]:
    if profile.eager >= 0:
        yield f"Messages up to {profile.eager} B leave before their receiver is ready."
    else:
        yield "A sender waits for its receiver at every size."
    if profile.changes:
        yield f"The curve bends or leaps at {', '.join(f'{size} B' for size in profile.changes)}."
    yield f"Waiting ranks: the core {'goes to others' if profile.waiting == 'yields' else 'is kept busy'}."
    groups = len(set(profile.groups))
    found = f"{groups} groups: {' '.join(map(str, profile.groups))}" if groups > 1 else "all ranks alike"
    agreement = {None: "", True: ", as declared", False: ", which is not what was declared"}[profile.agrees]
    declared = f" (declared: {profile.declared}{agreement})" if profile.declared else ""
    yield f"Topology, from {len(profile.pairs)} pairs: {found}{declared}."
    for kind in profile.classes if groups > 1 else ():
        yield f"{kind.name}: alpha {_cost(kind.alpha)}, beta {_cost(kind.beta)}/B over {kind.pairs} pairs."
    if profile.trunk:
        yield f"Pairs between two groups share {format_rate(profile.trunk, bits=True)}."


def _times(factor: float | None) -> str:
    return "" if factor is None else f"x {factor:.2f}"


def _cost(seconds: float) -> str:
    """In a unit that fits; below a nanosecond in picoseconds."""
    return f"{seconds * 1e12:.3g}ps" if 0 < seconds < 1e-9 else format_seconds(seconds, digits=3)
