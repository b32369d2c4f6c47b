"""OSU's allreduce in public clouds, beside the point-to-point latency and bandwidth of the same machines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from experiments.network import Costs
from experiments.published.series import Measurement, Series, rows

if TYPE_CHECKING:
    from simulator import Network

__all__ = ["open_mpi", "series"]

_DOUBLING, _HALVING, _ANY = "recursive_doubling", "halving_doubling", math.inf
_RULES = (
    (64, ((128, _DOUBLING), (_ANY, _HALVING))),
    (128, ((262_144, _DOUBLING), (_ANY, _HALVING))),
    (256, ((131_072, "binomial"), (262_144, _DOUBLING), (_ANY, _HALVING))),
    (512, ((4_096, "binomial"), (_ANY, _HALVING))),
    (4_096, ((2_048, "binomial"), (16_384, _DOUBLING), (_ANY, _HALVING))),
    (_ANY, ((2_048, "binomial"), (32_768, _DOUBLING), (_ANY, _HALVING))),
)
"""For fewer ranks than the first number: below so many bytes, this algorithm."""

_JITTER = (
    "An allreduce waits for the slowest of thousands of messages; the model has no jitter here, because its "
    "distribution is not in the data."
)

_RANKS_PER_NODE = {
    "aws/parallel-cluster/cpu": 96,
    "google/compute-engine/cpu": 56,
    "google/gke/cpu": 56,
    "aws/eks/gpu": 8,
    "google/compute-engine/gpu": 8,
}


def series() -> list[Series]:
    """One series for each environment in which an allreduce was measured."""
    table = rows("cloud.csv")
    return [_series(environment, table) for environment in _RANKS_PER_NODE]


def _series(environment: str, table: Sequence[Mapping[str, str]]) -> Series:
    mine = [row for row in table if row["environment"] == environment]
    one_way = {row["bytes"]: float(row["median"]) * 1e-6 for row in mine if row["benchmark"] == "osu_latency"}
    rate = {row["bytes"]: float(row["median"]) * 1e6 for row in mine if row["benchmark"] == "osu_bw"}
    each = _RANKS_PER_NODE[environment]
    return Series(
        name=f"cloud-{environment.replace('/', '-')}",
        title=f"{environment}, Open MPI, {each} ranks a node",
        source="converged-computing/performance-study, MIT",
        measurements=tuple(_measurement(row, each) for row in mine if row["benchmark"] == "osu_allreduce"),
        fitted=(),
        known=Costs(one_way["8"], 1 / rate["4194304"], 0.0),
        network=_network,
        itemsize=4,
        assumed=(
            "nothing is fitted: alpha is the one-way time of 8 bytes, beta a byte's time in the bandwidth test, 4 MiB",
            "Open MPI's algorithm is the one that its fixed rules choose (version 4.1 and later); nobody wrote it down",
            "all ranks of a node share one adapter, as fast as one pair measured it; inside a node all is free",
        ),
        missing=(
            "Memory and processors of a node, shared by its ranks, take time too: long vectors come out too fast.",
            "Over TCP (Google) one pair of ranks does not fill an adapter; all of a node together have more.",
            _JITTER,
        ),
        absent={},
    )


def _measurement(row: Mapping[str, str], each: int) -> Measurement:
    ranks, nbytes = int(row["nodes"]) * each, int(row["bytes"])
    return Measurement(
        scale=f"{row['nodes']} nodes",
        ranks=ranks,
        nbytes=nbytes,
        seconds=float(row["median"]) * 1e-6,
        theirs="osu_allreduce",
        ours=(open_mpi(ranks, nbytes),),
    )


def open_mpi(ranks: int, nbytes: int) -> str:
    """What Open MPI chooses for a commutative sum of 32-bit numbers, for 32 ranks and more and vectors up to 1 MiB.

    Its ``nonoverlapping`` is reduce, then broadcast, ``rabenseifner`` our halving_doubling; its segmented ring becomes
    recursive doubling where there are fewer elements than ranks, which is so at every size here.
    Source: Open MPI, ompi/mca/coll/tuned/coll_tuned_decision_fixed.c (rules of 2020).
    """
    for fewer, steps in _RULES:
        if ranks < fewer:
            return next(name for below, name in steps if nbytes < below)
    raise AssertionError("the last rule holds for any number of ranks")


def _network(measurement: Measurement, costs: Costs) -> Network:
    from simulator import networks
    from simulator.models import Model, Reduction

    nodes = int(measurement.scale.split()[0])
    each = measurement.ranks // nodes
    model = Model(reduction=Reduction(((math.inf, costs.gamma),)))
    network = networks.hierarchical((each, nodes), (0.0, costs.alpha / 2), (math.inf, 1 / costs.beta))
    return replace(network, model=model)
