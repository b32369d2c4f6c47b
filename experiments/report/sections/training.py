"""The section on training: the parameter server against allreduce, step by step and by time to accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.report.plots import Figure
from experiments.report.texts import Texts
from experiments.report.training_figures import TrainingFigures
from experiments.training.comparison.records import Trained, TrainingRecord

__all__ = ["figures", "values"]


def values(trained: Trained | None, say: Texts) -> dict[str, Any]:
    """What the template needs under ``training``, None where no training was measured."""
    measured = _measured(trained)
    if trained is None or not measured:
        return {"training": None}
    draw, ranks = TrainingFigures(say), _ranks(measured)
    return {
        "training": {
            "lead": _lead(measured[0], say),
            "place": _place(measured, trained.environment, say),
            "ranks": [(str(count), str(count)) for count in ranks],
            "stale": any(not record.synchronous and sum(record.staleness) for record in measured),
            "tables": [
                (count, [(draw.name(record), record) for record in measured if record.ranks in (1, count)])
                for count in ranks
            ],
            "errors": trained.findings.get("errors", ()),
            "crossings": [_crossing(row, say) for row in trained.findings.get("crossings", ())],
            "wire": trained.findings.get("wire", ()),
        }
    }  # fmt: skip


def figures(trained: Trained | None, say: Texts) -> dict[str, dict[str, Figure]]:
    """What a step is made of, accuracy, staleness and servers for each number of ranks; efficiency over all."""
    measured = _measured(trained)
    if trained is None or not measured:
        return {}
    draw = TrainingFigures(say)
    by_ranks = {str(count): [r for r in measured if r.ranks == count] for count in _ranks(measured)}
    crossings: Sequence[Mapping[str, Any]] = trained.findings.get("crossings", ())
    steps = {
        count: [row for row in crossings if str(row["ranks"]) == count and row["over"] == "step"] for count in by_ranks
    }
    stale = {count: figure for count, records in by_ranks.items() if (figure := draw.staleness(records))}
    return {
        "training_steps": {count: draw.steps(records) for count, records in by_ranks.items()},
        "training_servers": {count: draw.servers(rows) for count, rows in steps.items() if rows},
        "training_accuracy": {count: draw.accuracy(records) for count, records in by_ranks.items()},
        "training_efficiency": {"": draw.efficiency(measured, _kinds(measured, say))},
    } | ({"training_staleness": stale} if stale else {})


def _measured(trained: Trained | None) -> list[TrainingRecord]:
    found = [record for record in trained.records if record.measured_seconds] if trained else []
    return found if any(record.ranks > 1 for record in found) else []


def _ranks(records: Sequence[TrainingRecord]) -> list[int]:
    return sorted({record.ranks for record in records if record.ranks > 1})


def _lead(record: TrainingRecord, say: Texts) -> str:
    number = say.numbers
    return say(
        "training.lead", model=record.model, size=number.about_bytes(record.nbytes), batch=record.batch,
        compute=number.seconds(record.compute_seconds), target=number.percent(record.target_accuracy),
    )  # fmt: skip


def _place(records: Sequence[TrainingRecord], environment: Mapping[str, Any], say: Texts) -> str:
    crowded = any(record.oversubscribed for record in records)
    text = say("training.cluster" if environment.get("place") == "cluster" else "training.elsewhere")
    return text + " " + say("training.crowded", cores=environment.get("cores", "?")) if crowded else text


def _kinds(records: Sequence[TrainingRecord], say: Texts) -> dict[str, list[TrainingRecord]]:
    """Contestants that are the same for any number of ranks: an algorithm, or so many servers by some rules."""
    found: dict[str, list[TrainingRecord]] = {}
    for record in records:
        if record.ranks > 1 and record.efficiency is not None:
            found.setdefault(_kind(record, say), []).append(record)
    return found


def _kind(record: TrainingRecord, say: Texts) -> str:
    if not record.servers:
        return record.algorithm
    key, servers = ("beside", "p") if record.colocated else ("own", record.servers)
    return str(say(f"training.{key}", rules=record.consistency, servers=servers))


def _crossing(row: Mapping[str, Any], say: Texts) -> dict[str, Any]:
    number = say.numbers
    tried = [
        {"servers": one["servers"], **{key: number.factor(one[key]) for key in ("measured", "simulated", "theory")}}
        for one in row["ratios"]
    ]
    at = {key: "–" if servers is None else servers for key, servers in row["at"].items()}
    place, over = say("training.is_beside" if row["beside"] else "training.is_own"), say(f"training.over_{row['over']}")
    return {"ranks": row["ranks"], "place": place, "over": over, "tried": tried, "at": at}
