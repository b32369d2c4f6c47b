"""Which send meets which receive: laws 2 and 3, checked in one place for everyone who reads all ranks at once."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from collectives.schedule import Operation, Recv, Round, ScheduleError, Send

__all__ = ["Edge", "check_lengths", "match"]

Edge = tuple[int, int]


def check_lengths(schedule: Sequence[Sized]) -> None:
    """Raise ``ScheduleError`` unless every rank has as many rounds as rank 0."""
    for rank, rounds in enumerate(schedule):
        if len(rounds) != len(schedule[0]):
            raise ScheduleError(
                f"rank {rank} has {len(rounds)} rounds but rank 0 has {len(schedule[0])}: "
                f"from round {min(len(rounds), len(schedule[0]))} on one of them is missing (law 3)"
            )


def match(number: int, operations: Sequence[Round], chunks: int) -> dict[Edge, tuple[Send, Recv]]:
    """The messages of round ``number`` by (source, dest); ``operations`` holds what each rank does in it.

    Raises ``ScheduleError`` naming rank, round and chunks for a send that meets no receive or the other way round,
    for chunks that differ, for a second message on one edge, and for partners or chunks that do not exist.
    """
    sends: dict[Edge, Send] = {}
    recvs: dict[Edge, Recv] = {}
    for rank, mine in enumerate(operations):
        for operation in mine:
            peer = operation.dest if isinstance(operation, Send) else operation.source
            if not 0 <= peer < len(operations) or peer == rank:
                raise ScheduleError(
                    f"rank {rank}, round {number}: its partner {peer} is not another of {len(operations)} ranks"
                )
            if (spans := operation.chunks.spans) and (last := spans[-1][1] - 1) >= chunks:
                raise ScheduleError(f"rank {rank}, round {number}: chunk {last} is not one of the {chunks} chunks")
            if isinstance(operation, Send):
                if (rank, peer) in sends:
                    raise ScheduleError(f"rank {rank}, round {number}: two sends to rank {peer} (law 2)")
                sends[rank, peer] = operation
            else:
                if (peer, rank) in recvs:
                    raise ScheduleError(f"rank {rank}, round {number}: two receives from rank {peer} (law 2)")
                recvs[peer, rank] = operation
    _check_receives(number, sends, recvs)
    return {edge: (send, _met(number, edge, send, recvs.get(edge))) for edge, send in sends.items()}


def _check_receives(number: int, sends: dict[Edge, Send], recvs: dict[Edge, Recv]) -> None:
    for (source, dest), recv in recvs.items():
        if (source, dest) not in sends:
            raise ScheduleError(
                f"rank {dest}, round {number}: waits for chunks {recv.chunks!r} from rank {source}, "
                f"and rank {source} sends it nothing in this round"
            )


def _met(number: int, edge: Edge, send: Send, recv: Operation | None) -> Recv:
    source, dest = edge
    if not isinstance(recv, Recv):
        raise ScheduleError(
            f"rank {dest}, round {number}: no receive meets the send of chunks {send.chunks!r} from rank {source}"
        )
    if recv.spans != send.spans:
        raise ScheduleError(
            f"rank {dest}, round {number}: expects chunks {recv.chunks!r} from rank {source}, "
            f"which sends chunks {send.chunks!r}"
        )
    return recv
