"""What a worker of a parameter server does between its gradients and the server, whatever carries the messages."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from collectives.parameter_server.consistency import Async, Consistency, Elastic
from experiments.training.flat import Array

__all__ = ["Due", "descend", "due"]


class Due(NamedTuple):
    """What is to be sent after a step."""

    push: bool
    pull: bool


def due(consistency: Consistency, number: int) -> Due:
    """What a worker sends after its step 1, 2, ...; what is left at its last step it pushes then."""
    if isinstance(consistency, Async):
        return Due(number % consistency.push == 0, number % consistency.fetch == 0)
    meets = not isinstance(consistency, Elastic) or number % consistency.period == 0
    return Due(meets, meets)


def descend(weights: Array, gradient: Array, rate: float) -> None:
    """``weights`` −= ``rate`` · ``gradient``: a worker's own step until it pulls again (Dean et al., algorithm 1)."""
    weights -= np.float32(rate) * gradient
