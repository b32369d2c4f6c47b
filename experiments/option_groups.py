"""Options that belong together, declared once as a dataclass and taken by many commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

__all__ = ["grouped"]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """``command``, whose parameters that are dataclasses become one option for each of their fields.

    The fields carry the ``typer.Option`` in their annotation and their default as ever. Typer knows no groups, so it is
    shown a signature without them, and the command gets its dataclasses filled, by keyword.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, type[Any]] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if inspect.isclass(parameter.annotation) and is_dataclass(parameter.annotation)
    }
    shown: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        shown += _options(groups[name]) if name in groups else [parameter]

    @wraps(command)
    def filled(**given: Any) -> None:
        values = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **values)

    vars(filled)["__signature__"] = signature.replace(parameters=shown)
    filled.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return filled


def _options(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [_option(field, hints[field.name]) for field in fields(group)]


def _option(field: Field[Any], annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field.name, kind, default=field.default, annotation=annotation)
