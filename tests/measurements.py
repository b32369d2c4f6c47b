"""Invented measurements in a results folder, written through the project's own records, for tests of what reads one."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from collectives import catalogue
from collectives.profile import Crowd, Fitted, Pair, PairClass, Profile
from experiments.records import NATIVE, Record, bandwidths, document
from simulator import networks, simulate, theory

ENVIRONMENT = {
    "ciranda": "0.1.0",
    "revision": "abc1234",
    "created": "2026-01-02T03:04:05+00:00",
    "python": "3.11.7",
    "system": "Linux 6.1.0",
    "cpu": "Imaginary CPU @ 2.00GHz",
    "cores": 2,
    "memory_bytes": 8 * 2**30,
    "load_average": 0.1,
    "packages": {"numpy": "2.4.0", "mpi4py": "4.1.0"},
}
LIBRARY = "Open MPI 5.0.11"
CLOCK = "shared"


def profile(ranks: int, *, crowded: bool = False) -> Profile:
    alpha, beta = (4e-5, 4e-10) if crowded else (3e-6, 1.5e-10)
    line = [(n, alpha + n * beta) for n in (8, 1024, 65536, 4194304)]
    points = [
        Fitted(pattern, n, fitted * off, fitted * off * 0.98, fitted * off * 1.03, 50, fitted)
        for pattern, off in (("pingpong", 1.05), ("exchange", 1.4), ("reduction", 0.9))
        for n, fitted in line
    ]
    return Profile(
        alpha, beta, 8e-11, 7e-7, ranks, oversubscribed=crowded, library=LIBRARY,
        intervals={"alpha": (alpha * 0.9, alpha * 1.1), "beta": (beta * 0.8, beta * 1.2)},
        duplex=((8, 1.0), (1024, 1.1), (65536, 1.4), (4194304, 1.9)), points=tuple(points),
    )  # fmt: skip


def rich_profile(ranks: int, **changes: Any) -> Profile:
    """A profile of schema 2, with everything that a calibration can hold: two racks of an emulated cluster."""
    plain = profile(ranks)
    curve = tuple((n, 1.1 * (plain.alpha + plain.beta * n)) for n in (0, 8, 1024, 65536, 4194304))
    classes = tuple(
        PairClass(name, 4, plain.alpha * dearer, plain.beta, {"alpha": (1e-6, 9e-6), "beta": (1e-10, 2e-10)})
        for name, dearer in (("near", 1.0), ("far", 2.0))
    )
    pairs = tuple(Pair(a, b, plain.alpha, plain.beta) for a in range(ranks) for b in range(ranks) if a != b)
    values: dict[str, Any] = {
        "curve": curve, "changes": (65536,), "eager": 65536, "streams": ((8, 0.8), (65536, 0.95)),
        "overhead_per_byte": 1e-11, "cores": 2, "waiting": "yields", "classes": classes, "pairs": pairs,
        "points": tuple(replace(p, curve=1.01 * p.seconds) if p.pattern == "pingpong" else p for p in plain.points),
        "crowd": (Crowd(2, plain.alpha, plain.beta, plain.overhead, 0.0, curve, plain.duplex),),
        "groups": tuple(rank % 2 for rank in range(ranks)), "trunk": 1.25e7, "declared": "two-racks", "agrees": True,
    }  # fmt: skip
    return replace(plain, **{**values, **changes})


def explained(item: Record, **shares: float) -> Record:
    """The record with the gap between theory and measurement shared out among terms; what is left is unexplained."""
    if item.theory_seconds is None or item.measured_seconds is None:
        return item
    gap = item.measured_seconds - item.theory_seconds
    terms = {name: share * gap for name, share in shares.items()}
    terms["unexplained"] = gap - sum(terms.values())
    return replace(
        item,
        simulated_seconds=item.measured_seconds - terms["unexplained"],
        explained=terms,
        reason=max(terms, key=lambda name: abs(terms[name])),
        cpu_seconds=item.measured_seconds / 3,
    )


def with_samples(folder: Path, content: Iterable[Record], count: int = 20, seed: int = 1) -> Path:
    """Write ``count`` samples around each record's time, and a slower warm-up, where the results lie."""
    luck = random.Random(seed)
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as file:
        for item in content:
            key = {"algorithm": item.algorithm, "ranks": item.ranks, "nbytes": item.nbytes, "dtype": item.dtype}
            for number in range(count + 1):
                seconds = (item.measured_seconds or 1.0) * (luck.uniform(0.97, 1.03) if number else 50)
                line = {**key, "op": item.op, "in_place": item.in_place, "warmup": not number, "seconds": seconds}
                file.write(json.dumps(line) + "\n")
    return folder


def record(name: str, ranks: int, nbytes: int, seconds: float, native: float | None, **changes: object) -> Record:
    costs = profile(ranks, crowded=ranks > 2)
    base = name.partition(":")[0]
    known = base in catalogue.names("allreduce")
    algbw, busbw = bandwidths("allreduce", ranks, nbytes, seconds)
    values: dict[str, object] = {
        "algorithm": name, "collective": "allreduce", "executor": NATIVE if name == NATIVE else "interpreted",
        "library": LIBRARY, "ranks": ranks, "nbytes": nbytes, "dtype": "float32", "op": "sum",
        "measured_seconds": seconds, "measured_low": seconds * 0.95, "measured_high": seconds * 1.07, "samples": 60,
        "native_seconds": native, "algbw": algbw, "busbw": busbw, "oversubscribed": ranks > 2, "correct": True,
        "clock": CLOCK, "bound_seconds": theory.bound("allreduce", ranks, nbytes, costs.alpha, costs.beta, costs.gamma),
    }  # fmt: skip
    if known:
        algorithm = catalogue.parse(name)
        network = networks.from_profile(costs, ranks)
        values["theory_seconds"] = theory.seconds(algorithm, ranks, nbytes, costs.alpha, costs.beta, costs.gamma)
        values["simulated_seconds"] = simulate(algorithm, ranks, nbytes, network).seconds
    if native is not None:
        values |= {
            "native_ratio": native / seconds,
            "native_ratio_low": native / seconds * 0.9,
            "native_ratio_high": native / seconds * 1.1,
        }
    return Record(**{**values, **changes})  # type: ignore[arg-type]  # the keys are Record's own


def records(algorithms: Iterable[str], ranks: Iterable[int], sizes: Iterable[int], seed: int = 1) -> list[Record]:
    """Times around theory: dearer calls and messages, and half as fast again with more ranks than cores."""
    luck = random.Random(seed)
    found: list[Record] = []
    for count in ranks:
        costs = profile(count, crowded=count > 2)
        for nbytes in sizes:
            bound = theory.bound("allreduce", count, nbytes, costs.alpha, costs.beta, costs.gamma)
            native = bound * luck.uniform(0.6, 1.1)
            found.append(record(NATIVE, count, nbytes, native, native))
            for name in algorithms:
                cost = catalogue.parse(name).cost(count)
                slow = cost.seconds(nbytes, costs.alpha * 2.5, costs.beta * 1.3, costs.gamma)
                found.append(record(name, count, nbytes, (1.2e-5 + slow) * luck.uniform(0.9, 1.2), native))
    return found


def write(folder: Path, content: Sequence[Record], *, environment: dict[str, object] | None = None) -> Path:
    """A results folder with ``content``, a profile for each rank count, and a sample file."""
    folder.mkdir(parents=True, exist_ok=True)
    known = ENVIRONMENT if environment is None else environment
    (folder / "results.json").write_text(json.dumps(document(content, known)), encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps(known), encoding="utf-8")
    (folder / "samples.jsonl").write_text('{"launch": 0, "seconds": 1e-5}\n', encoding="utf-8")
    for ranks in {item.ranks for item in content}:
        profile(ranks, crowded=ranks > 2).save(folder / f"profile-{ranks}.json")
    return folder


SIZES = (8, 64, 512, 4096, 32768, 262144, 1048576, 4194304)
