"""Which ends of the gradient vector are summed together, and how large they had best be.

Backward goes from the last layer to the first, so what is ready is always an end of the vector, and a bucket is a range
of it. Small buckets start early and cost a message time each; large ones leave the last sums until after computing.
Source: Li et al., "PyTorch distributed: experiences on accelerating data parallel training" (VLDB 2020), section 3.2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from experiments.training.flat import Flat
from experiments.training.model import Model

__all__ = ["Bucket", "cut", "exposed", "suitable"]

_SPLITS = (1, 2, 4, 8, 16, 32)
"""How many buckets are weighed against each other, where the layers allow."""


class Bucket(NamedTuple):
    """Elements ``lo`` to ``hi`` of the vector, complete once ``layer`` is."""

    layer: str
    lo: int
    hi: int


def cut(model: Model, gradients: Flat, nbytes: int) -> list[Bucket]:
    """Buckets in the order in which they are ready. One is closed when it has ``nbytes`` bytes or more.

    No layer is cut, and layers without parameters make no bucket. ``simulator.training.buckets`` has the same rule.
    """
    itemsize = gradients.vector.itemsize
    found: list[Bucket] = []
    lo = hi = gradients.vector.size
    for layer in reversed(model.layers):
        ranges = [gradients.ranges[f"{layer.name}.{key}"] for key in layer.shapes()]
        lo = min([lo, *(start for start, _ in ranges)])
        if (hi - lo) * itemsize >= nbytes and hi > lo:
            found.append(Bucket(layer.name, lo, hi))
            hi = lo
    return [*found, Bucket(model.layers[0].name, 0, hi)] if hi else found


def suitable(
    model: Model, gradients: Flat, ready: Mapping[str, float], computing: float, seconds: Callable[[int], float]
) -> int:
    """Bytes of a bucket with which the least is left of the sums when computing ends; the largest such.

    ``ready``: by layer, the share of ``computing`` seconds after which its gradient is there; ``seconds``: how long
    the sum of so many bytes takes. Sums go one after the other, beside computing.
    """
    whole = gradients.vector.nbytes
    sizes = sorted({max(1, whole // splits) for splits in _SPLITS}, reverse=True)
    return min(sizes, key=lambda size: exposed(cut(model, gradients, size), gradients, ready, computing, seconds))


def exposed(
    buckets: Sequence[Bucket], gradients: Flat, ready: Mapping[str, float], computing: float,
    seconds: Callable[[int], float],
) -> float:  # fmt: skip
    """Seconds for which sums go on after computing has ended."""
    end = 0.0
    for bucket in buckets:
        end = max(end, ready[bucket.layer] * computing)
        end += seconds((bucket.hi - bucket.lo) * gradients.vector.itemsize)
    return max(0.0, end - computing)
