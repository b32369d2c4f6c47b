"""A file of JSON objects, one a line, that grows by whole lines and survives being cut off."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from experiments.errors import UsageFault

__all__ = ["JsonLines"]


class JsonLines:
    """The objects that ``path`` holds as ``lines``, and a way to add more; to be used in a ``with``.

    The file is made if there is none. A last line that was not written to its end is cut off. Nobody else can open it
    meanwhile. Raises UsageFault for a line that is no JSON object, and where another process has the file open so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("ab+")
        except OSError as problem:
            raise UsageFault(f"{path}: cannot be written ({problem.strerror})") from problem
        self.lines: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError:
            self._file.close()
            raise UsageFault(f"{self._path}: another process is writing to it; wait, or name another file") from None
        except UsageFault:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, line: Mapping[str, Any]) -> None:
        """Append ``line``, and have it on the disk before going on."""
        self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.lines.append(dict(line))

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        self.lines = [self._parsed(number, line) for number, line in enumerate(content[:whole].splitlines(), start=1)]
        if whole < len(content):
            self._mend(whole, content[whole:])

    def _mend(self, whole: int, torn: bytes) -> None:
        """End the last line, or cut it off where it is not complete; only if it can be one of ours."""
        try:
            self.lines.append(self._parsed(len(self.lines) + 1, torn))
            self._file.write(b"\n")
        except UsageFault:
            if not torn.startswith(b"{"):
                raise
            self._file.truncate(whole)

    def _parsed(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UsageFault(f"{self._path}, line {number}: no JSON object; this is no file of results")
        return cast("dict[str, Any]", found)
