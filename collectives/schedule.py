"""The schedule language: what one rank sends, receives and folds, round by round.

A schedule is a pure function ``(rank, size) -> rounds``. Everything else in this project is a reading of such a
function: the prover, the executors, the simulator and the pictures. The five laws it obeys:

1. *Round law.* The sends of a round read the state at its start; its receives commit at its end, in listed order.
   A round only labels which send meets which receive; it is no barrier.
2. At most one message per (source, dest, round), and each send meets exactly one receive with the same chunks.
3. Every rank has the same number of rounds; an idle round is ``()``.
4. ``extents`` alone turns chunk indices into elements. No bytes, dtypes, tags or communicators appear here.
5. A reduction is part of the receive (``fold``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from enum import Enum
from itertools import chain, pairwise, zip_longest

__all__ = [
    "INCOMING_FIRST",
    "MINE_FIRST",
    "OVERWRITE",
    "Chunks",
    "Fold",
    "Recv",
    "Round",
    "Schedule",
    "ScheduleError",
    "Send",
    "beside",
    "cyclic",
    "delay",
    "extents",
    "fold_extras",
    "mirror",
    "pipeline",
    "relabel",
    "rooted",
    "shift_chunks",
    "then",
]


class ScheduleError(ValueError):
    """A schedule breaks a law, or does not do what its collective promises."""


class Fold(Enum):
    """How an arriving chunk is combined with the one already there."""

    OVERWRITE = "overwrite"
    INCOMING_FIRST = "incoming ∘ mine"
    MINE_FIRST = "mine ∘ incoming"


OVERWRITE, INCOMING_FIRST, MINE_FIRST = Fold.OVERWRITE, Fold.INCOMING_FIRST, Fold.MINE_FIRST


class Chunks(Set[int]):
    """A set of chunk indices, kept as disjoint ascending half-open ``spans`` and sent in that order.

    >>> Chunks([5, 0, 1, 2]).spans
    ((0, 3), (5, 6))
    """

    __slots__ = ("_length", "spans")
    spans: tuple[tuple[int, int], ...]

    def __init__(self, indices: int | Iterable[int]) -> None:
        if isinstance(indices, int):
            self._set(((indices, indices + 1),), 1)
        else:
            spans = _spans(indices)
            self._set(spans, sum([hi - lo for lo, hi in spans]))

    def _set(self, spans: tuple[tuple[int, int], ...], length: int) -> None:
        self.spans = spans
        self._length = length
        if spans and spans[0][0] < 0:
            raise ScheduleError(f"chunk {self.spans[0][0]} is negative; chunk indices count from 0")

    @classmethod
    def of(cls, *spans: tuple[int, int]) -> Chunks:
        """The chunks of half-open ``spans``, which ascend and leave a gap between each and the next.

        >>> Chunks.of((0, 3), (5, 6))
        {0..2, 5}
        """
        filled = tuple([(lo, hi) for lo, hi in spans if lo < hi])
        for (_, end), (start, _) in pairwise(filled):
            if start <= end:
                raise ScheduleError(f"spans {spans} do not ascend with a gap between each and the next")
        chunks = cls.__new__(cls)
        chunks._set(filled, sum([hi - lo for lo, hi in filled]))
        return chunks

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(range(lo, hi) for lo, hi in self.spans)

    def __len__(self) -> int:
        return self._length

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and any(lo <= index < hi for lo, hi in self.spans)

    def __eq__(self, other: object) -> bool:
        return self.spans == other.spans if isinstance(other, Chunks) else super().__eq__(other)

    def __hash__(self) -> int:
        return self._hash()

    def __repr__(self) -> str:
        return "{" + ", ".join(str(lo) if hi == lo + 1 else f"{lo}..{hi - 1}" for lo, hi in self.spans) + "}"

    def __or__(self, other: Set[int]) -> Chunks:  # pyright: ignore[reportIncompatibleMethodOverride] - ints only
        return Chunks((*self, *other))

    def __and__(self, other: Set[int]) -> Chunks:  # pyright: ignore[reportIncompatibleMethodOverride] - ints only
        return Chunks(index for index in self if index in other)


def _spans(indices: Iterable[int]) -> tuple[tuple[int, int], ...]:
    if isinstance(indices, range) and indices.step == 1:
        return ((indices.start, indices.stop),) if indices else ()
    if isinstance(indices, Chunks):
        return indices.spans
    spans: list[tuple[int, int]] = []
    for index in sorted(set(indices)):
        if spans and spans[-1][1] == index:
            spans[-1] = (spans[-1][0], index + 1)
        else:
            spans.append((index, index + 1))
    return tuple(spans)


@dataclass(frozen=True, slots=True, init=False)
class Send:
    """These chunks of my vector go to rank ``dest``."""

    dest: int
    chunks: Chunks

    def __init__(self, dest: int, chunks: int | Iterable[int]) -> None:
        object.__setattr__(self, "dest", dest)
        object.__setattr__(self, "chunks", chunks if type(chunks) is Chunks else Chunks(chunks))

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The chunks as disjoint ascending half-open spans, in the order in which they travel."""
        return self.chunks.spans


@dataclass(frozen=True, slots=True, init=False)
class Recv:
    """These chunks arrive from rank ``source`` and are folded into mine."""

    source: int
    chunks: Chunks
    fold: Fold

    def __init__(self, source: int, chunks: int | Iterable[int], fold: Fold = OVERWRITE) -> None:
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "chunks", chunks if type(chunks) is Chunks else Chunks(chunks))
        object.__setattr__(self, "fold", fold)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The chunks as disjoint ascending half-open spans, in the order in which they travel."""
        return self.chunks.spans


def cyclic(first: int, count: int, size: int) -> Chunks:
    """``count`` chunks from chunk ``first < size`` on, of ``size`` that stand in a ring: after the last comes chunk 0.

    >>> cyclic(3, 2, 4).spans
    ((0, 1), (3, 4))
    """
    if count >= size:
        return Chunks(range(size))
    past = first + count - size
    return Chunks.of((first, first + count)) if past <= 0 else Chunks.of((0, past), (first, size))


Operation = Send | Recv
Round = tuple[Operation, ...]
Schedule = Callable[[int, int], Iterable[Round]]


def extents(count: int, chunks: int) -> tuple[tuple[int, int], ...]:
    """Element range ``(lo, hi)`` of each chunk when ``count`` elements are cut into ``chunks`` nearly equal ones.

    The first ``count % chunks`` chunks are one element longer; with ``count < chunks`` the last ones are empty.

    >>> extents(7, 3)
    ((0, 3), (3, 5), (5, 7))
    """
    if count < 0 or chunks < 0:
        raise ValueError(f"count and chunks must not be negative, got count={count}, chunks={chunks}")
    base, longer = divmod(count, chunks) if chunks else (0, 0)
    starts = [base * index + min(index, longer) for index in range(chunks + 1)]
    return tuple(pairwise(starts))


# --- combinators: schedules in, a schedule out ------------------------------------------------------------------


def then(*parts: Schedule) -> Schedule:
    """One part after the other."""
    return lambda rank, size: chain.from_iterable(part(rank, size) for part in parts)


def beside(*parts: Schedule) -> Schedule:
    """All parts at once: round ``i`` holds round ``i`` of each, shorter parts idle at their end.

    Operations on the same (source, dest) in one round become one message, as law 2 demands; they must fold alike.
    """

    def both(rank: int, size: int) -> Iterator[Round]:
        for rounds in zip_longest(*(part(rank, size) for part in parts), fillvalue=()):
            yield _merge(tuple(chain.from_iterable(rounds)))

    return both


def _merge(operations: Round) -> Round:
    if len(operations) < 2:
        return operations
    merged: dict[tuple[type[Operation], int], Operation] = {}
    for new in operations:
        key = (type(new), new.dest if isinstance(new, Send) else new.source)
        old = merged.setdefault(key, new)
        if old is not new:
            merged[key] = _join(old, new)
    return tuple(merged.values())


def _join(old: Operation, new: Operation) -> Operation:
    if overlap := old.chunks & new.chunks:
        raise ScheduleError(f"{old} and {new} carry chunks {overlap!r} twice over one edge in one round")
    if isinstance(old, Send):
        return Send(old.dest, old.chunks | new.chunks)
    if isinstance(new, Recv) and old.fold is new.fold:
        return Recv(old.source, old.chunks | new.chunks, old.fold)
    raise ScheduleError(f"{old} and {new} share an edge in one round but fold differently")


def relabel(
    schedule: Schedule,
    place: Callable[[int, int], int],
    rank_at: Callable[[int, int], int],
    chunk_at: Callable[[int, int], int] | None = None,
) -> Schedule:
    """The same schedule with other names: rank ``r`` plays the part of ``place(r, size)``.

    ``rank_at`` is the inverse of ``place``; ``chunk_at(chunk, size)`` renames chunks, which else keep theirs.
    """

    def renamed(rank: int, size: int) -> Iterator[Round]:
        for operations in schedule(place(rank, size), size):
            yield tuple(_rename(operation, size) for operation in operations)

    def _rename(operation: Operation, size: int) -> Operation:
        chunks = operation.chunks if chunk_at is None else [chunk_at(chunk, size) for chunk in operation.chunks]
        if isinstance(operation, Send):
            return Send(rank_at(operation.dest, size), chunks)
        return Recv(rank_at(operation.source, size), chunks, operation.fold)

    return renamed


def shift_chunks(schedule: Schedule, offset: int) -> Schedule:
    """The same schedule on chunks ``offset, offset + 1, ...``."""

    def shifted(rank: int, size: int) -> Iterator[Round]:
        for operations in schedule(rank, size):
            yield tuple(_shift(operation, offset) for operation in operations)

    return shifted


def _shift(operation: Operation, offset: int) -> Operation:
    chunks = Chunks.of(*[(lo + offset, hi + offset) for lo, hi in operation.spans])
    if isinstance(operation, Send):
        return Send(operation.dest, chunks)
    return Recv(operation.source, chunks, operation.fold)


def rooted(schedule: Schedule, root: int) -> Schedule:
    """A schedule written for root 0, turned so that ``root`` plays rank 0."""
    if not root:
        return schedule
    return relabel(schedule, lambda rank, size: (rank - root) % size, lambda part, size: (part + root) % size)


def _same(index: int, size: int) -> int:
    return index


def mirror(schedule: Schedule, fold: Fold = INCOMING_FIRST) -> Schedule:
    """Time reversal: the last round first, each send a receive that folds by ``fold``, each receive a send.

    A mirrored allgather is a reduce-scatter, a mirrored broadcast a reduce; with ``fold=OVERWRITE`` a mirrored
    reduce is a broadcast.
    """

    def reversed_rounds(rank: int, size: int) -> Iterator[Round]:
        for operations in reversed(list(schedule(rank, size))):
            yield (
                ()
                if not operations
                else tuple(
                    Recv(operation.dest, operation.chunks, fold)
                    if isinstance(operation, Send)
                    else Send(operation.source, operation.chunks)
                    for operation in reversed(operations)
                )
            )

    return reversed_rounds


def delay(schedule: Schedule, rounds: int) -> Schedule:
    """The same schedule after ``rounds`` idle rounds."""
    return lambda rank, size: chain(((),) * rounds, schedule(rank, size))


def pipeline(schedule: Schedule, segments: int, stride: int = 1) -> Schedule:
    """``segments`` copies of a one-chunk schedule, each on a chunk of its own, ``stride`` rounds after the last."""

    def together(rank: int, size: int) -> Iterator[Round]:
        once = list(schedule(rank, size))
        busy = [(number, operations) for number, operations in enumerate(once) if operations]  # the others are many
        due: dict[int, list[Operation]] = {}
        for index in range(segments):
            for number, operations in busy:
                due.setdefault(number + index * stride, []).extend(_shift(operation, index) for operation in operations)
        for number in range(len(once) + (segments - 1) * stride):
            yield _merge(tuple(due[number])) if number in due else ()

    return together


def fold_extras(core: Schedule, chunks: Callable[[int], int]) -> Schedule:
    """Any size from a core for powers of two, ``2^f = size - extra``: the first ``2·extra`` ranks work in pairs.

    In each pair the even rank hands its whole vector to the odd one, which plays in the core, and gets the result
    back. Pairs are neighbours, so rank order is kept. ``chunks(2^f)`` is the core's chunk count; two rounds more.
    Source: Rabenseifner, "Optimization of Collective Reduction Operations" (2004).
    """

    def folded(rank: int, size: int) -> Iterator[Round]:
        power = 1 << (size.bit_length() - 1)
        extra, whole = size - power, range(chunks(power))
        if not extra:
            yield from core(rank, size)
        elif rank < 2 * extra and rank % 2 == 0:
            yield (Send(rank + 1, whole),)
            yield from (() for _ in core(0, power))
            yield (Recv(rank + 1, whole),)
        else:
            paired = rank < 2 * extra
            yield (Recv(rank - 1, whole, INCOMING_FIRST),) if paired else ()
            yield from players(rank, size)
            yield (Send(rank - 1, whole),) if paired else ()

    def part(rank: int, size: int) -> int:
        extra = size - (1 << (size.bit_length() - 1))
        return rank // 2 if rank < 2 * extra else rank - extra

    def rank_of(part: int, size: int) -> int:
        extra = size - (1 << (size.bit_length() - 1))
        return 2 * part + 1 if part < extra else part + extra

    def players(rank: int, size: int) -> Iterator[Round]:
        power = 1 << (size.bit_length() - 1)
        named = relabel(lambda rank, _: core(part(rank, size), power), _same, lambda part, _: rank_of(part, size))
        return iter(named(rank, size))

    return folded
