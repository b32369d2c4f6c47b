"""Closed forms in α, β and γ, of algorithms and of parameter servers beside them, and what no algorithm can beat."""

from __future__ import annotations

import math

from collectives import catalogue
from collectives.catalogue import Algorithm
from simulator.encodings import Encoding
from simulator.server_theory import (
    asynchronous_bound,
    colocated_seconds,
    crossover_bytes,
    crossover_straggler,
    separate_seconds,
)

__all__ = [
    "asynchronous_bound",
    "best_segments",
    "bound",
    "colocated_seconds",
    "crossover_bytes",
    "crossover_straggler",
    "hops",
    "seconds",
    "separate_seconds",
]


def seconds(
    algorithm: Algorithm,
    size: int,
    nbytes: int,
    alpha: float,
    beta: float,
    gamma: float = 0.0,
    *,
    encoding: Encoding | None = None,
) -> float:
    """Seconds that the closed form of ``algorithm`` gives for ``size`` ranks and a vector of ``nbytes`` bytes.

    ``alpha``: seconds per message, ``beta``: seconds per byte, ``gamma``: seconds per reduced byte. It treats bytes
    as divisible, so it is off by up to one element a chunk where the chunks do not divide the vector.

    ``encoding``: every message on the longest path is taken for a mean one of one chunk, encoded before it leaves and
    decoded when it is there. That is exact where all messages are alike and carry what was just reduced, as in
    recursive doubling; what is passed on as it came is not encoded again, and where a sender goes on while its receiver
    decodes the truth is less too.
    Raises ValueError for a size that the algorithm does not support, or a number that is negative or not finite.
    """
    _check(nbytes, alpha, beta, gamma)
    cost = algorithm.cost(size)
    if encoding is not None and cost.messages and nbytes:
        alpha, beta = _encoded(encoding, nbytes * float(cost.volume / cost.messages), alpha, beta)
        # The kernel that adds what it decodes does both at once.
        gamma = gamma if encoding.add is None else encoding.add.per_byte - encoding.decode.per_byte
    return cost.seconds(nbytes, alpha, beta, gamma)


def bound(
    collective: str,
    size: int,
    nbytes: int,
    alpha: float,
    beta: float,
    gamma: float = 0.0,
    *,
    workers: int | None = None,
    fan: int = 1,
) -> float:
    """Seconds below which no algorithm for ``collective`` can stay: the larger of latency and (bandwidth + reduction).

    Latency: what all ranks must hear of takes ⌈lg p⌉α to spread, one message after another. Bandwidth: what must leave
    or reach a rank. Reduction: p - 1 folds of each byte over p ranks. A rank does not fold while it communicates, so
    the last two add up; whether the first may be added too is proven for some collectives only, so it is not.

    ``workers``: for push_pull how many ranks contribute (by default all but one). ``fan``: into or out of how many
    messages at once a rank may fall in one round; the latency is ⌈log_(fan+1) p⌉α then.
    Source: Chan et al., "Collective communication: theory, practice, and experience" (2007), section 2;
    Patarasuk and Yuan (2009), section 3.
    """
    _check(nbytes, alpha, beta, gamma)
    if collective not in catalogue.collectives():
        raise ValueError(f"no collective is called {collective!r}; known: {', '.join(catalogue.collectives())}")
    active = size if collective != "push_pull" else max(1, size - 1) if workers is None else workers
    if size < 1 or not 1 <= active <= size:
        raise ValueError(f"there must be at least one rank and 1 to {size} workers, got size={size}, workers={workers}")
    if active == 1 and (collective == "push_pull" or size == 1):
        return 0.0
    share = (size - 1) / size
    volume, reductions = {
        "allreduce": (2 * share, share),
        "reduce_scatter": (share, share),
        "allgather": (share, 0.0),
        "alltoall": (share, 0.0),
        "broadcast": (1.0, 0.0),
        "reduce": (1.0, share),
        # A server may fold and never send, so only the longer of the two counts.
        "push_pull": (1.0, 0.0),
        "barrier": (0.0, 0.0),
    }[collective]
    return max(hops(active, fan) * alpha, (volume * beta + reductions * gamma) * nbytes)


def best_segments(algorithm: Algorithm, size: int, nbytes: int, alpha: float, beta: float, gamma: float = 0.0) -> int:
    """The number of segments, from 1 to ``nbytes``, at which the closed form of a pipelined algorithm is smallest.

    More segments fill the pipeline sooner and pay α more often: for the chain about √((p−2)nβ/α).
    Raises ValueError for an algorithm without the parameter ``segments``.
    """
    if "segments" not in algorithm.parameters:
        raise ValueError(f"{algorithm.name} is not pipelined: it has no parameter 'segments'")

    def cost(segments: int) -> float:
        chosen = catalogue.get(algorithm.name, **{**algorithm.parameters, "segments": segments})
        return seconds(chosen, size, nbytes, alpha, beta, gamma)

    # The closed forms are a·k + b/k + c, which falls and then rises: halve the interval towards the lower side.
    low, high = 1, max(1, nbytes)
    while low < high:
        middle = (low + high) // 2
        if cost(middle) <= cost(middle + 1):
            high = middle
        else:
            low = middle + 1
    return low


def hops(ranks: int, fan: int) -> int:
    """In how many steps what one rank knows can reach ``ranks`` of them, when each tells ``fan`` others in a step."""
    steps, reached = 0, 1
    while reached < ranks:
        steps, reached = steps + 1, reached * (fan + 1)
    return steps


def _encoded(encoding: Encoding, content: float, alpha: float, beta: float) -> tuple[float, float]:
    """What messages of ``content`` bytes of vector cost, for each of them and for each byte of vector."""
    elements = max(1, round(content / encoding.itemsize))
    ends = encoding.encode, encoding.decode
    wire = encoding.wire(elements) / (elements * encoding.itemsize)
    return alpha + sum(work.launch for work in ends), wire * beta + sum(work.per_byte for work in ends)


def _check(nbytes: int, alpha: float, beta: float, gamma: float) -> None:
    if nbytes < 0:
        raise ValueError(f"nbytes must not be negative, got {nbytes}")
    for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and not negative, got {value}")
