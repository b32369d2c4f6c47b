"""DeepBench: NCCL 2.0 on boxes of GPUs, from 2 of them in one box to 32 in four."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from experiments.network import Costs
from experiments.published.series import Measurement, Series, rows

if TYPE_CHECKING:
    from simulator import Network

__all__ = ["series"]

_BOX = 8
_FDR = 56e9 * 64 / 66 / 8
"""Bytes/s of an InfiniBand FDR 4X link: 4 lanes of 14 Gbit/s, 64b/66b coding (InfiniBand Trade Association, 2011)."""

_MEMORY = {"NV_TitanX": 336.5e9, "NV_M40": 288e9, "NV_P100": 732e9, "NV_TitanX_Pascal": 480e9}
"""Bytes/s of the GPUs' memory (NVIDIA's data sheets). A sum reads two vectors and writes one."""

_LIBRARY = "NCCL 2.0"

_ONCE = (
    "A call has costs that it pays once (starting a kernel). Two GPUs cannot tell them from alpha, so they are paid "
    "for every round: small vectors come out too slow, the more so the more GPUs there are."
)
_STAGED = (
    "Between boxes bytes are staged through the host, and adapter and GPUs share PCIe; neither is in the model, so "
    "long vectors on 16 and 32 GPUs come out too fast."
)


def series() -> list[Series]:
    """One series for each kind of box."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in rows("deepbench.csv"):
        found.setdefault(row["file"], []).append(row)
    return [_series(name, group) for name, group in found.items()]


def _series(name: str, group: list[Mapping[str, str]]) -> Series:
    short = name.removeprefix("NV_").lower().replace("_", "-")
    return Series(
        name=f"deepbench-{short}",
        title=f"{group[0]['system']}, NCCL 2.0",
        source="baidu-research/DeepBench, Apache-2.0",
        measurements=tuple(_measurement(row) for row in group),
        fitted=("alpha", "beta"),
        known=Costs(0.0, 0.0, 3 / _MEMORY[name]),
        network=_network,
        itemsize=4,
        assumed=(
            "NCCL 2.0 sends round one ring, in the order of the ranks (trees came with NCCL 2.4)",
            "rows of one process with all GPUs (Single: all of 64 MiB) and of one for each count as one library",
            "gamma is three times the inverse memory bandwidth of the data sheet: two GPUs cannot tell it from beta",
            "GPUs of one box reach each other at the fitted cost; one InfiniBand FDR adapter for each box, 6.8 GB/s",
        ),
        missing=(
            _ONCE,
            _STAGED,
            "GPUs on different sides of a PCIe root are further apart than the two that were fitted.",
        ),
        absent={
            "Baidu RingAllReduce": "a ring too, but of another library: NCCL's costs say nothing of it",
            "OSU Allreduce": "the MPI library chose, and does not say what",
        },
    )


def _measurement(row: Mapping[str, str]) -> Measurement:
    nodes, ranks = int(row["nodes"]), int(row["ranks"])
    return Measurement(
        scale=f"{ranks} GPUs" if nodes == 1 else f"{ranks} GPUs, {nodes} boxes",
        ranks=ranks,
        nbytes=int(row["bytes"]),
        seconds=float(row["mean_us"]) * 1e-6,
        theirs=row["library"],
        ours=("ring",) if row["library"].startswith(_LIBRARY) else (),
    )


def _network(measurement: Measurement, costs: Costs) -> Network:
    from simulator import networks
    from simulator.models import Hockney, Model, Reduction

    boxes = -(-measurement.ranks // _BOX)
    counts, rates = ((min(measurement.ranks, _BOX), boxes), (1 / costs.beta, _FDR))
    levels = 1 if boxes == 1 else 2
    network = networks.hierarchical(counts[:levels], (0.0,) * levels, rates[:levels])
    return replace(network, model=Model(Hockney(costs.alpha), Reduction(((math.inf, costs.gamma),))))
