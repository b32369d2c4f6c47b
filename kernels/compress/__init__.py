"""Gradients in fewer bytes: encodings by name, as values. ``get("int8:block=128").encode(values, wire)``."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import Any, cast

from kernels.compress.casts import Cast
from kernels.compress.encoding import Encoding, Summable
from kernels.compress.int8 import Int8
from kernels.compress.powersgd import Powersgd
from kernels.compress.randomk import RandomK
from kernels.compress.sign import Sign
from kernels.compress.topk import TopK

__all__ = ["Encoding", "Summable", "get", "names"]


def names() -> list[str]:
    """All encodings, in alphabetical order."""
    return sorted(_ENCODINGS)


def get(text: str) -> Encoding:
    """The encoding that ``text`` spells: a name, and parameters where they differ from the usual ones.

    "int8", "int8:block=128,rounding=nearest", "topk:share=1/1000". KeyError for an unknown name (the known ones, the
    nearest first), ValueError for a parameter that the encoding has not, or a value that it cannot have.
    """
    name, _, rest = text.partition(":")
    if name not in _ENCODINGS:
        nearest = difflib.get_close_matches(name, names(), n=len(_ENCODINGS), cutoff=0.0)
        raise KeyError(f"no encoding is called {name!r}; known: {', '.join(nearest)}")
    make = _ENCODINGS[name]
    known = {} if isinstance(make, partial) else {field.name: str(field.type) for field in fields(make)}
    given = {key: _READERS[known[key]](value) for key, value in _pairs(name, rest, known)}
    return cast("Encoding", make(**given))


def _pairs(name: str, rest: str, known: Mapping[str, str]) -> list[tuple[str, str]]:
    """The parameters as written, each known."""
    items = [item.partition("=") for item in rest.split(",") if rest]
    for key, _, _ in items:
        if key not in known:
            raise ValueError(f"{name} has no parameter {key!r}; known: {', '.join(known) or 'none'}")
    return [(key, value) for key, _, value in items]


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"expected true or false, got {text!r}")
    return text.lower() == "true"


_READERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {"bool": _truth, "int": int, "str": str, "Fraction": Fraction}
)
"""How a parameter is read, by the annotation of its field."""

_ENCODINGS: Mapping[str, Any] = MappingProxyType(
    {
        "bfloat16": partial(Cast, "bfloat16"),
        "float16": partial(Cast, "float16"),
        "int8": Int8,
        "powersgd": Powersgd,
        "randomk": RandomK,
        "sign": Sign,
        "topk": TopK,
    }
)
