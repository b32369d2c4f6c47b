"""What one machine's messages and reductions cost: the measured numbers behind selection, simulation and theory.

A profile is a small versioned JSON file, written by ``ciranda calibrate`` and readable by a person. Everything in it
is in seconds and bytes. Pure Python, so that reading one costs nothing and starts nothing.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

__all__ = ["SCHEMA", "Fitted", "Profile", "ProfileError", "default_path"]

SCHEMA = 1
"""Version of the file format. It changes whenever a reader of the old form would misunderstand the new one."""

KIND = "ciranda-profile"


class ProfileError(ValueError):
    """A profile that cannot be found, read or believed."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """One point of the calibration and what the fitted line says there.

    ``pattern`` is ``pingpong`` (one way), ``exchange`` (both ways at once) or ``reduction``. ``seconds`` is the median
    of ``samples`` measurements for ``nbytes`` bytes, ``low`` to ``high`` its 95 % interval (None with too few samples),
    ``fitted`` the seconds of the model: the one-way line for ``pingpong`` and ``exchange``, gamma for ``reduction``.
    """

    pattern: str
    nbytes: int
    seconds: float
    low: float | None
    high: float | None
    samples: int
    fitted: float

    @property
    def residual(self) -> float:
        """Relative error of the fit: ``(fitted - seconds) / seconds``."""
        return (self.fitted - self.seconds) / self.seconds


@dataclass(frozen=True, slots=True)
class Profile:
    """Costs of one message and of reducing one byte, for ``ranks`` ranks at work together on one machine.

    ``alpha`` seconds per message, ``beta`` seconds per byte of a message, ``gamma`` seconds per reduced byte,
    ``overhead`` CPU seconds that each end spends on a message (the o of LogP, Culler et al. 1993; part of alpha).
    ``intervals`` maps those names to 95 % intervals. ``duplex`` lists ``(nbytes, factor)``: how many times longer a
    message takes while another goes the other way between the same two ranks (1 is full duplex, 2 half duplex).
    ``measured`` is False for a guess. ``oversubscribed`` says that there were more ranks than cores.
    ``points`` and ``environment`` tell where the numbers come from.

    Raises ProfileError for a number that is negative, infinite or not a number.
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
    duplex: tuple[tuple[int, float], ...] = ()
    points: tuple[Fitted, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma", "overhead"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ProfileError(f"profile: {name} must be a number of seconds, got {value!r}")
            if not math.isfinite(value) or value < 0:
                raise ProfileError(f"profile: {name} must be finite and not negative, got {value!r}")
        if isinstance(self.ranks, bool) or not isinstance(self.ranks, int) or self.ranks < 1:  # pyright: ignore[reportUnnecessaryIsInstance] - it may come from a file
            raise ProfileError(f"profile: ranks must be a whole number of at least 1, got {self.ranks!r}")

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
            raise ProfileError(f"no profile at {path}; write one with: ciranda calibrate --output {path}") from None
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

        A file that is there and cannot be believed raises ProfileError; only one that is missing is passed over.
        """
        chosen = os.environ.get("CIRANDA_PROFILE")
        if chosen:
            return cls.load(chosen)
        saved = default_path(ranks)
        return cls.load(saved) if saved.is_file() else cls.default()

    @classmethod
    def from_json(cls, content: object) -> Profile:
        """The profile that ``to_json`` wrote; raises ProfileError for anything else."""
        if not isinstance(content, dict) or cast("dict[str, Any]", content).get("kind") != KIND:
            raise ProfileError('this is no Ciranda profile (it has no "kind": "ciranda-profile")')
        values = dict(cast("dict[str, Any]", content))
        version = values.pop("schema", None)
        if version != SCHEMA:
            raise ProfileError(
                f"profile schema {version!r} is not known to this version, which reads {SCHEMA}; "
                "upgrade ciranda or write the profile anew with: ciranda calibrate"
            )
        del values["kind"]
        known = {item.name for item in fields(cls)}
        missing, extra = {"alpha", "beta", "gamma"} - values.keys(), values.keys() - known
        if missing or extra:
            said = [f"{name} is missing" for name in sorted(missing)]
            said += [f"{name} is not known" for name in sorted(extra)]
            raise ProfileError(f"profile schema {SCHEMA}: {', '.join(said)}")
        try:
            intervals = values.get("intervals", {}).items()
            values["intervals"] = {key: (float(low), float(high)) for key, (low, high) in intervals}
            values["duplex"] = tuple((int(nbytes), float(factor)) for nbytes, factor in values.get("duplex", ()))
            values["points"] = tuple(Fitted(**point) for point in values.get("points", ()))
        except (TypeError, ValueError, AttributeError) as problem:
            raise ProfileError(f"profile schema {SCHEMA}: {problem}") from None
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The content of the file, as plain lists, dictionaries and numbers."""
        content: dict[str, Any] = {"schema": SCHEMA, "kind": KIND}
        content.update({item.name: getattr(self, item.name) for item in fields(self)})
        content["intervals"] = {key: list(pair) for key, pair in self.intervals.items()}
        content["duplex"] = [list(pair) for pair in self.duplex]
        content["points"] = [asdict(point) for point in self.points]
        content["environment"] = dict(self.environment)
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


def _located(place: str | os.PathLike[str]) -> Path:
    """A bare word is a name, anything with a folder or a suffix is a path."""
    path = Path(place)
    bare = path.parent == Path() and not path.suffix
    return default_path(path.name) if bare and not path.exists() else path
