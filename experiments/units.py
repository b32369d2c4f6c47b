"""Sizes, rates and times as people write them: ``64KiB``, ``10Gbit/s``, ``5us``, ``8:16MiB``.

Inside the program everything is bytes (int), bytes per second and seconds (float). What a printer writes, the
parser beside it reads back: exactly for sizes, to the printed digits for rates and times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

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

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)(e[+-]?\d+)?\s*(\D*)", re.IGNORECASE | re.ASCII)
_SI = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_PREFIXES = _SI | _BINARY
# K, M and G alone are binary, as in nccl-tests (`-e 128M`) and the OSU benchmarks; KB, MB and GB are decimal.
_BYTES = {f"{prefix}b".lower(): scale for prefix, scale in _PREFIXES.items()} | {
    prefix.lower().rstrip("i"): scale for prefix, scale in _BINARY.items()
}
_RATES = {f"{prefix}B/s": Decimal(scale) for prefix, scale in _PREFIXES.items()} | {
    f"{prefix}{bit}": Decimal(scale) / 8 for prefix, scale in _PREFIXES.items() for bit in ("bit/s", "bps")
}
_SECONDS = {"s": Decimal(1), "ms": Decimal("1e-3"), "us": Decimal("1e-6"), "ns": Decimal("1e-9"), "min": Decimal(60)}
_MOST_RANKS = 2**20


def parse_bytes(text: str) -> int:
    """Bytes from ``"8"``, ``"64KiB"``, ``"64K"`` (both 65536) or ``"64KB"`` (64000), in any case of letters."""
    number, unit = _split(text, "size", "64KiB")
    scale = _BYTES.get(unit.lower()) if unit else 1
    if scale is None:
        raise UsageFault(f"size {text!r}: unknown unit {unit!r}; use B, KiB, MiB, GiB (or KB, MB, GB), such as 64KiB")
    nbytes = number * scale
    if nbytes != int(nbytes):
        raise UsageFault(f"size {text!r} is {nbytes:f} bytes, and a size is a whole number of bytes")
    if nbytes >= 2**63:
        raise UsageFault(f"size {text!r} is more than any machine can address")
    return int(nbytes)


def parse_rate(text: str) -> float:
    """Bytes per second from ``"10Gbit/s"``, ``"10Gbps"`` (both 1.25e9) or ``"1.25GB/s"``; a bare number is bytes."""
    number, unit = _split(text, "rate", "10Gbit/s")
    return _scaled(number, unit, text, "rate", {"": Decimal(1)} | _RATES, "Gbit/s, Mbit/s, GB/s or MB/s")


def parse_seconds(text: str) -> float:
    """Seconds from ``"5us"``, ``"1.5ms"``, ``"20ns"``, ``"2s"`` or ``"1min"``; a bare number is seconds."""
    number, unit = _split(text, "time", "5us")
    unit = unit.replace("µ", "u").replace("μ", "u")  # the micro sign and the Greek letter
    return _scaled(number, unit, text, "time", {"": Decimal(1)} | _SECONDS, "s, ms, us, ns or min")


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
    for prefix, scale in reversed(_BINARY.items()):
        if nbytes and nbytes % scale == 0:
            return f"{nbytes // scale}{prefix}B"
    return f"{nbytes}B"


def format_rate(bytes_per_second: float, *, bits: bool = False, digits: int = 4) -> str:
    """``1.25e9`` as ``"1.25GB/s"``, or with ``bits`` as ``"10Gbit/s"``."""
    value, suffix = (bytes_per_second * 8, "bit/s") if bits else (bytes_per_second, "B/s")
    return _format(value, {f"{prefix}{suffix}": float(scale) for prefix, scale in _SI.items()}, digits)


def format_seconds(seconds: float, *, digits: int = 4) -> str:
    """``5e-6`` as ``"5us"``; everything from a second up stays in seconds."""
    return _format(seconds, {unit: float(_SECONDS[unit]) for unit in ("ns", "us", "ms", "s")}, digits)


def _split(text: str, kind: str, example: str) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise UsageFault(f"{kind} {text!r} is no number with a unit; write it like {example}")
    number, exponent, unit = match.groups(default="")
    if abs(int(exponent[1:] or 0)) > 99:
        raise UsageFault(f"{kind} {text!r} is out of every range; write it like {example}")
    return Decimal(number + exponent), unit.strip()


def _scaled(number: Decimal, unit: str, text: str, kind: str, units: Mapping[str, Decimal], known: str) -> float:
    scale = units.get(unit)
    if scale is None and unit[:1] == "K":
        scale = units.get(f"k{unit[1:]}")
    if scale is None:
        raise UsageFault(f"{kind} {text!r}: unknown unit {unit!r}; use {known}")
    return float(number * scale)


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


def _format(value: float, units: Mapping[str, float], digits: int) -> str:
    ascending = sorted(units.items(), key=lambda item: item[1])
    rounded = abs(float(f"{value:.{digits - 1}e}"))  # so that 999,999 B/s is 1MB/s and not 1000kB/s
    fitting = [(unit, scale) for unit, scale in ascending if scale <= rounded]
    unit, scale = fitting[-1] if fitting else ascending[0]
    return f"{value / scale:.{digits}g}{unit}"
