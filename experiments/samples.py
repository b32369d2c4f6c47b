"""From raw samples to records, and the folder that holds both.

A results folder: ``samples.jsonl`` (one JSON object a sample, warm-up included and marked), ``results.json`` (the
records and the environment), ``environment.json``, the profiles that predictions were made from, and samples and
records once more as Parquet. docs/schema.md lists every column.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectives.profile import Profile
from experiments import parquet
from experiments.records import NATIVE, SAMPLES_SCHEMA, Record, bandwidths, document
from experiments.statistics import median, median_ratio

__all__ = ["EXECUTOR", "read", "summarise", "write_folder"]

EXECUTOR = "interpreted"
"""What moves the messages of our own algorithms."""


class _Key(NamedTuple):
    algorithm: str
    ranks: int
    nbytes: int
    dtype: str
    op: str
    in_place: bool


@dataclass(slots=True)
class _Pile:
    """The samples of one cell that are no warm-up."""

    seconds: list[float] = field(default_factory=list[float])
    local: list[list[int]] = field(default_factory=list[list[int]])
    cpu: list[list[int]] = field(default_factory=list[list[int]])
    launches: set[int] = field(default_factory=set[int])
    wrong: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    oversubscribed: bool = False
    clock: str = ""

    def add(self, line: Mapping[str, Any]) -> None:
        self.seconds.append(line["seconds"])
        self.local.append([leave - enter for enter, leave in zip(line["enter_ns"], line["exit_ns"], strict=True)])
        if "cpu_ns" in line:
            self.cpu.append(line["cpu_ns"])
        self.launches.add(line["launch"])
        self.oversubscribed, self.clock = line["oversubscribed"], line["clock"]

    def rank_means(self) -> NDArray[np.float64]:
        """Seconds that each rank spent in the call on average."""
        return np.asarray(self.local, dtype=np.float64).mean(axis=0) * 1e-9

    def cpu_times(self) -> tuple[float, float] | None:
        """Medians over the samples of the CPU seconds of a call: mean over the ranks, and of the busiest rank."""
        if not self.cpu:
            return None
        table = np.asarray(self.cpu, dtype=np.float64) * 1e-9
        return float(np.median(table.mean(axis=1))), float(np.median(table.max(axis=1)))


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of ``samples.jsonl``; a last line that a killed launch left unfinished is passed over."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def summarise(
    lines: Iterable[Mapping[str, Any]], library: str, place: str = "local", *,
    device: str = "cpu", executor: str = EXECUTOR,
) -> list[Record]:  # fmt: skip
    """One record for each cell that has samples: medians, intervals and the ratio to the native library.

    Samples of all launches count alike. Ordered by ranks, dtype, operation, size, and then native first. ``place``
    names where the ranks ran, ``device`` where the vectors lay, ``executor`` what moved them.
    """
    piles: dict[_Key, _Pile] = defaultdict(_Pile)
    for line in lines:
        pile = piles[_Key(*(line[name] for name in _Key._fields))]
        # Each visit says on all its lines how many elements were wrong, so one line stands for the visit.
        pile.wrong[line["launch"], line["visit"]] = line["wrong"]
        if not line["warmup"]:
            pile.add(line)
    keys = sorted((key for key, pile in piles.items() if pile.seconds), key=_place)
    return [
        replace(
            _record(key, piles[key], piles.get(key._replace(algorithm=NATIVE)), library, executor),
            place=place, device=device,
        )
        for key in keys
    ]  # fmt: skip


def write_folder(
    folder: Path,
    records: Sequence[Record],
    environment: Mapping[str, Any],
    profiles: Mapping[int, Profile],
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write all but ``samples.jsonl``, which is there already, into a folder that exists.

    ``more``: further objects of ``results.json``, beside records and environment.
    """
    known = {**environment, "samples_schema": SAMPLES_SCHEMA}
    _write_json(folder / "results.json", {**document(records, known), **more})
    _write_json(folder / "environment.json", known)
    parquet.write_records(folder / "results.parquet", records)
    if (folder / "samples.jsonl").is_file():
        parquet.write_samples(folder / "samples.parquet", read(folder / "samples.jsonl"))
    for ranks, profile in profiles.items():
        profile.save(folder / f"profile-{ranks}.json")


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _place(key: _Key) -> tuple[object, ...]:
    return key.ranks, key.dtype, key.op, key.in_place, key.nbytes, key.algorithm != NATIVE, key.algorithm


def _record(key: _Key, pile: _Pile, native: _Pile | None, library: str, executor: str) -> Record:
    time = median(pile.seconds)
    means, cpu = pile.rank_means(), pile.cpu_times()
    algbw, busbw = bandwidths("allreduce", key.ranks, key.nbytes, time.value)
    is_native = key.algorithm == NATIVE
    ratio = median_ratio(native.seconds, pile.seconds) if native and native.seconds and not is_native else None
    return Record(
        **key._asdict(),
        collective="allreduce",
        executor=NATIVE if is_native else executor,
        library=library,
        measured_seconds=time.value,
        measured_low=time.low,
        measured_high=time.high,
        samples=len(pile.seconds),
        launches=len(pile.launches),
        rank_mean_seconds=float(means.mean()),
        rank_min_seconds=float(means.min()),
        rank_max_seconds=float(means.max()),
        native_seconds=median(native.seconds).value if native and native.seconds else None,
        native_ratio=ratio.value if ratio else None,
        native_ratio_low=ratio.low if ratio else None,
        native_ratio_high=ratio.high if ratio else None,
        algbw=algbw,
        busbw=busbw,
        oversubscribed=pile.oversubscribed,
        correct=not any(pile.wrong.values()),
        wrong=sum(pile.wrong.values()),
        clock=pile.clock,
        cpu_seconds=cpu[0] if cpu else None,
        cpu_max_seconds=cpu[1] if cpu else None,
    )
