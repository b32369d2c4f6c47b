"""Folders that the launcher and its ranks work in: gone afterwards, and after kill -9 when the next one is made."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from experiments.processes import started_at

__all__ = ["results_folder", "sweep", "work_folder"]

_NAME = re.compile(r"ciranda-(\d+)-(\d+)-(\d+)-\w+")


@contextmanager
def work_folder() -> Generator[Path]:
    """A new folder among the system's temporary ones, that only this user can read, gone on leaving."""
    sweep()
    own = os.getpid()
    with tempfile.TemporaryDirectory(prefix=f"ciranda-{_processes()}-{own}-{started_at(own)}-") as name:
        yield Path(name)


@contextmanager
def results_folder(kept: Path | None) -> Generator[Path]:
    """``kept``, or without one a work folder."""
    if kept is not None:
        yield kept
        return
    with work_folder() as made:
        yield made


def sweep() -> int:
    """Remove the folders of this user's processes that were killed before they could; how many there were.

    A folder's name says whose it is: process namespace, number and start of the process. Those of another namespace,
    whose processes cannot be seen from here, stay.
    """
    swept = 0
    for entry in Path(tempfile.gettempdir()).glob("ciranda-*"):
        parts = _NAME.fullmatch(entry.name)
        if parts is None or int(parts[1]) != _processes() or started_at(int(parts[2])) == int(parts[3]):
            continue
        if not entry.is_symlink() and entry.is_dir() and entry.stat().st_uid == os.getuid():
            shutil.rmtree(entry, ignore_errors=True)
            swept += 1
    return swept


def _processes() -> int:
    """The namespace in which process numbers mean something."""
    return os.stat("/proc/self/ns/pid").st_ino
