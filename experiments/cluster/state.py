"""Which cluster is up: one file of this user, and the folder that it lies in."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from experiments.cluster.holder import Holder
from experiments.cluster.shape import Shape
from experiments.errors import UsageFault

__all__ = ["State", "file", "folder", "forget", "locked", "read", "write"]

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class State:
    """A cluster that was brought up: what it looks like, and who holds it. ``boot`` tells this start of the machine."""

    shape: Shape
    holder: Holder
    boot: str

    @classmethod
    def of(cls, shape: Shape, holder: Holder) -> State:
        """The state of a cluster that has just come up."""
        return cls(shape, holder, _BOOT.read_text().strip())

    def stale(self) -> bool:
        """Whether its processes are gone: they were killed, or the machine was started anew."""
        return self.boot != _BOOT.read_text().strip() or not self.holder.alive()


def folder() -> Path:
    """Where this user's state lies: below XDG_RUNTIME_DIR, else in a private folder for temporary files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "ciranda") if runtime and Path(runtime).is_dir() else Path(f"/tmp/ciranda-{os.getuid()}")  # noqa: S108 - checked before use, see _private


def file() -> Path:
    """The state file of the cluster that commands without a name of their own mean."""
    return folder() / "cluster.json"


@contextmanager
def locked() -> Generator[None]:
    """Only one process at a time brings clusters up or down; the folder is there meanwhile, and goes when empty."""
    place = folder()
    place.mkdir(mode=0o700, exist_ok=True)
    _private(place)
    lock = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
        with suppress(OSError):  # a cluster is up
            place.rmdir()


def read() -> State | None:
    """The state that was written last, stale or not; None where there is none, or none that can be read."""
    if not folder().exists():
        return None
    _private(folder())
    try:
        known = json.loads(file().read_text(encoding="utf-8"))
        return State(Shape(**known["shape"]), Holder(**known["holder"]), known["boot"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, UsageFault):
        return None


def write(state: State) -> None:
    """Keep it, whole or not at all."""
    draft = file().with_suffix(".new")
    draft.write_text(json.dumps(asdict(state)) + "\n", encoding="utf-8")
    draft.replace(file())


def forget() -> None:
    """Remove what ``write`` has left."""
    for place in (file(), file().with_suffix(".new")):
        place.unlink(missing_ok=True)


def _private(place: Path) -> None:
    facts = place.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise UsageFault(f"{place} is no folder of yours alone (mode 0700); remove it, or set XDG_RUNTIME_DIR")
