"""The residual plots of a profile: fits against what was measured, as SVG files (Matplotlib)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collectives.profile import Fitted, Profile
from experiments.units import format_bytes, format_seconds

__all__ = ["draw"]

_PATTERNS = {"pingpong": ("one way", "o"), "exchange": ("both ways", "s"), "stream": ("in a train", "^")}
_SALT = "ciranda"


def draw(profile: Profile, folder: Path, *, prefix: str = "") -> list[Path]:
    """Write ``messages.svg`` and ``reductions.svg`` (with ``prefix``) to ``folder``, made if missing; their paths.

    Nothing is drawn of what the profile does not hold. The same profile gives the same files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    if any(point.pattern in _PATTERNS for point in profile.points):
        files.append(_saved(_messages(profile), folder / f"{prefix}messages.svg"))
    if profile.reductions:
        files.append(_saved(_reductions(profile), folder / f"{prefix}reductions.svg"))
    return files


def _messages(profile: Profile) -> Any:
    figure = _figure(9, 7)
    times, errors = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for pattern, (label, marker) in _PATTERNS.items():
        points = [point for point in profile.points if point.pattern == pattern]
        if points:
            _measured(times, points, label, marker)
    single = [point for point in profile.points if point.pattern == "pingpong"]
    sizes = [point.nbytes for point in single]
    times.plot(sizes, [point.fitted for point in single], "--", color="0.6", label="alpha + beta n")
    if profile.curve:
        times.plot(*zip(*profile.curve, strict=True), "-", color="0.2", linewidth=1, label="piecewise fit")
        errors.plot(sizes, [100 * (point.curve_residual or 0.0) for point in single], "o-", label="piecewise fit")
    errors.plot(sizes, [100 * point.residual for point in single], "s--", color="0.6", label="alpha + beta n")
    for change in profile.changes:
        for axes in (times, errors):
            axes.axvline(change, color="0.85", zorder=0)
    errors.axhline(0, color="0.2", linewidth=0.8)
    times.set_xscale("log", base=8)
    times.set(yscale="log", title=f"{profile.ranks} ranks, {profile.library}", ylabel="seconds")
    errors.set(ylabel="fit - measured, % of measured", xlabel="size of a message", yscale="symlog")
    times.yaxis.set_major_formatter(_seconds)
    errors.xaxis.set_major_formatter(_bytes)
    for axes in (times, errors):
        axes.legend()
    return figure


def _measured(axes: Any, points: list[Fitted], label: str, marker: str) -> None:
    low = [point.seconds - (point.low if point.low is not None else point.seconds) for point in points]
    high = [(point.high if point.high is not None else point.seconds) - point.seconds for point in points]
    axes.errorbar(
        [point.nbytes for point in points], [point.seconds for point in points], yerr=(low, high),
        fmt=marker, markersize=4, capsize=2, label=f"{label}, median and 95 % interval",
    )  # fmt: skip


def _reductions(profile: Profile) -> Any:
    figure = _figure(9, 4)
    axes = figure.subplots()
    for dtype, points in profile.reductions.items():
        axes.plot(*zip(*points, strict=True), "o-", label=dtype)
    axes.axhline(profile.gamma, color="0.6", linestyle="--", label="gamma: float32 by the clock, all ranks at once")
    axes.set_xscale("log", base=8)
    axes.set(yscale="log", xlabel="size of a vector", ylabel="CPU seconds per reduced byte")
    axes.xaxis.set_major_formatter(_bytes)
    axes.legend()
    return figure


def _seconds(value: float, _place: int) -> str:
    return format_seconds(value, digits=3)


def _bytes(value: float, _place: int) -> str:
    return format_bytes(round(value))


def _figure(width: float, height: float) -> Any:
    """A figure of that many inches; Any, because Matplotlib's types are only partly known."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _saved(figure: Any, path: Path) -> Path:
    import matplotlib as mpl

    library: Any = mpl
    with library.rc_context({"svg.hashsalt": _SALT, "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path
