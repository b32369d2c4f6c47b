"""Sizes, rates and times as people write them: ``64KiB``, ``10Gbit/s``, ``5us``.

Inside the program everything is bytes (int), bytes per second and seconds (float).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

__all__ = ["BINARY", "SECONDS", "SI", "parse_bytes", "parse_rate", "parse_seconds"]

SI = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
SECONDS = {"s": Decimal(1), "ms": Decimal("1e-3"), "us": Decimal("1e-6"), "ns": Decimal("1e-9"), "min": Decimal(60)}

_QUANTITY = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)(e[+-]?\d+)?\s*(\D*)", re.IGNORECASE | re.ASCII)
_PREFIXES = SI | BINARY
# K, M and G alone are binary, as in nccl-tests (`-e 128M`) and the OSU benchmarks; KB, MB and GB are decimal.
_BYTES = {f"{prefix}b".lower(): scale for prefix, scale in _PREFIXES.items()} | {
    prefix.lower().rstrip("i"): scale for prefix, scale in BINARY.items()
}
_RATES = {f"{prefix}B/s": Decimal(scale) for prefix, scale in _PREFIXES.items()} | {
    f"{prefix}{bit}": Decimal(scale) / 8 for prefix, scale in _PREFIXES.items() for bit in ("bit/s", "bps")
}


def parse_bytes(text: str) -> int:
    """Bytes from ``"8"``, ``"64KiB"``, ``"64K"`` (both 65536) or ``"64KB"`` (64000), in any case of letters.

    ValueError for what is no size.
    """
    number, unit = _split(text, "size", "64KiB")
    scale = _BYTES.get(unit.lower()) if unit else 1
    if scale is None:
        raise ValueError(f"size {text!r}: unknown unit {unit!r}; use B, KiB, MiB, GiB (or KB, MB, GB), such as 64KiB")
    nbytes = number * scale
    if nbytes != int(nbytes):
        raise ValueError(f"size {text!r} is {nbytes:f} bytes, and a size is a whole number of bytes")
    if nbytes >= 2**63:
        raise ValueError(f"size {text!r} is more than any machine can address")
    return int(nbytes)


def parse_rate(text: str) -> float:
    """Bytes per second from ``"10Gbit/s"``, ``"10Gbps"`` (both 1.25e9) or ``"1.25GB/s"``; a bare number is bytes.

    ValueError for what is no rate.
    """
    number, unit = _split(text, "rate", "10Gbit/s")
    return _scaled(number, unit, text, "rate", {"": Decimal(1)} | _RATES, "Gbit/s, Mbit/s, GB/s or MB/s")


def parse_seconds(text: str) -> float:
    """Seconds from ``"5us"``, ``"1.5ms"``, ``"20ns"``, ``"2s"`` or ``"1min"``; a bare number is seconds.

    ValueError for what is no time.
    """
    number, unit = _split(text, "time", "5us")
    unit = unit.replace("µ", "u").replace("μ", "u")  # the micro sign and the Greek letter
    return _scaled(number, unit, text, "time", {"": Decimal(1)} | SECONDS, "s, ms, us, ns or min")


def _split(text: str, kind: str, example: str) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{kind} {text!r} is no number with a unit; write it like {example}")
    number, exponent, unit = match.groups(default="")
    if abs(int(exponent[1:] or 0)) > 99:
        raise ValueError(f"{kind} {text!r} is out of every range; write it like {example}")
    return Decimal(number + exponent), unit.strip()


def _scaled(number: Decimal, unit: str, text: str, kind: str, units: Mapping[str, Decimal], known: str) -> float:
    scale = units.get(unit)
    if scale is None and unit[:1] == "K":
        scale = units.get(f"k{unit[1:]}")
    if scale is None:
        raise ValueError(f"{kind} {text!r}: unknown unit {unit!r}; use {known}")
    return float(number * scale)
