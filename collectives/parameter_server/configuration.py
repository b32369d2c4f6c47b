"""How workers and servers are arranged: one value that the server, the worker and the simulator all take."""

from __future__ import annotations

from dataclasses import dataclass

from collectives.parameter_server.consistency import BSP, Consistency

__all__ = ["PARTITION", "Configuration"]

PARTITION = 60 << 10
"""Bytes: a little less than what Open MPI sends over TCP without asking first. The answer to a question may queue
behind a message, so on a shaped network larger parts take half as long again (docs/parameter-server.md)."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """``workers`` compute, ``servers`` keep the parameters; worker w is rank w.

    Servers are ranks ``workers, workers + 1, ...`` of their own, or with ``colocated`` ranks ``0 .. servers - 1``
    beside the workers there. ``partition``: most bytes of a part (what travels as one message). ``replicas``: how many
    servers hold each part; a push is acknowledged when all of them have it (chain replication). ``encoding``: of
    pushed gradients, as ``kernels.compress.get`` reads it. Raises ValueError for what cannot be.
    """

    workers: int
    servers: int
    colocated: bool = False
    consistency: Consistency = BSP()  # noqa: RUF009 - a frozen value
    partition: int = PARTITION
    replicas: int = 1
    encoding: str | None = None

    def __post_init__(self) -> None:
        counts = {"workers": self.workers, "servers": self.servers, "partition": self.partition}
        for what, value in {**counts, "replicas": self.replicas}.items():
            if value < 1:
                raise ValueError(f"a parameter server needs {what} of at least 1, got {value}")
        if self.colocated and self.servers > self.workers:
            raise ValueError(f"{self.servers} servers cannot sit beside {self.workers} workers: one at each at most")
        if self.replicas > self.servers:
            raise ValueError(f"{self.replicas} replicas need as many servers, and there are {self.servers}")
        if (self.consistency.spare or 0) >= self.workers:
            raise ValueError(f"of {self.workers} workers, {self.consistency.spare} cannot all be spare")

    @property
    def ranks(self) -> int:
        """How many ranks it takes."""
        return self.workers if self.colocated else self.workers + self.servers

    def rank_of(self, server: int) -> int:
        """The rank of a server."""
        return server if self.colocated else self.workers + server

    def server_at(self, rank: int) -> int | None:
        """The server at a rank, if there is one."""
        server = rank if self.colocated else rank - self.workers
        return server if 0 <= server < self.servers else None

    def chain(self, server: int) -> tuple[int, ...]:
        """The servers that hold the parts of ``server``, itself first: its neighbours in the ring of servers."""
        return tuple((server + step) % self.servers for step in range(self.replicas))
