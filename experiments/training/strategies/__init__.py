"""Strategies by name, as values: ``get("allreduce:algorithm=ring,bucket=64KiB").start(task)``.

A strategy is a frozen dataclass whose fields are its parameters; each lives in a file of its own, which is imported
when it is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from pkgutil import resolve_name
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from experiments.errors import UsageFault
from experiments.units import parse_bytes

if TYPE_CHECKING:
    from experiments.training.strategy import Plan

__all__ = ["get", "names", "parameters"]

_KNOWN: Mapping[str, str] = MappingProxyType(
    {
        "allreduce": "experiments.training.strategies.allreduce:AllReduce",
        "local-sgd": "experiments.training.strategies.local_sgd:LocalSGD",
        "fsdp": "experiments.training.strategies.sharded:Sharded",
        "ps": "experiments.training.strategies.parameter_server:Lockstep",
        "ssp": "experiments.training.strategies.parameter_server:Stale",
        "async": "experiments.training.strategies.parameter_server:Asynchronous",
        "backup": "experiments.training.strategies.parameter_server:Spared",
        "easgd": "experiments.training.strategies.elastic:Averaging",
        "hogwild": "experiments.training.strategies.hogwild:OneSided",
        "tensor": "experiments.training.strategies.tensor:Tensor",
        "pipeline": "experiments.training.strategies.pipeline:Pipeline",
    }
)


def names() -> list[str]:
    """All strategies."""
    return list(_KNOWN)


def get(text: str, further: Mapping[str, str] = MappingProxyType({})) -> Plan:
    """The strategy that ``text`` spells, with ``further`` parameters: a name, and what is not as usual.

    A bare value stands for the first parameter ("ssp:3"). UsageFault for what is unknown, or not what it must be. A
    comma within a value, as in "compress=int8:block=128,rounding=nearest", is known by what follows it: no parameter.
    """
    name, _, rest = text.partition(":")
    known = parameters(name)
    given = _pairs(name, rest, known)
    for key, value in further.items():
        if key not in known:
            raise UsageFault(f"strategy {name} has no {key}; it has {', '.join(known) or 'no parameters'}")
        if key in given:
            raise UsageFault(f"strategy {name} has its {key} twice: {given[key]} and {value}")
        given[key] = value
    read = {key: _read(f"strategy {name}: {key}", value, known[key]) for key, value in given.items()}
    try:
        return _class(name)(**read)
    except ValueError as fault:
        raise UsageFault(f"strategy {name}: {fault}") from None


def parameters(name: str) -> dict[str, Field[Any]]:
    """The parameters of a strategy. UsageFault for an unknown one lists the known, nearest first."""
    return {field.name: field for field in fields(_class(name))}


def _class(name: str) -> Any:
    if name not in _KNOWN:
        nearest = difflib.get_close_matches(name, _KNOWN, n=len(_KNOWN), cutoff=0.0)
        raise UsageFault(f"no strategy is called {name!r}; known: {', '.join(nearest)}")
    return resolve_name(_KNOWN[name])


def _pairs(name: str, text: str, known: Mapping[str, Field[Any]]) -> dict[str, str]:
    given: dict[str, str] = {}
    last = ""
    for number, item in enumerate(text.split(",") if text else []):
        key, equals, value = item.partition("=")
        if not equals and number == 0 and known:
            key, value = next(iter(known)), item
        if key in known:
            given[key], last = value, key
        elif ":" in given.get(last, ""):
            given[last] += f",{item}"
        else:
            raise UsageFault(f"strategy {name} has no parameter {key!r}; it has {', '.join(known) or 'none'}")
    return given


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_READERS: Mapping[str, tuple[Callable[[str], Any], str]] = MappingProxyType(
    {
        "int": (int, "a whole number"),
        "float": (float, "a number"),
        "bool": (_truth, "true or false"),
        "str": (str, "text"),
        "Bytes": (parse_bytes, "bytes such as 64KiB"),
    }
)
"""How a parameter is read, by the annotation of its field, and what it is called."""


def _read(what: str, text: str, field: Field[Any]) -> Any:
    reader, called = _READERS[str(field.type)]
    try:
        return reader(text)
    except (ValueError, UsageFault):
        raise UsageFault(f"{what} must be {called}, got {text!r}") from None
