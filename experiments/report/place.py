"""Where the ranks ran, as the environment of the results tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

__all__ = ["LOCAL", "Place"]

LOCAL = "local"
_TOLD = ("hosts", "rate", "delay", "topology", "oversubscription")


@dataclass(frozen=True, slots=True)
class Place:
    """``name``: local, cluster, hostfile or slurm; ``facts``: what it says of itself; ``reason``: why this one."""

    name: str = LOCAL
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    reason: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, Any]) -> Place:
        """The place of an environment; local ranks where nothing is said, as in results of older versions."""
        said = environment.get("place")
        facts: Mapping[str, Any] = cast("Mapping[str, Any]", said) if isinstance(said, Mapping) else {}
        more = environment.get("place_facts")
        facts = {**facts, **(cast("Mapping[str, Any]", more) if isinstance(more, Mapping) else {})}
        name = said if isinstance(said, str) else facts.get("name", LOCAL)
        return cls(str(name or LOCAL), facts, str(environment.get("place_reason") or ""))

    @property
    def emulated(self) -> bool:
        """Whether the network was shaped on one machine."""
        return self.name == "cluster"

    @property
    def told(self) -> str:
        """Name and facts in one line, the same for two places exactly where they are alike."""
        return ", ".join([self.name, *(f"{key} {self.facts[key]}" for key in _TOLD if self.facts.get(key))])
