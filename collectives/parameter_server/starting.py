"""How ranks become workers and servers: they agree on what they are, and begin with the same parameters."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.consistency import spelled
from collectives.parameter_server.courier import Courier, Handler, usual_pause
from collectives.parameter_server.endpoint import WINDOW, Endpoint, settled
from collectives.parameter_server.errors import ServerError
from collectives.parameter_server.layout import Piece, pieces
from collectives.parameter_server.payloads import Floats
from collectives.parameter_server.resuming import Keeping
from collectives.parameter_server.server import Server, layerwise
from collectives.parameter_server.sharding import Sharding
from collectives.parameter_server.statistics import ServerStatistics
from collectives.parameter_server.surviving import surviving_courier
from collectives.parameter_server.ulfm import enabled
from collectives.parameter_server.worker import Worker
from kernels import checksum
from kernels.optimise import Optimiser

__all__ = ["LIMIT", "Served", "start"]

LIMIT = 300.0
"""Seconds of silence after which a rank gives up."""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What a rank that only serves returns with, when all workers have ended: ``server`` with its last parameters."""

    number: int
    server: Handler
    statistics: ServerStatistics


def start(
    comm: MPI.Intracomm, configuration: Configuration, tensors: Mapping[str, Floats], *, optimiser: Optimiser,
    limit: float = LIMIT, window: int = WINDOW, keeping: Keeping | None = None,
) -> Worker | Served:  # fmt: skip
    """Begin a parameter server on all ranks of ``comm``, as ``configuration`` says. Collective.

    A worker's rank gets a Worker; a rank that only serves does so until all workers have ended, then gets a Served.
    ``tensors``: contiguous float32 arrays by name, of the same names and shapes on all ranks; all begin with worker
    0's numbers, which are written to everyone's. ``limit``: seconds of silence after which a wait is given up.
    ``window``: bytes under way to a rank that a more urgent message must wait for. ``keeping``: checkpoints, from which
    a job that is started again goes on; its workers ``join`` first. With them, with replicas, and in a job that
    outlives its ranks, ranks may die.
    Cost: the parameters broadcast once. Raises ValueError for a communicator of another size, ranks that disagree on
    what was given, and tensors that do not fit; ServerTimeout for a rank that does not come.
    """
    if comm.size != configuration.ranks:
        raise ValueError(f"{configuration.ranks} ranks are needed for {configuration}, and there are {comm.size}")
    counts = {name: tensor.size for name, tensor in tensors.items()}
    whole = layerwise(optimiser)
    sharding = Sharding.plan(counts, configuration.servers, configuration.partition, whole=whole)
    private = _duplicate(comm, limit)
    run = _agreed(private, f"{_spelled(configuration)} {list(counts.items())} {optimiser}", limit)
    weights = _shared(private, sharding.count, pieces(sharding, None, tensors), limit)

    def server(number: int) -> Server:
        return Server(configuration, sharding, number, weights, optimiser)

    courier: Courier
    number = configuration.server_at(comm.rank)
    if configuration.replicas > 1 or keeping is not None or enabled():
        courier = surviving_courier(
            private, configuration, sharding, server, run=run, window=window, keeping=keeping
        )  # fmt: skip
    else:
        courier = Courier(Endpoint(private, window), run, None if number is None else server(number))
    if comm.rank < configuration.workers:
        return _working(courier, configuration, sharding, comm.rank, tensors, limit)
    assert number is not None
    return _serving(courier, number, limit)


def _working(
    courier: Courier,
    configuration: Configuration,
    sharding: Sharding,
    number: int,
    tensors: Mapping[str, Floats],
    limit: float,
) -> Worker:
    if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
        raise ServerError(
            "a worker carries messages beside its computing, which needs MPI_THREAD_MULTIPLE: "
            "leave mpi4py.rc.thread_level at 'multiple'"
        )
    checksum.get("crc32c")(np.zeros(1, np.uint8))  # Numba is imported here: two threads at once break its imports
    worker = Worker(courier, configuration, sharding, number, tensors, limit)
    courier.start()
    return worker


def _serving(courier: Courier, number: int, limit: float) -> Served:
    server = courier.server
    assert server is not None
    courier.close(limit)
    return Served(number, server, server.statistics)


def _duplicate(comm: MPI.Intracomm, limit: float) -> MPI.Intracomm:
    private, request = comm.Idup()
    settled(request, "all ranks to start the parameter server", usual_pause(), limit)
    return private


def _agreed(comm: MPI.Intracomm, given: str, limit: float) -> int:
    """A number for this run alone; ValueError names the ranks that were given something else than rank 0."""
    own = np.frombuffer(hashlib.blake2b(given.encode(), digest_size=8).digest(), np.uint64)
    mine = np.array([own[0], secrets.randbits(64)], np.uint64)
    table = np.empty((comm.size, 2), np.uint64)
    settled(comm.Iallgather(mine, table), "all ranks to start the parameter server", usual_pause(), limit)
    others = [rank for rank in range(comm.size) if table[rank, 0] != table[0, 0]]
    if others:
        raise ValueError(
            f"ranks {', '.join(map(str, others))} start a parameter server with another configuration, other tensors "
            f"or another optimiser than rank 0; rank {comm.rank} has {given}"
        )
    return int(table[0, 0] ^ table[0, 1])


def _shared(comm: MPI.Intracomm, count: int, found: list[Piece], limit: float) -> Floats:
    """Worker 0's parameters as one vector, which are also written to every rank's own arrays."""
    weights = np.empty(count, np.float32)
    for piece in found:
        weights[piece.lo : piece.hi] = piece.values
    settled(comm.Ibcast(weights, 0), "the first parameters", usual_pause(), limit)
    for piece in found:
        piece.values[...] = weights[piece.lo : piece.hi]
    return weights


def _spelled(configuration: Configuration) -> str:
    each = configuration
    return (
        f"{each.workers} workers, {each.servers} servers, colocated={each.colocated}, {spelled(each.consistency)}, "
        f"partition={each.partition}, replicas={each.replicas}, encoding={each.encoding}"
    )
