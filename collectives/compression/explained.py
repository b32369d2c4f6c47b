"""What ``explain`` tells of a compressed allreduce: the bytes that travel."""

from __future__ import annotations

from collectives import selection
from collectives.catalogue import Algorithm
from collectives.compression.bounds import bytes_sent
from collectives.compression.memory import Compress, method_of
from collectives.compression.shared import Shared, exchanges
from collectives.explanation import OnWire
from collectives.schedule import Send, extents
from collectives.selection import Prices

__all__ = ["on_wire"]


def on_wire(algorithm: Algorithm, rank: int, size: int, nbytes: int, compress: Compress, prices: Prices) -> OnWire:
    """What travels if float32 vectors of ``nbytes`` bytes are summed, with an encoding on the wire by ``algorithm``.

    ValueError for an algorithm that is no allreduce.
    """
    if algorithm.collective != "allreduce":
        raise ValueError(f"compress= serves allreduce, not {algorithm.collective}")
    method, count = method_of(compress), nbytes // 4
    if isinstance(method, Shared):
        sent = _shared(method, rank, size, count, prices)
    else:
        sent = bytes_sent(algorithm, rank, size, count, method.nbytes)
    return OnWire(method.name, method.nbytes(count), sent)


def _shared(method: Shared, rank: int, size: int, count: int, prices: Prices) -> int:
    """Of the exact collectives, each by the algorithm that is selected for it."""
    total = 0
    for exchange in exchanges(method, count):
        elements = exchange.count * (size if exchange.collective == "allgather" else 1)
        chosen = selection.choose(exchange.collective, size, elements * exchange.itemsize, prices)
        lengths = [hi - lo for lo, hi in extents(elements, chosen.chunks(size))]
        sends = (one for operations in chosen.rounds(rank, size) for one in operations if isinstance(one, Send))
        total += sum(lengths[chunk] for send in sends for chunk in send.chunks) * exchange.itemsize
    return total
