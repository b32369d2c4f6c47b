"""Every sentence of the page, in each language: ``texts/en.toml``, ``texts/pt.toml``.

A text may hold inline HTML of ours and ``{placeholders}``; what is put into a placeholder is escaped.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, cast

from markupsafe import Markup

from experiments.errors import UsageFault
from experiments.report.numbers import Numbers

__all__ = ["Texts", "languages", "trusted"]


class Texts:
    """The texts of one language: ``texts("section.key", name=value)`` gives safe HTML."""

    def __init__(self, language: str) -> None:
        if language not in languages():
            raise UsageFault(f"no report is written in {language!r}; choose one of {', '.join(languages())}")
        self.language = language
        self._entries = _flat(tomllib.loads((_folder() / f"{language}.toml").read_text(encoding="utf-8")))
        self.numbers = Numbers(self._entries["page.decimal"])

    def __call__(self, key: str, /, **values: object) -> Markup:
        """The text called ``key``, with its placeholders filled and escaped; a KeyError names a missing text."""
        return trusted(self._entries[key]).format(**values)

    def get(self, key: str) -> Markup | None:
        """The text called ``key`` without filling it, or None where there is none."""
        return trusted(self._entries[key]) if key in self._entries else None

    @property
    def entries(self) -> Mapping[str, str]:
        """All texts by key, as written."""
        return dict(self._entries)


def trusted(text: str) -> Markup:
    """HTML, CSS or JavaScript that this package ships or made, and that need not be escaped; never data."""
    return Markup(text)  # noqa: S704 - this is the one place where a text is declared safe


def languages() -> list[str]:
    """The languages that the page can be written in."""
    return sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml"))


def _folder() -> Traversable:
    return resources.files("experiments.report") / "texts"


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= _flat(cast("Mapping[str, Any]", value), f"{name}.")
        else:
            flat[name] = str(value)
    return flat
