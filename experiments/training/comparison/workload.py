"""What every contestant trains, alike: data, model, how fast it learns, and how long computing is said to take."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from experiments.training.comparison.contestants import Contestant

__all__ = ["Workload"]


@dataclass(frozen=True, slots=True)
class Workload:
    """Each worker takes ``batch`` samples a step and computes on them for ``compute`` seconds, on an accelerator.

    ``learning_rate``: of the optimiser for the batch of one worker; it grows with the number of workers (the linear
    scaling rule of Goyal et al., 2017, section 2.1). ``target``: the accuracy on test samples that is waited for.
    ``bucket``: bytes at which gradients are summed; ``partition``: most bytes of a message to or from a server.
    """

    data: str = "digits"
    model: str = "mlp"
    optimiser: str = "sgd"
    learning_rate: float = 0.05
    batch: int = 32
    compute: float = 0.02
    target: float = 0.8
    bucket: int = 128 << 10
    partition: int = 64 << 10
    seed: int = 0

    def strategy(self, contestant: Contestant) -> str:
        """The strategy by which a contestant trains, as ``experiments.training.strategies`` spells it."""
        if not contestant.servers:
            return f"allreduce:algorithm={contestant.algorithm or 'ring'},bucket={self.bucket}B"
        name, _, parameters = contestant.consistency.partition(":")
        given = {"servers": str(contestant.servers), "partition": f"{self.partition}B"}
        given |= {"colocated": "true"} if contestant.colocated else {}
        words = [*filter(None, [parameters]), *(f"{key}={value}" for key, value in given.items())]
        return f"{'ps' if name == 'bsp' else name}:{','.join(words)}"

    def slices(self, nbytes: int, servers: int) -> int:
        """Into how many messages a server's share of ``nbytes`` bytes is cut."""
        return max(1, -(-nbytes // (servers * self.partition)))

    def to_json(self) -> dict[str, Any]:
        """For the file from which the ranks read what to do."""
        return asdict(self)
