"""What one machine's messages and reductions cost: the measured numbers behind selection, simulation and theory.

A profile is a small versioned JSON file, written by ``ciranda calibrate`` and readable by a person. Everything in it
is in seconds and bytes. Pure Python, so that reading one costs nothing and starts nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from collectives.measured import (
    Crowd,
    Fitted,
    Knots,
    Pair,
    PairClass,
    ProfileError,
    blended,
    check,
    check_knots,
    interpolated,
    intervals,
    knots,
)  # fmt: skip

__all__ = ["SCHEMA", "Crowd", "Fitted", "Knots", "Pair", "PairClass", "Profile", "ProfileError", "default_path"]

SCHEMA = 2
"""Version of the file format. It changes whenever a reader of the old form would misunderstand the new one."""

READABLE = (1, 2)
"""The versions that are understood: 1 is 2 without the fields after ``environment``."""

KIND = "ciranda-profile"
YIELDS, SPINS = "yields", "spins"


@dataclass(frozen=True, slots=True)
class Profile:
    """Costs of one message and of reducing one byte, for ``ranks`` ranks at work together.

    ``alpha`` seconds per message, ``beta`` seconds per byte of a message, ``gamma`` seconds per reduced byte,
    ``overhead`` CPU seconds that each end spends on a message (the o of LogP, Culler et al. 1993; part of alpha).
    ``intervals`` maps those names to 95 % intervals. ``duplex`` lists ``(nbytes, factor)``: how many times longer a
    message takes while another goes the other way between the same two ranks (1 is full duplex, 2 half duplex).
    ``measured`` is False for a guess. ``oversubscribed`` says that there were more ranks than cores.
    ``points`` and ``environment`` tell where the numbers come from.

    What a straight line cannot say, each empty where it was not measured:

    - ``curve``: ``(nbytes, seconds)`` of one message one way, knots of a piecewise-linear fit; ``changes``: the sizes
      (bytes) from which on the library goes about it in another way.
    - ``eager``: the largest message (bytes) that its sender is rid of before the receiver is ready; -1 for none.
    - ``streams``: ``(nbytes, factor)``, seconds per message of a train of messages to one partner, each in a round of
      its own, over the seconds of a single one.
    - ``start``: by how many seconds the first message after a pause is late, for ranks must wake up first.
    - ``overhead_per_byte``: CPU seconds that each end spends on a byte.
    - ``crowd``: the same costs while only so many ranks of the launch are at work, and while all are; see ``at``.
    - ``reductions``: by dtype, ``(nbytes, seconds per byte)`` of reducing a buffer of that size.
    - ``cores`` that the ranks of one machine share (0: not known), and what a rank does there that waits for a
      message: ``waiting`` is "yields" (the core goes to whoever wants it) or "spins".
    - ``pairs``: each measured pair alone. ``groups``: for each rank the group (rack) that was inferred from them;
      ``classes``: what a message costs within a group and between two. ``trunk``: bytes/s that all pairs between two
      groups share, one way, 0 where no such limit was found. ``declared``: the topology that the place says that it
      has; ``agrees``: whether the groups are those declared (None: it declares none).

    Raises ProfileError for a number that is negative, infinite or not a number, and for knots that do not ascend.
    """

    alpha: float
    beta: float
    gamma: float
    overhead: float = 0.0
    ranks: int = 2
    measured: bool = True
    oversubscribed: bool = False
    library: str = ""
    calls: str = ""
    created: str = ""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    duplex: Knots = ()
    points: tuple[Fitted, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    curve: Knots = ()
    changes: tuple[int, ...] = ()
    eager: int = -1
    streams: Knots = ()
    start: float = 0.0
    overhead_per_byte: float = 0.0
    crowd: tuple[Crowd, ...] = ()
    reductions: Mapping[str, Knots] = field(default_factory=lambda: MappingProxyType({}))
    cores: int = 0
    waiting: str = YIELDS
    pairs: tuple[Pair, ...] = ()
    groups: tuple[int, ...] = ()
    classes: tuple[PairClass, ...] = ()
    trunk: float = 0.0
    declared: str = ""
    agrees: bool | None = None

    def __post_init__(self) -> None:
        check(self, ("alpha", "beta", "gamma", "overhead", "overhead_per_byte", "trunk", "start"),
              ("curve", "duplex", "streams"))  # fmt: skip
        for dtype, points in self.reductions.items():
            check_knots(f"reductions of {dtype}", points)
        for name, least in (("ranks", 1), ("cores", 0), ("eager", -1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ProfileError(f"profile: {name} must be a whole number of at least {least}, got {value!r}")
        if self.waiting not in (YIELDS, SPINS):
            raise ProfileError(f"profile: waiting must be {YIELDS!r} or {SPINS!r}, got {self.waiting!r}")
        if self.groups and len(self.groups) != self.ranks:
            raise ProfileError(f"profile: groups must name one for each of {self.ranks} ranks, got {len(self.groups)}")

    def one_way(self, nbytes: float) -> float:
        """Seconds of one message of that size: by ``curve``, or by alpha and beta where there is none."""
        return interpolated(self.curve, nbytes, onward=True) if self.curve else self.alpha + self.beta * nbytes

    def at(self, ranks: int) -> Profile:
        """This profile with the costs while ``ranks`` ranks are at work, from ``crowd``.

        Straight between the nearest two numbers of ranks that were measured, and those of the last one beyond it.
        ``gamma`` and ``reductions`` stay: cores that are short are the simulator's concern. Raises ValueError for
        fewer than one rank. Cost: as many steps as there are knots.
        """
        if ranks < 1:
            raise ValueError(f"at least one rank is at work, got {ranks}")
        crowd = tuple(sorted(self.crowd or (self._all(),), key=lambda part: part.ranks))
        fewer = max((part for part in crowd if part.ranks <= ranks), key=lambda part: part.ranks, default=crowd[0])
        more = min((part for part in crowd if part.ranks >= ranks), key=lambda part: part.ranks, default=crowd[-1])
        weight = (ranks - fewer.ranks) / (more.ranks - fewer.ranks) if more.ranks > fewer.ranks else 0.0
        costs = {
            name: (1 - weight) * getattr(fewer, name) + weight * getattr(more, name)
            for name in ("alpha", "beta", "overhead", "overhead_per_byte", "start")
        }
        functions = {
            name: blended(getattr(fewer, name), getattr(more, name), weight, onward=name == "curve")
            for name in ("curve", "duplex", "streams")
        }
        groups = tuple(self.groups[rank % len(self.groups)] for rank in range(ranks)) if self.groups else ()
        return replace(self, ranks=ranks, crowd=crowd, groups=groups, **costs, **functions)

    def _all(self) -> Crowd:
        """What this profile says of all its ranks, as one crowd among the others."""
        return Crowd(**{item.name: getattr(self, item.name) for item in fields(Crowd)})

    @classmethod
    def default(cls) -> Profile:
        """A guess for ranks that share one machine's memory, for use until ``ciranda calibrate`` has measured.

        2 µs per message is the order of one mpi4py message between two processes on a current machine, 10 GB/s that
        of a copy through shared memory, and 20 GB/s that of adding float32 vectors with NumPy.
        """
        return cls(
            alpha=2e-6, beta=1e-10, gamma=5e-11, overhead=5e-7, measured=False,
            calls="a guess for shared memory, not measured; run: ciranda calibrate -n RANKS",
        )  # fmt: skip

    @classmethod
    def load(cls, place: str | os.PathLike[str]) -> Profile:
        """Read the profile at a path, or by its name among the saved ones: ``4`` or ``laptop``.

        Raises ProfileError saying what is wrong with the file and what to do.
        """
        path = _located(place)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ProfileError(f"no profile at {path}; {_instead(place, path)}") from None
        except OSError as problem:
            raise ProfileError(f"profile {path} cannot be read: {problem.strerror}") from None
        except ValueError as problem:
            raise ProfileError(f"profile {path} is not JSON ({problem}); write a new one: ciranda calibrate") from None
        try:
            return cls.from_json(content)
        except ProfileError as problem:
            raise ProfileError(f"{path}: {problem}") from None

    @classmethod
    def find(cls, ranks: int) -> Profile:
        """The profile in force for ``ranks`` ranks: ``CIRANDA_PROFILE``, else the saved one, else the default guess.

        The chosen one is taken at ``ranks`` ranks where it knows how costs grow with them.
        A file that is there and cannot be believed raises ProfileError; only one that is missing is passed over.
        """
        chosen = os.environ.get("CIRANDA_PROFILE")
        if chosen:
            found = cls.load(chosen)
            return found.at(ranks) if found.crowd else found
        saved = default_path(ranks)
        return cls.load(saved) if saved.is_file() else cls.default()

    @classmethod
    def from_json(cls, content: object) -> Profile:
        """The profile that ``to_json`` wrote; raises ProfileError for anything else."""
        if not isinstance(content, dict) or cast("dict[str, Any]", content).get("kind") != KIND:
            raise ProfileError('this is no Ciranda profile (it has no "kind": "ciranda-profile")')
        values = dict(cast("dict[str, Any]", content))
        version = values.pop("schema", None)
        if version not in READABLE:
            known_ones = " and ".join(map(str, READABLE))
            raise ProfileError(
                f"profile schema {version!r} is not known to this version, which reads {known_ones}; "
                "upgrade ciranda or write the profile anew with: ciranda calibrate"
            )
        del values["kind"]
        known = {item.name for item in fields(cls)}
        missing, extra = {"alpha", "beta", "gamma"} - values.keys(), values.keys() - known
        if missing or extra:
            said = [f"{name} is missing" for name in sorted(missing)]
            said += [f"{name} is not known" for name in sorted(extra)]
            raise ProfileError(f"profile schema {version}: {', '.join(said)}")
        for name in _READERS.keys() & values.keys():
            try:
                values[name] = _READERS[name](values[name])
            except ProfileError:
                raise
            except (TypeError, ValueError, AttributeError) as problem:
                raise ProfileError(f"profile schema {version}: {name}: {problem}") from None
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The content of the file, as plain lists, dictionaries and numbers."""
        content: dict[str, Any] = {"schema": SCHEMA, "kind": KIND}
        content.update({item.name: _plain(getattr(self, item.name)) for item in fields(self)})
        return content

    def save(self, place: str | os.PathLike[str]) -> Path:
        """Write the profile to a path (or by name, as ``load`` reads it), whole or not at all; returns the path."""
        path = _located(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        # A reader beside us must never see half a file, so the rename comes last.
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return path


def default_path(name: int | str) -> Path:
    """Where the profile of that name or number of ranks is kept: ``$XDG_DATA_HOME/ciranda/profile-NAME.json``."""
    home = os.environ.get("XDG_DATA_HOME")
    base = Path(home) if home else Path.home() / ".local" / "share"
    return base / "ciranda" / f"profile-{name}.json"


def _instead(place: str | os.PathLike[str], path: Path) -> str:
    """What to do where there is no profile: the names that are there, and how to make one."""
    if Path(place) == path:
        return f"write one with: ciranda calibrate --output {path}"
    saved = sorted(file.stem.removeprefix("profile-") for file in path.parent.glob("profile-*.json"))
    known = f"saved are {', '.join(saved)}; " if saved else ""
    return f"{known}write one with: ciranda calibrate --name {Path(place)}"


def _plain(value: object) -> object:
    """The value in lists and dictionaries alone."""
    if isinstance(value, (Fitted, Crowd, Pair, PairClass)):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in cast("Mapping[str, object]", value).items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in cast("tuple[object, ...]", value)]
    return value


_READERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType({
    "intervals": intervals,
    "duplex": knots,
    "curve": knots,
    "streams": knots,
    "changes": lambda content: tuple(int(size) for size in content),
    "groups": lambda content: tuple(int(group) for group in content),
    "points": lambda content: tuple(Fitted(**point) for point in content),
    "pairs": lambda content: tuple(Pair(**pair) for pair in content),
    "crowd": lambda content: tuple(Crowd.from_json(part) for part in content),
    "classes": lambda content: tuple(PairClass.from_json(part) for part in content),
    "reductions": lambda content: {dtype: knots(points) for dtype, points in content.items()},
})  # fmt: skip


def _located(place: str | os.PathLike[str]) -> Path:
    """A bare word is a name, anything with a folder or a suffix is a path."""
    path = Path(place)
    bare = path.parent == Path() and not path.suffix
    return default_path(path.name) if bare and not path.exists() else path
