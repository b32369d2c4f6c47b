"""Checkpoints that survive a ``kill -9`` at any moment: whole files only, summed up, the last two of them kept.

    checkpoints = Checkpoints(folder, "server0")
    checkpoints.write(17, server.snapshot(), {"sequence": 17})
    found = checkpoints.newest()          # None in a fresh folder

A file is written beside its place, flushed to the disk with fsync, renamed, and then the folder is flushed: a name
that can be seen belongs to a whole file, and after a power cut as well. Format: a fixed prefix (magic, version, length
and crc32c of the header), a JSON header (facts; name, dtype, shape and crc32c of each array), the arrays' bytes.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from kernels import checksum

__all__ = ["Checkpoint", "CheckpointError", "Checkpoints", "Interval"]

KEPT = 2
"""How many are kept: where the disk damaged the last one, the one before is taken."""

_MAGIC, _VERSION = b"CIRANDA\n", 1
_PREFIX = struct.Struct("<8sIII")
_KINDS = "fiub"


class CheckpointError(Exception):
    """A file is no whole checkpoint, or none of a folder is; the message names what is wrong with which file."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was found in a file. ``passed_over`` names newer files that were damaged, with what was wrong."""

    path: Path
    number: int
    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any]
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints called ``name`` in a folder, which is made where it is missing. One process writes them."""

    folder: Path
    name: str

    def write(self, number: int, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any] | None = None) -> Path:
        """Write checkpoint ``number``, which takes the place of those with a higher number: their line was given up.

        ``facts`` is what JSON can say. Arrays are of floats, ints or bools (ValueError else). Returns once the disk
        has it. Cost: the bytes written once, read twice, and two fsyncs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.name}-{number:012d}.checkpoint"
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            _write(file, number, arrays, facts or {})
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        self._flush_folder()
        self._tidy(number)
        return path

    def newest(self) -> Checkpoint | None:
        """The newest whole one; None where there is none at all. CheckpointError where all are damaged."""
        whole, damaged = self.whole()
        if damaged and not whole:
            raise CheckpointError(f"no checkpoint is whole: {'; '.join(damaged)}. Remove them to start anew")
        return replace(whole[-1], passed_over=damaged) if whole else None

    def whole(self) -> tuple[list[Checkpoint], tuple[str, ...]]:
        """All that are whole, the newest last, and what is wrong with the others. Cost: all of them read."""
        whole: list[Checkpoint] = []
        damaged: list[str] = []
        for _, path in self._files():
            try:
                whole.append(_read(path))
            except CheckpointError as fault:
                damaged.append(str(fault))
        return whole, tuple(damaged)

    def give_up(self, number: int) -> None:
        """Remove those after ``number``: the run goes on from there, and perhaps otherwise."""
        for at, path in self._files():
            if at > number:
                path.unlink(missing_ok=True)

    def _files(self) -> list[tuple[int, Path]]:
        wanted = re.compile(re.escape(self.name) + r"-(\d{12})\.checkpoint")
        entries = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((int(found[1]), path) for path in entries if (found := wanted.fullmatch(path.name)))

    def _tidy(self, number: int) -> None:
        files = self._files()
        kept = [path for at, path in files if at <= number][-KEPT:]
        for _, path in files:
            if path not in kept:
                path.unlink(missing_ok=True)

    def _flush_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(slots=True)
class Interval:
    """When the next checkpoint is due: after so many seconds, or so many updates, whichever comes first.

    What was acknowledged since the last one can be lost where no replica has it.
    """

    seconds: float = float("inf")
    updates: float = float("inf")
    _since: float = field(default=0.0, init=False)
    _at: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.updates > 0):
            raise ValueError(f"an interval must be above 0, got {self.seconds} s and {self.updates} updates")

    def due(self, now: float, updates: int) -> bool:
        """Whether it is time, with ``updates`` made so far; nothing is due where nothing was updated."""
        late = now - self._since >= self.seconds or updates - self._at >= self.updates
        return updates > self._at and late

    def written(self, now: float, updates: int) -> None:
        """One was written of the state after ``updates``."""
        self._since, self._at = now, updates


def _write(file: BinaryIO, number: int, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    if wrong := [name for name, array in whole.items() if array.dtype.kind not in _KINDS]:
        raise ValueError(f"a checkpoint holds floats, ints and bools, and {', '.join(wrong)} is neither")
    listed = [
        {"name": name, "dtype": array.dtype.str, "shape": array.shape, "crc32c": _sum(array)}
        for name, array in whole.items()
    ]
    header = json.dumps({"number": number, "facts": facts, "arrays": listed}, allow_nan=False).encode()
    file.write(_PREFIX.pack(_MAGIC, _VERSION, len(header), _sum(header)))
    file.write(header)
    file.writelines(array.reshape(-1).view(np.uint8).data for array in whole.values())


def _read(path: Path) -> Checkpoint:
    with path.open("rb") as file:
        header = _header(path, file)
        arrays = dict(_arrays(path, file, cast("Sequence[Mapping[str, Any]]", header["arrays"])))
        if file.read(1):
            raise CheckpointError(f"{path}: bytes after its end")
    return Checkpoint(path, int(header["number"]), arrays, header["facts"])


def _header(path: Path, file: BufferedReader) -> Mapping[str, Any]:
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise CheckpointError(f"{path}: ends within its first {_PREFIX.size} bytes")
    magic, version, length, wanted = _PREFIX.unpack(prefix)
    if (magic, version) != (_MAGIC, _VERSION):
        raise CheckpointError(f"{path}: begins with {magic!r}, version {version}, not {_MAGIC!r}, version {_VERSION}")
    if length > os.fstat(file.fileno()).st_size:
        raise CheckpointError(f"{path}: a header of {length} bytes is longer than the file")
    header = file.read(length)
    if _sum(header) != wanted:
        raise CheckpointError(f"{path}: its header is damaged (crc32c)")
    return cast("Mapping[str, Any]", json.loads(header))


def _arrays(
    path: Path, file: BufferedReader, listed: Sequence[Mapping[str, Any]]
) -> Iterable[tuple[str, NDArray[Any]]]:
    for each in listed:
        array = np.empty(each["shape"], np.dtype(each["dtype"]))
        if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
            raise CheckpointError(f"{path}: ends within {each['name']}")
        if _sum(array) != each["crc32c"]:
            raise CheckpointError(f"{path}: {each['name']} is damaged (crc32c)")
        yield str(each["name"]), array


def _sum(buffer: Any) -> int:
    return checksum.get("crc32c")(buffer)
