"""How far the ranks are: they write a line of JSON at each step, and the launcher reads the last one now and then."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Notify", "Progress", "last_line", "watching"]

_PERIOD = 0.2  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a measurement has come: ``done`` of ``total`` visits over all launches, and the cell it is at."""

    done: int
    total: int
    case: str


Notify = Callable[[Progress], object]


def last_line(file: Path) -> dict[str, Any]:
    """The last whole line of a JSON Lines file, empty if there is none."""
    try:
        whole = [line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    except OSError:
        return {}
    return json.loads(whole[-1]) if whole else {}


@contextmanager
def watching(file: Path, notify: Notify | None, done: int, total: int) -> Generator[None]:
    """Tell ``notify``, from a thread of its own, what ``file`` says beyond ``done`` visits of earlier launches.

    ``total``: of all launches; 0 where the file knows.
    """
    if notify is None:
        yield
        return
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(file, ended, notify, done, total), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _watch(file: Path, ended: threading.Event, notify: Notify, done: int, total: int) -> None:
    while not ended.wait(_PERIOD):
        if line := last_line(file):
            notify(Progress(done + line["done"], total or line["total"], line["case"]))
