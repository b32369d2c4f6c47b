"""When pushes become an update, and whose pull may be answered: a parameter server's rules, without messages.

A worker's clock counts the pushes that it made. A consistency is a value; a ``Ledger`` keeps the clocks of one part of
the parameters by it. The server drives ledgers with real messages, the simulator with simulated ones.

Sources: Valiant, "A bridging model for parallel computation" (1990): BSP; Ho et al., "More effective distributed ML via
a stale synchronous parallel parameter server" (NIPS 2013): SSP; Dean et al., "Large scale distributed deep networks"
(NIPS 2012), section 4.1: Downpour, which pushes and fetches every so many steps; Chen et al., "Revisiting distributed
synchronous SGD" (2016): backup workers; Zhang, Choromanska and LeCun, "Deep learning with elastic averaging SGD"
(NIPS 2015), algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["BSP", "SSP", "Async", "Backup", "Consistency", "Elastic", "Ledger", "Pushed", "Reception", "Update", "get",
           "names", "spelled"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class BSP:
    """Lockstep: a clock's pushes are one update, their mean, and all wait for it."""

    @property
    def bound(self) -> float:
        """How many clocks a worker may be ahead of the slowest when it goes on."""
        return 0.0

    @property
    def spare(self) -> int | None:
        """How many workers an update does without; None where each push is an update by itself."""
        return 0


@dataclass(frozen=True, slots=True)
class SSP:
    """At most ``steps`` clocks ahead of the slowest; each push is an update. With 0 steps it is lockstep."""

    steps: int

    def __post_init__(self) -> None:
        _at_least("ssp", "steps", self.steps, 0)

    @property
    def bound(self) -> float:
        """How many clocks a worker may be ahead of the slowest when it goes on."""
        return float(self.steps)

    @property
    def spare(self) -> int | None:
        """Where nobody may be ahead, a clock's pushes are one update."""
        return None if self.steps else 0


@dataclass(frozen=True, slots=True)
class Async:
    """Nobody waits. A worker pushes the sum of ``push`` steps at a time, and pulls every ``fetch`` steps."""

    fetch: int = 1
    push: int = 1

    def __post_init__(self) -> None:
        _at_least("async", "fetch", self.fetch, 1)
        _at_least("async", "push", self.push, 1)

    @property
    def bound(self) -> float:
        """None is too far ahead."""
        return math.inf

    @property
    def spare(self) -> int | None:
        """Each push is an update by itself."""
        return None


@dataclass(frozen=True, slots=True)
class Backup:
    """Lockstep without waiting for the last ``workers``: their pushes come too late and are dropped."""

    workers: int

    def __post_init__(self) -> None:
        _at_least("backup", "workers", self.workers, 0)

    @property
    def bound(self) -> float:
        """How many clocks a worker may be ahead of the last update when it goes on."""
        return 0.0

    @property
    def spare(self) -> int | None:
        """How many workers an update does without."""
        return self.workers


@dataclass(frozen=True, slots=True)
class Elastic:
    """EASGD: each worker has parameters of its own, and every ``period`` steps it and the centre move together.

    x ← x − ``rate``·(x − x̃), x̃ ← x̃ + ``rate``·(x − x̃), with x̃ as it was before; a push is the worker's x, and its
    answer that x̃. Stable for workers · ``rate`` ≤ 1.
    """

    rate: float = 0.1
    period: int = 1

    def __post_init__(self) -> None:
        _at_least("easgd", "period", self.period, 1)
        if not 0 < self.rate <= 1:
            raise ValueError(f"easgd: rate must be above 0 and at most 1, got {self.rate}")

    @property
    def bound(self) -> float:
        """None is too far ahead."""
        return math.inf

    @property
    def spare(self) -> int | None:
        """Each push is an update by itself."""
        return None


Consistency = BSP | SSP | Async | Backup | Elastic

_KNOWN: Mapping[str, type[Any]] = MappingProxyType(
    {"bsp": BSP, "ssp": SSP, "async": Async, "asp": Async, "backup": Backup, "easgd": Elastic}
)
_READERS: Mapping[str, Callable[[str], Any]] = MappingProxyType({"int": int, "float": float})


def names() -> list[str]:
    """All consistencies, as ``get`` knows them."""
    return list(_KNOWN)


def get(text: str) -> Consistency:
    """The consistency that ``text`` spells: "bsp", "ssp:3", "async:fetch=4,push=2", "backup:1", "easgd:rate=0.2".

    The first parameter needs no name. ValueError for what is not known, or what a parameter cannot be.
    """
    name, _, rest = text.partition(":")
    if name not in _KNOWN:
        raise ValueError(f"no consistency is called {name!r}; known: {', '.join(_KNOWN)}, such as ssp:3 or backup:1")
    known = {each.name: _READERS[str(each.type)] for each in fields(_KNOWN[name])}
    given: dict[str, Any] = {}
    for number, item in enumerate(rest.split(",") if rest else []):
        key, equals, value = item.rpartition("=")
        if not equals and number == 0 and known:
            key = next(iter(known))
        if key not in known:
            raise ValueError(f"{name} has no parameter {key or item!r}; known: {', '.join(known) or 'none'}")
        try:
            given[key] = known[key](value)
        except ValueError:
            raise ValueError(f"{name}: {key} must be a number, got {value!r}") from None
    if missing := [each for each in known if name == "ssp" and each not in given]:
        raise ValueError(f"{name} needs {', '.join(missing)}, such as ssp:3")
    return _KNOWN[name](**given)


def spelled(consistency: Consistency) -> str:
    """The text of which ``get`` makes the same consistency."""
    name = next(name for name, kind in _KNOWN.items() if kind is type(consistency))
    values = [f"{each.name}={getattr(consistency, each.name)}" for each in fields(consistency)]
    return f"{name}:{','.join(values)}" if values else name


class Reception(Enum):
    """What became of a push."""

    TAKEN = "it is in an update, or will be"
    DUPLICATE = "it came before, and is not counted again"
    LATE = "its clock had its update without it; it is dropped"


class Update(NamedTuple):
    """The pushes of ``clock`` by ``workers``, in ascending order, are one update; it weighs their sum by ``weight``."""

    clock: int
    workers: tuple[int, ...]
    weight: float


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push led to. ``staleness``: updates that were made between the worker's last pull and this push's own."""

    reception: Reception
    staleness: int = 0
    updates: tuple[Update, ...] = ()


@dataclass(slots=True, eq=False)
class Ledger:
    """The clocks of ``workers`` at one part of the parameters. Raises KeyError for a worker that is not there.

    ``version`` counts updates. Drive it with ``push`` and ``pull``, and after each ask ``released`` who gets an answer.
    """

    consistency: Consistency
    clocks: dict[int, int]
    version: int = 0
    closed: int = 0
    seen: dict[int, int] = field(default_factory=dict[int, int])
    """By worker, the version that it pulled last."""
    held: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    """By clock, whose pushes wait for the others'."""
    waiting: set[int] = field(default_factory=set[int])
    """Who has asked for parameters and gets them later."""

    @classmethod
    def start(cls, consistency: Consistency, workers: Iterable[int]) -> Ledger:
        """All ``workers`` at clock 0."""
        return cls(consistency, dict.fromkeys(workers, 0))

    @property
    def completed(self) -> int:
        """How many clocks are over: with their update made, or pushed by every worker."""
        return min(self.clocks.values(), default=0) if self.consistency.spare is None else self.closed

    def lead(self, worker: int) -> int:
        """How many clocks the worker is ahead."""
        return self.clocks[worker] - self.completed

    def push(self, worker: int, clock: int) -> Pushed:
        """Push number ``clock`` (1, 2, ...) of ``worker`` is here. ValueError for one that cannot come yet."""
        last = self.clocks[worker]
        if clock <= last:
            return Pushed(Reception.DUPLICATE)
        if clock > max(last, self.completed) + 1:
            raise ValueError(
                f"push {clock} of worker {worker} came after its push {last}, and those between are missing"
            )
        self.clocks[worker] = clock
        stale = self.version - self.seen.get(worker, 0)
        if self.consistency.spare is None:
            self.version += 1
            return Pushed(Reception.TAKEN, stale, (Update(clock, (worker,), 1 / len(self.clocks)),))
        if clock <= self.closed:
            return Pushed(Reception.LATE, stale)
        self.held.setdefault(clock, set()).add(worker)
        return Pushed(Reception.TAKEN, stale, tuple(self._closing()))

    def pull(self, worker: int) -> None:
        """``worker`` asks for the parameters."""
        if worker not in self.clocks:
            raise KeyError(worker)
        self.waiting.add(worker)

    def released(self) -> tuple[int, ...]:
        """Those who asked and get the parameters as they are now, in ascending order."""
        now = tuple(sorted(worker for worker in self.waiting if self.lead(worker) <= self.consistency.bound))
        self.waiting.difference_update(now)
        self.seen.update(dict.fromkeys(now, self.version))
        return now

    def join(self, worker: int) -> int:
        """``worker`` comes, or comes back; returns the clock from which it counts on."""
        if worker not in self.clocks:
            self.clocks[worker] = self.completed
            self.seen[worker] = self.version
        return self.clocks[worker]

    def skip(self, worker: int, clock: int) -> tuple[Update, ...]:
        """``worker`` counts on from ``clock`` if it was behind: nobody waits for its pushes up to there.

        So one who joins has the same clock at all parts. Returns the updates now due.
        """
        self.clocks[worker] = max(self.clocks[worker], clock)
        return () if self.consistency.spare is None else tuple(self._closing())

    def leave(self, worker: int) -> tuple[Update, ...]:
        """``worker`` goes, and nobody waits for it any more; what it pushed is kept. Returns the updates now due."""
        del self.clocks[worker]
        self.waiting.discard(worker)
        return () if self.consistency.spare is None else tuple(self._closing())

    def _closing(self) -> Iterable[Update]:
        spare = self.consistency.spare or 0
        while pushed := self.held.get(self.closed + 1):
            missing = sum(clock <= self.closed and worker not in pushed for worker, clock in self.clocks.items())
            if missing > min(spare, len(self.clocks) - 1):
                return
            self.closed += 1
            self.version += 1
            yield Update(self.closed, tuple(sorted(self.held.pop(self.closed))), 1 / len(pushed))


def _at_least(name: str, what: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name}: {what} must be at least {least}, got {value}")
