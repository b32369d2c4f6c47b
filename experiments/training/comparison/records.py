"""The flat record of one contestant: what training was like, beside what was predicted; and the file of all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, cast

from experiments.errors import UsageFault
from experiments.training.comparison.contestants import Contestant
from experiments.training.comparison.workload import Workload

__all__ = ["FILE", "SCHEMA", "STEPS_FILE", "Trained", "TrainingRecord", "read", "write"]

SCHEMA = 1
"""Version of the file of records."""

FILE, STEPS_FILE = "training.json", "training_steps.jsonl"
"""The records with what they say together, and every step of every worker, in a folder of results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """One contestant. Seconds, bytes and samples; None is what was not measured or cannot be predicted.

    ``algorithm`` of the allreduce, or ``consistency``, ``servers`` and ``colocated`` of the parameter server;
    ``label``: both in a word. ``nbytes``: the whole gradient. ``batch``: samples of a worker in a step;
    ``compute_seconds``: how long it computes on them. ``measured_seconds`` is the median over ``samples`` steps of the
    workers, without those before ``warmup`` were over, with its 95 % interval. ``throughput``: training samples per
    second of all workers together; ``efficiency``: that beside ``ranks`` times one rank alone. ``exposed_seconds``:
    the part of a step in which a worker did not compute (median). ``sent_bytes``: what all ranks sent in a step,
    headers included, mean; ``sent_most_bytes``: by the rank that sent most. ``staleness``: how many pushes missed
    0, 1, 2, ... updates by others. ``curve``: seconds of training and the accuracy on test samples then;
    ``target_seconds``: when ``target_accuracy`` was reached. ``oversubscribed``: more ranks than cores.
    """

    ranks: int
    workers: int
    strategy: str
    label: str
    algorithm: str = ""
    consistency: str = ""
    servers: int = 0
    colocated: bool = False
    synchronous: bool = True
    data: str = ""
    model: str = ""
    nbytes: int
    batch: int
    compute_seconds: float
    place: str = ""
    library: str = ""
    oversubscribed: bool = False
    steps: int = 0
    warmup: int = 0
    samples: int = 0
    measured_seconds: float | None = None
    measured_low: float | None = None
    measured_high: float | None = None
    throughput: float | None = None
    efficiency: float | None = None
    exposed_seconds: float | None = None
    sent_bytes: float | None = None
    sent_most_bytes: float | None = None
    staleness: tuple[int, ...] = ()
    accuracy: float | None = None
    target_accuracy: float | None = None
    target_seconds: float | None = None
    curve: tuple[tuple[float, float], ...] = ()
    simulated_seconds: float | None = None
    simulated_throughput: float | None = None
    simulated_exposed_seconds: float | None = None
    simulated_sent_bytes: float | None = None
    simulated_staleness: float | None = None
    theory_seconds: float | None = None

    @property
    def staleness_mean(self) -> float | None:
        """Updates by others that a push missed, on average."""
        pushes = sum(self.staleness)
        return sum(missed * count for missed, count in enumerate(self.staleness)) / pushes if pushes else None

    @property
    def staleness_max(self) -> int | None:
        """The most that a push missed."""
        return max((missed for missed, count in enumerate(self.staleness) if count), default=None)

    def error(self, predicted: float | None) -> float | None:
        """|predicted − measured| / measured of the time of a step."""
        measured = self.measured_seconds
        return None if predicted is None or not measured else abs(predicted - measured) / measured

    def to_json(self) -> dict[str, Any]:
        """A dictionary that ``json.dumps`` takes with ``allow_nan=False``; derived figures are in it too."""
        derived = {
            "staleness_mean": self.staleness_mean, "staleness_max": self.staleness_max,
            "simulated_error": self.error(self.simulated_seconds), "theory_error": self.error(self.theory_seconds),
        }  # fmt: skip
        return {key: _finite(value) for key, value in {**asdict(self), **derived}.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainingRecord:
        """What ``to_json`` wrote. A UsageFault names what is missing."""
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in content.items() if key in known}
        try:
            values["staleness"] = tuple(int(count) for count in values.get("staleness") or ())
            values["curve"] = tuple((float(at), float(share)) for at, share in values.get("curve") or ())
            return cls(**values)
        except (TypeError, ValueError) as problem:
            raise UsageFault(f"a record of training is not complete: {problem}; measure anew") from None

    @classmethod
    def empty(cls, contestant: Contestant, nbytes: int, workload: Workload) -> TrainingRecord:
        """That of a contestant which is still to be measured and predicted."""
        return cls(
            **contestant.to_json(), workers=contestant.workers, label=contestant.label,
            strategy="ps" if contestant.servers else "allreduce", synchronous=contestant.synchronous,
            data=workload.data, model=workload.model, nbytes=nbytes, batch=workload.batch,
            compute_seconds=workload.compute, target_accuracy=workload.target,
        )  # fmt: skip


class Trained(NamedTuple):
    """All records of one comparison, where they were taken, and what they say together."""

    records: Sequence[TrainingRecord]
    environment: Mapping[str, Any]
    findings: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The content of ``FILE`` and of ``--json``."""
        lines = [record.to_json() for record in self.records]
        return {
            "schema": SCHEMA, "environment": dict(self.environment), "records": lines, "findings": dict(self.findings)
        }  # fmt: skip


def write(folder: Path, trained: Trained) -> None:
    """Put ``FILE`` into a folder of results, whole or not at all."""
    part = folder / f"{FILE}.part"
    content = json.dumps(trained.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    part.write_text(content + "\n", encoding="utf-8")
    part.replace(folder / FILE)


def read(folder: Path) -> Trained | None:
    """What lies in a folder of results; None where nothing does. A UsageFault says what is wrong with it."""
    path = folder / FILE
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as problem:
        raise UsageFault(f"{path} is not JSON ({problem}); remove it, or measure anew") from None
    values = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    if values.get("schema") != SCHEMA:
        raise UsageFault(f"{path}: schema {values.get('schema')!r} is not known (this reads {SCHEMA}); measure anew")
    records = [TrainingRecord.from_json(line) for line in values.get("records", ())]
    return Trained(records, values.get("environment", {}), values.get("findings", {}))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
