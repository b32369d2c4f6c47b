"""Fugaku's torus: two libraries, from 8 to 8,192 nodes with one rank each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from experiments.network import Costs
from experiments.published.series import Measurement, Series, rows

if TYPE_CHECKING:
    from simulator import Network

__all__ = ["in_turn", "series"]

_ITEM = 4
_MPI = {"default-recursive_doubling": "recursive_doubling", "default-ring": "ring"}
_UTOFU = {"RECDOUB-L-UTOFU-0-1": "recursive_doubling", "RECDOUB-B_CONT-UTOFU-0-1": "halving_doubling"}
_ABSENT = {
    "default-default": "the library chose, and does not say what; for long vectors it uses several links at once",
    "default-trix6": "Fujitsu's trees over six links at once; here a rank sends one message at a time",
    "RING-B_CONT-UTOFU-0-6": "six rings over six links at once; here a rank sends one message at a time",
}
_SIX_DIMENSIONS = (
    "The machine has six dimensions and the shape names two or three of them: a far partner has more links than the "
    "model gives it, so contention on large tori comes out too high."
)
_TIES = (
    "Half-way round a ring of the torus both ways are as short; here all such messages go one way and share its links. "
    "On 4x4x4 the measured ones did not: a round took as long as on 2x2x2."
)
_CACHES = "One beta and gamma for all sizes: what fits into a cache is faster than said, what does not is slower."
_SET_UP = (
    "Halving-doubling sets up its buffers in every call (88 us at 256 bytes, where recursive doubling takes 18): one "
    "alpha cannot be right for both."
)


def series() -> list[Series]:
    """Fujitsu's MPI library, and the benchmark's own algorithms on uTofu."""
    table = rows("fugaku.csv")
    return [
        Series(
            name="fugaku-mpi",
            title="Fugaku, Fujitsu MPI, one rank a node",
            source="HLC-Lab/pico, MIT",
            measurements=_measurements(table, _MPI),
            fitted=("alpha", "beta", "gamma"),
            known=Costs(0.0, 0.0, 0.0),
            network=_by_rows,
            itemsize=_ITEM,
            assumed=(
                "a torus of the named shape, ranks row by row; a hop costs no latency, for none is published",
                "with fewer elements than ranks Fujitsu's ring is recursive doubling, as in Open MPI, its origin",
            ),
            missing=(
                _SIX_DIMENSIONS,
                _TIES,
                _CACHES,
                "Small messages pay for their distance in hops, up to 144 of them on 32x256; here they do not.",
            ),
            absent={name: why for name, why in _ABSENT.items() if name.startswith("default")},
        ),
        Series(
            name="fugaku-utofu",
            title="Fugaku, algorithms on uTofu, one rank a node",
            source="HLC-Lab/pico, MIT",
            measurements=_measurements(table, _UTOFU),
            fitted=("alpha", "beta", "gamma"),
            known=Costs(0.0, 0.0, 0.0),
            network=_by_turns,
            itemsize=_ITEM,
            assumed=(
                "a torus of the named shape, whose dimensions the algorithms take in turn, as their code shows",
                "a hop costs no latency, for none is published",
            ),
            missing=(
                _SET_UP,
                _SIX_DIMENSIONS,
                _TIES,
                _CACHES,
            ),
            absent={name: why for name, why in _ABSENT.items() if not name.startswith("default")},
        ),
    ]


def _measurements(table: Sequence[Mapping[str, str]], same: Mapping[str, str]) -> tuple[Measurement, ...]:
    mine = "default" if next(iter(same)).startswith("default") else "UTOFU"
    return tuple(_measurement(row, same) for row in table if mine in row["algorithm"])


def _measurement(row: Mapping[str, str], same: Mapping[str, str]) -> Measurement:
    ranks, nbytes = math.prod(_shape(row["shape"])), int(row["bytes"])
    ours = same.get(row["algorithm"])
    if ours == "ring" and nbytes // _ITEM < ranks:
        ours = "recursive_doubling"
    return Measurement(
        row["shape"], ranks, nbytes, float(row["median_us"]) * 1e-6, row["algorithm"], (ours,) if ours else ()
    )


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(extent) for extent in text.split("x"))


def _by_rows(measurement: Measurement, costs: Costs) -> Network:
    from simulator import networks
    from simulator.models import Hockney, Model, Reduction

    model = Model(Hockney(costs.alpha), Reduction(((math.inf, costs.gamma),)))
    return replace(networks.torus(_shape(measurement.scale), latency=0.0, bandwidth=1 / costs.beta), model=model)


def _by_turns(measurement: Measurement, costs: Costs) -> Network:
    from simulator import networks

    return networks.place(_by_rows(measurement, costs), in_turn(_shape(measurement.scale)))


def in_turn(shape: tuple[int, ...]) -> list[int]:
    """Row-major host of each rank where the bits of a rank, the lowest first, step through the dimensions in turn.

    Neighbours at distance 1, 2, 4, 8 ... in rank are then neighbours at 1, 1, 2, 2 ... on a two-dimensional torus.
    Every extent must be a power of two.
    """
    bits = [extent.bit_length() - 1 for extent in shape]
    turns = [axis for step in range(max(bits)) for axis in range(len(shape)) if step < bits[axis]]
    hosts: list[int] = []
    for rank in range(math.prod(shape)):
        place, taken = [0] * len(shape), [0] * len(shape)
        for bit, axis in enumerate(turns):
            place[axis] |= (rank >> bit & 1) << taken[axis]
            taken[axis] += 1
        host = 0
        for coordinate, extent in zip(place, shape, strict=True):
            host = host * extent + coordinate
        hosts.append(host)
    return hosts
