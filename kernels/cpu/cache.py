"""Machine code on disk, in one file for each function, constants and argument types, named by all it depends on.

Numba's own cache keeps an index for each function and numbers its files, which goes wrong here in three ways: it does
not notice a change in what a function calls in another file; it never finds a function again that closes over other
compiled code; and two processes that compile different types or constants at once can each be given the other's code.
Here a file's name is a digest of the key, and a file is written whole or not at all: nothing to tear, nothing stale.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numba
from numba.core import serialize
from numba.core.caching import FunctionCache as NumbaCache

__all__ = ["Sources", "keep"]

_dumps = cast("Callable[[object], bytes]", cast("Any", serialize).dumps)


class Sources:
    """The Python files of some folders, by a digest: what was compiled from others is of no use any more."""

    def __init__(self, *folders: Path) -> None:
        digest = hashlib.sha256(numba.__version__.encode())
        for source in sorted(source for folder in folders for source in folder.glob("*.py")):
            digest.update(source.read_bytes())
        self.digest = digest.hexdigest()[:16]
        for left in (folders[0] / "__pycache__").glob("*.nb[ci]"):
            if self.digest not in left.name:
                with contextlib.suppress(OSError):  # not ours to remove, or another process was quicker
                    left.unlink()


def keep(dispatcher: Any, sources: Sources) -> None:
    """Let a function that Numba has not compiled yet find, and leave, its code on disk."""
    dispatcher._cache = _Cache(dispatcher.py_func, sources)


class _Cache(cast("type[Any]", NumbaCache)):
    def __init__(self, function: Callable[..., Any], sources: Sources) -> None:
        super().__init__(function)  # pyright: ignore[reportUnknownMemberType]
        self._function, self._sources = function, sources
        self._cache_file = _Files(Path(self.cache_path), f"{function.__qualname__}-{sources.digest}")

    def _index_key(self, signature: Any, codegen: Any) -> str:
        return repr((signature, codegen.magic_tuple(), _described(self._function)))


class _Files:
    """What Numba's cache asks of its files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name.replace("<", "").replace(">", "")

    def load(self, key: str) -> Any:
        """What was saved under the key, or None."""
        try:
            return pickle.loads(self._path(key).read_bytes())  # noqa: S301 - as trusted as the code beside it
        except OSError:  # nothing was, or another process has just removed it
            return None

    def save(self, key: str, data: Any) -> None:
        """Keep data, a tuple that Numba has made ready for pickling."""
        part = self._folder / f"{uuid.uuid4().hex}.part"
        part.write_bytes(_dumps(data))
        part.replace(self._path(key))

    def flush(self) -> None:
        """Nothing is held back."""

    def _path(self, key: str) -> Path:
        return self._folder / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.nbc"


def _described(value: Any) -> object:
    """A constant by its value; a function, compiled or not, by where it was written and what it closes over."""
    function = next((found for name in ("py_func", "_defn") if (found := getattr(value, name, None))), value)
    code = getattr(function, "__code__", None)
    if code is None:
        return repr(value)
    file = Path(code.co_filename).stat()
    place = function.__module__, function.__qualname__, code.co_firstlineno, file.st_mtime_ns, file.st_size
    return place, [_described(cell.cell_contents) for cell in function.__closure__ or ()]
