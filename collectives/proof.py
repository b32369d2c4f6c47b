"""The prover: is a schedule right, for this size, and what does it need and cost?

It runs the rounds of all ranks on symbols instead of numbers. What a rank holds of a chunk is a ``Term``: the
expression tree of the ranks combined in it. So it sees a contribution that is lost or doubled, whether rank order is
kept (if not, the operation must commute), and, as a by-product, the exact expression that floating-point arithmetic
will evaluate at each rank. It raises ``ScheduleError``; it never returns a verdict that could be ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, TypeVar

from collectives.blocking import check_blocking
from collectives.contract import CONTRACTS, special
from collectives.cost import Cost
from collectives.matching import Edge, check_lengths, match
from collectives.schedule import INCOMING_FIRST, OVERWRITE, Chunks, Recv, Round, ScheduleError, Send

__all__ = ["Proof", "Provable", "Term", "prove"]

T = TypeVar("T")


class Provable(Protocol):
    """What the prover asks of an algorithm: a catalogue entry has it, and so may anything else."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def collective(self) -> str:
        """A name in ``contract.CONTRACTS``."""
        ...

    @property
    def commutative(self) -> bool:
        """Whether it may break rank order, so that the operation must commute."""
        ...

    def chunks(self, size: int) -> int:
        """The number of chunks."""
        ...

    def supports(self, size: int) -> bool:
        """Whether it works for this size."""
        ...

    def rounds(self, rank: int, size: int) -> Iterable[Round]:
        """The rounds of one rank."""
        ...


class Term:
    """One rank's contribution, or ``left ∘ right`` of two terms without a common rank."""

    __slots__ = ("first", "in_rank_order", "last", "parts", "ranks")

    def __init__(self, rank: int = 0, parts: tuple[Term, Term] | None = None) -> None:
        self.parts = parts
        if parts is None:
            self.ranks, self.first, self.last, self.in_rank_order = 1 << rank, rank, rank, True
        else:
            left, right = parts
            self.ranks = left.ranks | right.ranks
            self.first, self.last = left.first, right.last
            self.in_rank_order = left.in_rank_order and right.in_rank_order and left.last < right.first

    def evaluate(self, leaf: Callable[[int], T], combine: Callable[[T, T], T]) -> T:
        """The value of the expression, each rank's contribution given by ``leaf(rank)``."""
        if self.parts is None:
            return leaf(self.first)
        left, right = self.parts
        return combine(left.evaluate(leaf, combine), right.evaluate(leaf, combine))

    def __str__(self) -> str:
        return self.evaluate(str, lambda left, right: f"({left}∘{right})")


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found while a schedule was proven right.

    ``bytes_per_rank`` and ``reductions`` are the bytes sent and reduced by the busiest rank, in units of n (multiply
    by the vector's bytes). ``critical_path`` is the longest path of each term by itself: messages, bytes, reductions;
    where a rank has several sends or receives in one round it bounds that path from below.
    ``expressions[rank][chunk]`` is the term that each rank holds of its final chunks.
    """

    algorithm: str
    size: int
    rounds: int
    messages: int
    bytes_per_rank: Fraction
    reductions: Fraction
    in_rank_order: bool
    critical_path: Cost
    expressions: tuple[Mapping[int, Term], ...]


def prove(algorithm: Provable, size: int, *, blocking: bool = False) -> Proof:
    """Prove ``algorithm`` for ``size`` ranks, or raise ``ScheduleError`` naming rank, round, chunk and what is wrong.

    With ``blocking`` also prove that it would not hang if every send blocked until it is received and each rank did
    its operations in listed order. Work and memory grow with the number of chunks moved over all ranks.
    """
    if not algorithm.supports(size):
        raise ValueError(f"{_label(algorithm)} does not work for {size} ranks")
    schedule = [list(algorithm.rounds(rank, size)) for rank in range(size)]
    check_lengths(schedule)
    run = _Run(algorithm, size)
    for number in range(len(schedule[0])):
        run.play(number, [rounds[number] for rounds in schedule])
    run.check_end()
    if blocking:
        check_blocking(schedule)
    return run.proof(len(schedule[0]))


def _label(algorithm: Provable) -> str:
    return getattr(algorithm, "label", algorithm.name)


class _Run:
    """The state of all ranks between two rounds."""

    def __init__(self, algorithm: Provable, size: int) -> None:
        self.algorithm, self.size, self.chunks = algorithm, size, algorithm.chunks(size)
        self.contract = CONTRACTS[algorithm.collective]
        self.special = special(algorithm.collective, size, getattr(algorithm, "parameters", {}))
        self.held = [self._brought(rank) for rank in range(size)]
        self.wanted = self._wanted()
        self.heard = [1 << rank for rank in range(size)]
        self.sent, self.folded = [0] * size, [0] * size
        self.messages = 0
        self.path = [(0, 0, 0)] * size  # longest chain so far in messages, chunks, folded chunks

    def _brought(self, rank: int) -> dict[int, Term]:
        leaf = Term(rank)
        return dict.fromkeys(self.contract.brings(rank, self.size, self.chunks, self.special), leaf)

    def _wanted(self) -> list[int]:
        wanted = [0] * self.chunks
        for rank, held in enumerate(self.held):
            for chunk in held:
                wanted[chunk] |= 1 << rank
        return wanted

    def play(self, number: int, operations: list[Round]) -> None:
        """One round: match sends to receives, then commit all receives on the state at the start of the round."""
        messages = match(number, operations, self.chunks)
        parcels = {edge: self._parcel(number, edge, send.chunks) for edge, (send, _) in messages.items()}
        self._advance_paths(operations)
        before = list(self.heard)
        for rank, mine in enumerate(operations):
            for operation in mine:
                if isinstance(operation, Recv):
                    self.heard[rank] |= before[operation.source]
                    self._commit(number, rank, operation, parcels[operation.source, rank])
        self.messages += len(messages)

    def _parcel(self, number: int, edge: Edge, chunks: Chunks) -> list[Term]:
        source, dest = edge
        held = self.held[source]
        self.sent[source] += len(chunks)
        try:
            return [held[chunk] for lo, hi in chunks.spans for chunk in range(lo, hi)]
        except KeyError as missing:
            raise ScheduleError(
                f"rank {source}, round {number}: sends chunk {missing} to rank {dest} but does not hold it yet"
            ) from None

    def _commit(self, number: int, rank: int, recv: Recv, parcel: list[Term]) -> None:
        held, incoming = self.held[rank], iter(parcel)
        if recv.fold is not OVERWRITE:
            self.folded[rank] += len(parcel)
        for lo, hi in recv.spans:
            for chunk in range(lo, hi):
                held[chunk] = (
                    next(incoming)
                    if recv.fold is OVERWRITE
                    else self._folded(number, rank, chunk, recv, next(incoming))
                )

    def _folded(self, number: int, rank: int, chunk: int, recv: Recv, incoming: Term) -> Term:
        mine = self.held[rank].get(chunk)
        if mine is None:
            raise ScheduleError(
                f"rank {rank}, round {number}, chunk {chunk}: folds what comes from rank {recv.source} into nothing"
            )
        if twice := mine.ranks & incoming.ranks:
            raise ScheduleError(
                f"rank {rank}, round {number}, chunk {chunk}: the contribution of {_ranks(twice)} is doubled: "
                f"it holds {mine} and folds in {incoming} from rank {recv.source}"
            )
        return Term(parts=(incoming, mine) if recv.fold is INCOMING_FIRST else (mine, incoming))

    def _advance_paths(self, operations: list[Round]) -> None:
        """A message starts when both its ranks are in the round; a port carries one message at a time."""
        before, after = self.path, list(self.path)
        for rank, mine in enumerate(operations):
            start = hops, volume, folded = before[rank]
            out_load = in_load = folds = 0
            for operation in mine:
                load = len(operation.chunks)
                if isinstance(operation, Send):
                    peer = before[operation.dest]
                    out_load = ready = max(out_load, peer[1] - start[1]) + load
                else:
                    peer = before[operation.source]
                    in_load = ready = max(in_load, peer[1] - start[1]) + load
                    folds += load if operation.fold is not OVERWRITE else 0
                hops = max(hops, start[0] + 1, peer[0] + 1)
                volume = max(volume, start[1] + ready)
                folded = max(folded, peer[2])
            after[rank] = (hops, volume, folded + folds)
        self.path = after

    def check_end(self) -> None:
        """Every rank must hold what the collective promises it, from every rank that brought a share."""
        if self.algorithm.collective == "barrier":
            self._check_barrier()
        for rank, held in enumerate(self.held):
            for chunk in self.contract.gets(rank, self.size, self.chunks, self.special):
                term = held.get(chunk)
                if missing := self.wanted[chunk] & ~(term.ranks if term else 0):
                    raise ScheduleError(
                        f"rank {rank}, {self._last_touch(rank, chunk)}, chunk {chunk}: at the end the contribution of "
                        f"{_ranks(missing)} is missing; it holds {term or 'nothing'}"
                    )
                if self.contract.reduces and term and not (self.algorithm.commutative or term.in_rank_order):
                    raise ScheduleError(
                        f"rank {rank}, {self._last_touch(rank, chunk)}, chunk {chunk}: {_label(self.algorithm)} claims "
                        f"to keep rank order, but combines {term}: a wrong fold, or it needs a commutative operation"
                    )

    def _check_barrier(self) -> None:
        for rank, heard in enumerate(self.heard):
            if missing := ((1 << self.size) - 1) & ~heard:
                raise ScheduleError(
                    f"rank {rank}, after the last round: leaves the barrier unaware of {_ranks(missing)}"
                )

    def _last_touch(self, rank: int, chunk: int) -> str:
        rounds = enumerate(self.algorithm.rounds(rank, self.size))
        touched = [n for n, ops in rounds if any(isinstance(op, Recv) and chunk in op.chunks for op in ops)]
        return f"round {touched[-1]}" if touched else "no round"

    def proof(self, rounds: int) -> Proof:
        """What the finished run showed."""
        unit = Fraction(self.contract.vectors(self.size), self.chunks or 1)
        final = tuple(
            {chunk: held[chunk] for chunk in self.contract.gets(rank, self.size, self.chunks, self.special)}
            for rank, held in enumerate(self.held)
        )
        hops, volume, folded = (max(path[term] for path in self.path) for term in range(3))
        return Proof(
            algorithm=_label(self.algorithm),
            size=self.size,
            rounds=rounds,
            messages=self.messages,
            bytes_per_rank=max(self.sent) * unit,
            reductions=max(self.folded) * unit,
            in_rank_order=not self.contract.reduces or all(t.in_rank_order for held in final for t in held.values()),
            critical_path=Cost(Fraction(hops), volume * unit, folded * unit),
            expressions=final,
        )


def _ranks(mask: int) -> str:
    members = [str(rank) for rank in range(mask.bit_length()) if mask >> rank & 1]
    return f"rank {members[0]}" if len(members) == 1 else f"ranks {', '.join(members)}"
