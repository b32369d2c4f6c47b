"""A parameter server whose ranks may die: before each server stands its chain, and a worker asks again elsewhere.

``start`` uses this where the configuration asks for replicas, where checkpoints are kept, or where the job was started
to outlive its ranks. A worker's rank and a server's may be one; its death is that of both.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mpi4py import MPI

from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.courier import Courier
from collectives.parameter_server.errors import ServerTimeout
from collectives.parameter_server.messages import Envelope, Kind, Message, Refused, packed, parsed
from collectives.parameter_server.payloads import told
from collectives.parameter_server.recovery import Heads, Node, PartsLost, Transfer
from collectives.parameter_server.replication import Effects, Forward, Have
from collectives.parameter_server.resuming import Keeping, facts_of, newest_of_all
from collectives.parameter_server.server import Server
from collectives.parameter_server.sharding import Sharding
from collectives.parameter_server.statistics import ServerStatistics
from collectives.parameter_server.ulfm import Parting, SurvivingEndpoint

__all__ = ["Replicated", "SurvivingCourier", "surviving_courier"]


def surviving_courier(
    comm: MPI.Intracomm,
    configuration: Configuration,
    sharding: Sharding,
    machine: Callable[[int], Server],
    *,
    run: int,
    window: int,
    keeping: Keeping | None = None,
) -> SurvivingCourier:
    """The courier of a rank of ``comm``, with what its server keeps, as it was in the newest checkpoint.

    ``machine(home)`` makes the server that keeps the parts of server ``home``. Collective where checkpoints are kept.
    Raises CheckpointError for some that do not fit.
    """
    number = configuration.server_at(comm.rank)
    replicated = None
    if number is not None:
        replicated = Replicated(number, configuration, sharding, machine, run, keeping)
        replicated.resume()
    if keeping is not None:
        comm.Barrier()  # who begins to write takes away what others may still read
    return SurvivingCourier(SurvivingEndpoint(comm, window), run, configuration, replicated)


class Replicated:
    """What stands before server ``number``: replicas of its parts and its predecessors', and their checkpoints.

    ``machine(home)`` makes the server that keeps the parts of server ``home``. Raises as ``Node`` does.
    """

    def __init__(
        self,
        number: int,
        configuration: Configuration,
        sharding: Sharding,
        machine: Callable[[int], Server],
        run: int,
        keeping: Keeping | None = None,
    ) -> None:
        self.servers: dict[int, Server] = {}
        self._configuration, self._run, self._keeping = configuration, run, keeping

        def remembered(home: int) -> Server:
            self.servers[home] = machine(home)
            return self.servers[home]

        self.node = Node(number, configuration, sharding, remembered)
        self._facts = facts_of(configuration, sharding, self.own.optimiser)

    @property
    def own(self) -> Server:
        """The server of this rank's own parts."""
        return self.servers[self.node.number]

    @property
    def finished(self) -> bool:
        """Whether nobody will ask for anything more, and the whole chain knows."""
        return self.node.finished

    @property
    def ended(self) -> set[int]:
        """The workers that will not."""
        return self.own.ended

    @property
    def statistics(self) -> ServerStatistics:
        """What the server of this rank's own parts saw, and what this rank did."""
        return self.own.statistics

    def resume(self) -> None:
        """Go on from the newest checkpoints, if there are any. Raises CheckpointError."""
        if self._keeping is None:
            return
        for home, found in newest_of_all(self._keeping, self._configuration, self._facts).items():
            if home in self.servers:
                self._keeping.resumed(home, self.servers[home], found, time.monotonic())

    def handle(self, message: Message, source: int | None = None) -> list[Envelope]:
        """The messages now due to workers and servers. Raises Refused for one that cannot be meant."""
        if message.kind not in (Kind.REPLICATE, Kind.REPLICATED):
            if source is not None and source != message.worker:
                raise Refused(f"{told(message)} came from rank {source}")
            return self._sent(self.node.handle(message))
        server = None if source is None else self._configuration.server_at(source)
        if server is None or message.worker not in self.servers:
            raise Refused(f"{message.kind.name} from rank {source} is about no chain that both are in")
        return self._sent(self.node.receive(server, self._transfer(message, source)))

    def died(self, rank: int) -> list[Envelope]:
        """The messages now due because ``rank`` is dead."""
        server = self._configuration.server_at(rank)
        envelopes = [] if server is None else self._sent(self.node.server_failed(server))
        if rank < self._configuration.workers:
            envelopes += self._sent(self.node.worker_failed(rank))
        return envelopes

    def _transfer(self, message: Message, source: int | None) -> Transfer:
        if message.kind is Kind.REPLICATED:
            return Have(message.worker, message.clock)
        return Forward(message.worker, message.clock, parsed(message.payload, self._run, f"rank {source}"))

    def _sent(self, effects: Effects[Message, Envelope]) -> list[Envelope]:
        self._keep()
        transfers = [
            Envelope(self._configuration.rank_of(server), self._message(transfer))
            for server, transfer in effects.transfers
        ]
        return [*transfers, *effects.answers]

    def _message(self, transfer: Transfer) -> Message:
        """All of the same part, so that they stay in order on their way."""
        if isinstance(transfer, Have):
            return Message(Kind.REPLICATED, transfer.home, 0, transfer.sequence)
        return Message(Kind.REPLICATE, transfer.home, 0, transfer.sequence, packed(transfer.message, self._run))

    def _keep(self) -> None:
        if self._keeping is not None:
            for home, server in self.servers.items():
                if self.node.heads(home):
                    self._keeping.look(home, server, self._facts, time.monotonic())


class SurvivingCourier(Courier):
    """A courier that hears of deaths, and tells its server and its client."""

    def __init__(
        self, endpoint: SurvivingEndpoint, run: int, configuration: Configuration, replicated: Replicated | None
    ) -> None:
        super().__init__(endpoint, run, replicated)
        self._surviving, self._replicated, self._configuration = endpoint, replicated, configuration
        self._heads = Heads(configuration)

    def close(self, limit: float) -> None:
        """Serve until nobody asks any more and all who live know. Collective; ServerTimeout if others do not come."""
        self.serve(limit)
        parting = Parting(self.endpoint.comm)
        if not self.drive(parting.done, limit):
            raise ServerTimeout(f"rank {self._own} waited {limit:g} s for the other ranks to close")
        self.stop()
        if not self._surviving.deaths.ranks:  # else freeing would be a meeting with the dead
            self.endpoint.comm.Free()

    def _step(self) -> bool:
        with self._lock:
            new = self._surviving.deaths.new()
            for rank in new:
                self._bury(rank)
        return super()._step() or bool(new)

    def _bury(self, rank: int) -> None:
        self._surviving.bury(rank)
        self.dead |= {rank}
        if self._replicated is not None:
            for envelope in self._replicated.died(rank):
                self.send(envelope, float(envelope.message.part))
        server = self._configuration.server_at(rank)
        if self.client is None or server is None:
            return
        try:
            for home, head in self._heads.failed(server).items():
                self.client.addresses[home] = self._configuration.rank_of(head)
                self.client.resend(home)
        except PartsLost as lost:
            self.client.fail(lost)
            raise
