"""What is compared: allreduce by some algorithms, and parameter servers by number, place and consistency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from collectives.parameter_server import consistency
from collectives.parameter_server.configuration import Configuration

__all__ = ["ALGORITHMS", "CONSISTENCIES", "Contestant", "contestants"]

ALGORITHMS = ("ring", "recursive_doubling", "circulant")
"""One that is frugal with bytes, one that is frugal with messages, and one that is both."""

CONSISTENCIES = ("bsp", "ssp:3", "async")


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to train on ``ranks`` hosts: allreduce by ``algorithm``, or ``servers`` servers by ``consistency``.

    Servers take hosts of their own from the ``ranks``, the last ones, or with ``colocated`` sit beside the workers of
    the first. So all contestants of one number of ranks have the same machines. A single rank trains alone.
    """

    ranks: int
    algorithm: str = ""
    consistency: str = ""
    servers: int = 0
    colocated: bool = False

    @property
    def workers(self) -> int:
        """How many ranks compute."""
        return self.ranks if self.colocated else self.ranks - self.servers

    @property
    def label(self) -> str:
        """``ring``, ``bsp 2`` for two servers on hosts of their own, ``async 8+`` for eight beside the workers."""
        if not self.servers:
            return self.algorithm or "alone"
        return f"{self.consistency} {self.servers}{'+' if self.colocated else ''}"

    @property
    def synchronous(self) -> bool:
        """Whether all workers wait for each other in every step."""
        return not self.servers or self.workers == 1 or consistency.get(self.consistency).bound == 0

    def configuration(self, partition: int) -> Configuration:
        """That of the parameter server, whose messages hold at most ``partition`` bytes of parameters."""
        rules = consistency.get(self.consistency)
        return Configuration(self.workers, self.servers, self.colocated, rules, partition)

    def to_json(self) -> dict[str, Any]:
        """For the file from which the ranks read what to do."""
        return asdict(self)


def contestants(
    ranks: Sequence[int], algorithms: Sequence[str] = ALGORITHMS, consistencies: Sequence[str] = CONSISTENCIES
) -> list[Contestant]:
    """All of them in the order of the tables: one rank alone, and for each number of ranks from 2 on both ways."""
    found = [Contestant(1)]
    for count in sorted({count for count in ranks if count > 1}):
        found += [Contestant(count, algorithm=name) for name in algorithms]
        found += _servers(count, consistencies)
    return found


def _servers(ranks: int, consistencies: Sequence[str]) -> Iterator[Contestant]:
    """1, 2 and p/2 servers on hosts of their own, and one beside every worker."""
    for servers in sorted({1, 2, ranks // 2} & set(range(1, ranks // 2 + 1))):
        alone = ranks - servers == 1  # a single worker waits for nobody, whatever the rules
        for rules in consistencies[:1] if alone else consistencies:
            yield Contestant(ranks, consistency=rules, servers=servers)
    for rules in consistencies:
        yield Contestant(ranks, consistency=rules, servers=ranks, colocated=True)
