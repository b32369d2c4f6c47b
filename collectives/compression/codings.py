"""What a schedule encodes if its messages travel encoded: found for all ranks before anything runs.

A message is its chunks, encoded one by one in the message's order. *What a rank sends is what it holds*: once it has
encoded a chunk, its own copy becomes what the others decode. So whoever holds a chunk afterwards holds the same bits,
and a chunk that came in and was not changed since travels on as the bytes that it came in.

After the last round a rank that holds a result which others hold encoded encodes it too, without sending it; so all
ranks end with the same bits wherever they do without an encoding.

*What is lost.* An encoding loses the difference between a value and what is decoded. Each such difference is missing
in the result once, however many ranks encode the same value; so exactly one of them, the first, keeps it, if there is
error feedback. The first time that a rank encodes a chunk its own contribution has not left it yet (or it would never
have); so that is where it adds what it kept in earlier calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from collectives.catalogue import Algorithm
from collectives.compression.values import Values
from collectives.matching import check_lengths, match
from collectives.schedule import OVERWRITE, Recv, Round, Send

__all__ = ["Coding", "Codings", "Loss", "codings"]


class Loss(Enum):
    """Whose task it is to remember what an encoding loses."""

    FIRST = "this rank's, which adds to the chunk what it remembered before"
    MORE = "this rank's, beside what it remembers already"
    ELSEWHERE = "another rank's, which encodes the same value"


@dataclass(frozen=True, slots=True)
class Coding:
    """A rank encodes ``chunk``.

    ``number`` is that of chunk and value: codings of the same number see the same bits, at whatever rank. ``held``:
    the rank's own copy is read before something else takes its place.
    """

    chunk: int
    number: int
    loss: Loss
    held: bool


@dataclass(frozen=True, slots=True, eq=False)
class Codings:
    """Everything that an algorithm encodes with ``size`` ranks.

    ``of[rank][round]`` is what a rank encodes before that round sends; those after the last round stand under the
    number of rounds. ``numbers`` is how many different ones there are. ``values`` numbers every value that
    occurs, and ``results[rank][chunk]`` is the one that a rank ends with.
    """

    of: tuple[Mapping[int, tuple[Coding, ...]], ...]
    numbers: int
    values: Values
    results: tuple[tuple[int, ...], ...]

    @property
    def alike(self) -> bool:
        """Whether all ranks end with the same bits."""
        return all(held == self.results[0] for held in self.results)


@lru_cache(maxsize=256)
def codings(algorithm: Algorithm, size: int) -> Codings:
    """What ``algorithm``, an allreduce, encodes with ``size`` ranks.

    Cost: a pass over the operations of all ranks and their chunks, as for a proof; kept for the next time. Raises
    ScheduleError for a schedule that breaks a law, and ValueError for a size that it does not work for.
    """
    schedule = [list(algorithm.rounds(rank, size)) for rank in range(size)]
    check_lengths(schedule)
    run = _Run(size, algorithm.chunks(size))
    rounds = len(schedule[0])
    for number in range(rounds):
        run.play(number, [mine[number] for mine in schedule])
    run.settle(rounds)
    return run.found()


@dataclass(slots=True, eq=False)
class _Draft:
    """A coding while it is not known who else encodes the value, and what becomes of the copy."""

    chunk: int
    value: int
    first: bool
    held: bool = True


class _Run:
    """The state of all ranks between two rounds."""

    def __init__(self, size: int, chunks: int) -> None:
        self.size, self.chunks = size, chunks
        self.values = Values()
        self.held = [[self.values.brought(rank)] * chunks for rank in range(size)]
        self.drafts: list[dict[int, list[_Draft]]] = [{} for _ in range(size)]
        self.unread: dict[tuple[int, int], _Draft] = {}
        self.encoded: set[tuple[int, int]] = set()
        self.keepers: dict[tuple[int, int], int] = {}

    def play(self, number: int, operations: Sequence[Round]) -> None:
        """One round: encode what is sent, then commit all receives on the state at the start of the round."""
        messages = match(number, operations, self.chunks)
        for (source, _), (send, _) in messages.items():
            for chunk in send.chunks:
                self._encode(source, chunk, number)
        parcels = {
            (source, dest): [self.held[source][chunk] for chunk in send.chunks]
            for (source, dest), (send, _) in messages.items()
        }
        for rank, mine in enumerate(operations):
            for operation in mine:
                if not isinstance(operation, Send):
                    self._commit(rank, operation, parcels[operation.source, rank])

    def settle(self, rounds: int) -> None:
        """After the last round: encode what others hold encoded."""
        for chunk in range(self.chunks):
            ends = {held[chunk] for held in self.held}
            for rank, held in enumerate(self.held):
                if self.values.known_coded(held[chunk]) in ends:
                    self._encode(rank, chunk, rounds)

    def found(self) -> Codings:
        """All codings, now that the whole run is known."""
        numbers = {key: number for number, key in enumerate(self.keepers)}
        lost = [self.values.within(held[chunk] for held in self.held) for chunk in range(self.chunks)]

        def coding(rank: int, draft: _Draft) -> Coding:
            key = draft.chunk, draft.value
            keeps = self.keepers[key] == rank and self.values.coded(draft.value) in lost[draft.chunk]
            loss = Loss.ELSEWHERE if not keeps else Loss.FIRST if draft.first else Loss.MORE
            return Coding(draft.chunk, numbers[key], loss, draft.held)

        of = tuple(
            {number: tuple([coding(rank, draft) for draft in drafts]) for number, drafts in mine.items()}
            for rank, mine in enumerate(self.drafts)
        )
        return Codings(of, len(numbers), self.values, tuple(map(tuple, self.held)))

    def _encode(self, rank: int, chunk: int, number: int) -> None:
        value = self.held[rank][chunk]
        if self.values.is_coded(value):
            return
        self.held[rank][chunk] = self.values.coded(value)
        draft = self.unread[rank, chunk] = _Draft(chunk, value, (rank, chunk) not in self.encoded)
        self.encoded.add((rank, chunk))
        self.drafts[rank].setdefault(number, []).append(draft)
        self.keepers.setdefault((chunk, value), rank)

    def _commit(self, rank: int, recv: Recv, parcel: Sequence[int]) -> None:
        held = self.held[rank]
        for chunk, incoming in zip(recv.chunks, parcel, strict=True):
            before = self.unread.pop((rank, chunk), None)
            if recv.fold is OVERWRITE:
                if before is not None:
                    before.held = False
                held[chunk] = incoming
            else:
                held[chunk] = self.values.added(held[chunk], incoming)
