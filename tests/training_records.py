"""Invented records of training, for tests of what reads them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from collectives.profile import Profile
from experiments.training.comparison.contestants import Contestant, contestants
from experiments.training.comparison.findings import findings
from experiments.training.comparison.predictions import theory_seconds
from experiments.training.comparison.records import Trained, TrainingRecord
from experiments.training.comparison.workload import Workload

PROFILE = Profile(2e-4, 8e-8, 1e-10, ranks=8)
"""100 Mbit/s."""

NBYTES, WORKLOAD = 200_000, Workload(partition=1 << 20)


def record(contestant: Contestant, chance: random.Random) -> TrainingRecord:
    """Steps a few per cent slower than the closed form, and a simulator that is nearer."""
    theory = theory_seconds(contestant, NBYTES, WORKLOAD, PROFILE)
    seconds = theory * chance.uniform(1.02, 1.15)
    stale = () if contestant.synchronous else (3, 5, contestant.workers, 1)
    throughput = contestant.workers * WORKLOAD.batch / seconds
    return replace(
        TrainingRecord.empty(contestant, NBYTES, WORKLOAD),
        place="cluster", library="Open MPI 5.0.11", oversubscribed=contestant.ranks > 2, steps=20,
        warmup=2, samples=18 * contestant.workers, measured_seconds=seconds, measured_low=0.97 * seconds,
        measured_high=1.04 * seconds, throughput=throughput,
        efficiency=throughput * WORKLOAD.compute / (contestant.ranks * WORKLOAD.batch),
        exposed_seconds=seconds - WORKLOAD.compute if contestant.ranks > 1 else 0.0, sent_bytes=1.01 * NBYTES,
        sent_most_bytes=0.6 * NBYTES, staleness=stale, accuracy=0.9,
        target_seconds=None if contestant.servers == 1 else 0.5, curve=((0.0, 0.1), (0.5, 0.8), (1.0, 0.9)),
        simulated_seconds=seconds * chance.uniform(0.95, 1.05), simulated_throughput=throughput,
        theory_seconds=theory,
    )  # fmt: skip


def trained(ranks: Sequence[int] = (2, 4, 8), seed: int = 1, place: str = "cluster") -> Trained:
    """All contestants of these rank counts, with what they say together."""
    chance = random.Random(seed)
    found = [record(one, chance) for one in contestants(ranks)]
    return Trained(found, {"place": place, "cores": 2}, findings(found, PROFILE.beta))
