"""Sizes, rates and times as people write them: ``64KiB``, ``10Gbit/s``, ``5us``, ``8:16MiB``.

Inside the program everything is bytes (int), bytes per second and seconds (float). What a printer writes, the
parser beside it reads back: exactly for sizes, to the printed digits for rates and times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from collectives import units
from experiments.errors import UsageFault

__all__ = [
    "format_bytes",
    "format_rate",
    "format_seconds",
    "parse_bytes",
    "parse_ranks",
    "parse_rate",
    "parse_seconds",
    "parse_sizes",
]

Number = TypeVar("Number", int, float)

_MOST_RANKS = 2**20


def parse_bytes(text: str) -> int:
    """Bytes from ``"8"``, ``"64KiB"``, ``"64K"`` (both 65536) or ``"64KB"`` (64000), in any case of letters."""
    return _said(units.parse_bytes, text)


def parse_rate(text: str) -> float:
    """Bytes per second from ``"10Gbit/s"``, ``"10Gbps"`` (both 1.25e9) or ``"1.25GB/s"``; a bare number is bytes."""
    return _said(units.parse_rate, text)


def parse_seconds(text: str) -> float:
    """Seconds from ``"5us"``, ``"1.5ms"``, ``"20ns"``, ``"2s"`` or ``"1min"``; a bare number is seconds."""
    return _said(units.parse_seconds, text)


def parse_sizes(text: str) -> list[int]:
    """Bytes from a list of sizes and ranges: ``"8,1KiB"``, ``"8:16MiB"`` (doubling), ``"8:16MiB:4"`` (times 4).

    The order is kept and a repeated size appears once.
    """
    return _unique(size for part in text.split(",") for size in _size_range(part))


def parse_ranks(text: str) -> list[int]:
    """Rank counts from ``"4"``, ``"2,4,8"``, ``"2-8"`` (each) or ``"2:16"`` (doubling), each once, in order."""
    return _unique(ranks for part in text.split(",") for ranks in _rank_range(part))


def format_bytes(nbytes: int) -> str:
    """``65536`` as ``"64KiB"``: the largest binary unit that divides it, so nothing is rounded."""
    for prefix, scale in reversed(units.BINARY.items()):
        if nbytes and nbytes % scale == 0:
            return f"{nbytes // scale}{prefix}B"
    return f"{nbytes}B"


def format_rate(bytes_per_second: float, *, bits: bool = False, digits: int = 4) -> str:
    """``1.25e9`` as ``"1.25GB/s"``, or with ``bits`` as ``"10Gbit/s"``."""
    value, suffix = (bytes_per_second * 8, "bit/s") if bits else (bytes_per_second, "B/s")
    return _format(value, {f"{prefix}{suffix}": float(scale) for prefix, scale in units.SI.items()}, digits)


def format_seconds(seconds: float, *, digits: int = 4) -> str:
    """``5e-6`` as ``"5us"``; everything from a second up stays in seconds."""
    return _format(seconds, {unit: float(units.SECONDS[unit]) for unit in ("ns", "us", "ms", "s")}, digits)


def _said(parse: Callable[[str], Number], text: str) -> Number:
    try:
        return parse(text)
    except ValueError as problem:
        raise UsageFault(str(problem)) from None


def _size_range(part: str) -> Iterable[int]:
    first, *rest = part.split(":")
    size = parse_bytes(first)
    if not rest:
        return [size]
    last = parse_bytes(rest[0])
    factor = _whole(rest[1], "factor") if len(rest) > 1 else 2
    if len(rest) > 2 or size < 1 or factor < 2 or last < size:
        raise UsageFault(
            f"size range {part!r}: write first:last or first:last:factor with 0 < first <= last and factor >= 2, "
            "such as 8:16MiB"
        )
    return _powers(size, last, factor)


def _rank_range(part: str) -> Iterable[int]:
    doubling = ":" in part
    first, separator, last = part.partition(":" if doubling else "-")
    low = _whole(first, "rank count")
    high = _whole(last, "rank count") if separator else low
    if not 1 <= low <= high <= _MOST_RANKS:
        raise UsageFault(f"rank counts {part!r}: they go up from 1, to at most {_MOST_RANKS}, such as 4, 2-8 or 2:16")
    return _powers(low, high, 2) if doubling else range(low, high + 1)


def _powers(first: int, last: int, factor: int) -> Iterable[int]:
    while first <= last:
        yield first
        first *= factor


def _whole(text: str, kind: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise UsageFault(f"{kind} {text.strip()!r} is no whole number")
    return int(text)


def _unique(values: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(values))


def _format(value: float, scales: Mapping[str, float], digits: int) -> str:
    ascending = sorted(scales.items(), key=lambda item: item[1])
    rounded = abs(float(f"{value:.{digits - 1}e}"))  # so that 999,999 B/s is 1MB/s and not 1000kB/s
    fitting = [(unit, scale) for unit, scale in ascending if scale <= rounded]
    unit, scale = fitting[-1] if fitting else ascending[0]
    return f"{value / scale:.{digits}g}{unit}"
