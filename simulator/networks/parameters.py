"""Shapes by name, with parameters as people write them: ``{"dims": "4x4", "latency": "1us", ...}``."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

from collectives.units import parse_rate, parse_seconds
from simulator.models import Reduction
from simulator.networks.dragonfly import dragonfly
from simulator.networks.network import Network
from simulator.networks.rails import rails
from simulator.networks.star import bus, star
from simulator.networks.torus import ring, torus
from simulator.networks.tree import fat_tree, hierarchical

__all__ = ["rate", "seconds", "shape", "shapes", "whole_number"]

Value = TypeVar("Value")

_PLUS = r"(?<![eE])\+"  # not the one in 1e+9


def shapes() -> list[str]:
    """The names that ``shape`` knows, in alphabetical order."""
    return sorted(_SHAPES)


def shape(name: str, parameters: Mapping[str, object]) -> Network:
    """The shape ``name`` with ``parameters``: those of the function of this name, and ``reduction`` (s per byte).

    Times and rates are numbers in seconds and bytes/s, or strings such as ``"5us"`` and ``"10Gbit/s"``; counts are
    whole numbers. Several are a list, or a string such as ``"4x4x4"`` or ``"1us+5us"``.
    Raises ValueError for a name or a parameter that is not known, one that is missing, and for a bad value.
    """
    known = _SHAPES.get(name)
    if known is None:
        nearest = difflib.get_close_matches(name, shapes(), n=len(_SHAPES), cutoff=0.0)
        raise ValueError(f"no shape is called {name!r}; known: {', '.join(nearest)}")
    given = dict(parameters)
    reduction = seconds("reduction", given.pop("reduction", 0.0))
    for key in given:
        if key not in known.parameters:
            raise ValueError(f"{name} has no parameter {key!r}; it takes {', '.join(known.parameters)}, reduction")
    for key in known.parameters:
        if key not in given and key not in known.optional:
            raise ValueError(f"{name} needs {key}; it takes {', '.join(known.parameters)}, reduction")
    network = known.build(**{key: known.parameters[key](key, value) for key, value in given.items()})
    return replace(network, model=replace(network.model, reduction=Reduction(((math.inf, reduction),))))


def seconds(key: str, value: object) -> float:
    """A time; ValueError names it by ``key``."""
    return _quantity(key, value, parse_seconds)


def rate(key: str, value: object) -> float:
    """A bandwidth in bytes/s; ValueError names it by ``key``."""
    return _quantity(key, value, parse_rate)


def whole_number(key: str, value: object) -> int:
    """A count; ValueError names it by ``key``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value)
    raise ValueError(f"{key} must be a whole number, got {value!r}")


def _number(key: str, value: object) -> float:
    return _quantity(key, value, float)


def _quantity(key: str, value: object, parse: Callable[[str], float]) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError(f"{key} must be a number, or a string with a unit, got {value!r}")
    try:
        return parse(value)
    except ValueError as problem:
        raise ValueError(f"{key}: {problem}") from None


def _several(one: Callable[[str, object], Value], separator: str, key: str, value: object) -> Sequence[Value]:
    if isinstance(value, str):
        return [one(key, part) for part in re.split(separator, value)]
    if isinstance(value, Sequence):
        return [one(key, part) for part in cast("Sequence[object]", value)]
    raise ValueError(f"{key} must be a list, got {value!r}")


@dataclass(frozen=True, slots=True)
class _Shape:
    build: Callable[..., Network]
    parameters: Mapping[str, Callable[[str, object], Any]]
    optional: frozenset[str] = frozenset()


_LINK: Mapping[str, Callable[[str, object], Any]] = {"latency": seconds, "bandwidth": rate}
_SHAPES = {
    "star": _Shape(star, {"size": whole_number, **_LINK}),
    "bus": _Shape(bus, {"size": whole_number, **_LINK, "shared": rate}),
    "ring": _Shape(ring, {"size": whole_number, **_LINK}),
    "torus": _Shape(torus, {"dims": partial(_several, whole_number, "x"), **_LINK}),
    "fat_tree": _Shape(
        fat_tree,
        {"k": whole_number, **_LINK, "oversubscription": _number, "hosts": whole_number, "levels": whole_number},
        frozenset({"oversubscription", "hosts", "levels"}),
    ),
    "dragonfly": _Shape(
        dragonfly,
        {"groups": whole_number, "routers": whole_number, "hosts_per_router": whole_number, **_LINK,
         "global_latency": seconds, "global_bandwidth": rate},
        frozenset({"global_latency", "global_bandwidth"}),
    ),
    "hierarchical": _Shape(
        hierarchical,
        {"counts": partial(_several, whole_number, "x"), "latency": partial(_several, seconds, _PLUS),
         "bandwidth": partial(_several, rate, _PLUS), "hosts": whole_number},
        frozenset({"hosts"}),
    ),
    "rails": _Shape(
        rails,
        {"nodes": whole_number, "gpus": whole_number, "island_latency": seconds, "island_bandwidth": rate, **_LINK},
    ),
}  # fmt: skip
