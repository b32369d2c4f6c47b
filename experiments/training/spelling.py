"""Models and data sets as a command line spells them: "mlp:hidden=256x128", a name and what is not as usual."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from experiments.errors import UsageFault

__all__ = ["spelled"]

Made = TypeVar("Made")


def spelled(kind: str, text: str, known: Mapping[str, Callable[..., Made]]) -> Callable[..., Made]:
    """The one of ``known`` that ``text`` names, its keyword parameters bound to what ``text`` says.

    A parameter is a whole number of at least 1, or several, ``256x128``, where its default is a tuple. UsageFault for
    an unknown name (the known ones, nearest first) and for a parameter that is unknown or no such number.
    """
    name, _, rest = text.partition(":")
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=len(known), cutoff=0.0)
        raise UsageFault(f"no {kind} is called {name!r}; known: {', '.join(nearest)}")
    parameters = inspect.signature(known[name]).parameters.values()
    defaults: dict[str, Any] = {each.name: each.default for each in parameters if type(each.default) in (int, tuple)}
    given: dict[str, int | tuple[int, ...]] = {}
    for item in rest.split(",") if rest else []:
        key, _, value = item.partition("=")
        if key not in defaults:
            raise UsageFault(f"{kind} {name} has no parameter {key!r}; known: {', '.join(defaults) or 'none'}")
        given[key] = _value(f"{kind} {name}: {key}", value, defaults[key])
    return partial(known[name], **given)


def _value(what: str, text: str, default: Any) -> int | tuple[int, ...]:
    several = isinstance(default, tuple)
    words = text.split("x") if several else [text]
    if not all(word.isdecimal() and int(word) for word in words):
        example = "whole numbers such as 256x128" if several else "a whole number of at least 1"
        raise UsageFault(f"{what} must be {example}, got {text!r}")
    return tuple(map(int, words)) if several else int(text)
