"""What messages of a parameter server cost processors, beside what the network's model charges for any message."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.encodings import Work

__all__ = ["Handling"]

_FREE = Work()


@dataclass(frozen=True, slots=True)
class Handling:
    """Processor time at either end: ``launch`` seconds a message, ``per_byte`` seconds a byte of the part as float32.

    At a worker: ``push``, before one leaves (encoding, checksum), and ``take``, of parameters that came. At a server:
    ``fold``, to read a push and add it (None: what the network's model says of reductions); ``update``, the optimiser's
    step once an update is due; ``answer``, before parameters leave. ``header``: bytes of a message beside its payload.
    Raises ValueError for a negative one.
    """

    push: Work = _FREE
    take: Work = _FREE
    fold: Work | None = None
    update: Work = _FREE
    answer: Work = _FREE
    header: int = 0

    def __post_init__(self) -> None:
        if self.header < 0:
            raise ValueError(f"a header has at least 0 bytes, got {self.header}")
