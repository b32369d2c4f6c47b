"""Schedules as tables: the same from vectors of ranks, and from one rank after the other."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from collectives.catalogue import Algorithm
from collectives.matching import match
from collectives.schedule import (
    INCOMING_FIRST,
    MINE_FIRST,
    OVERWRITE,
    Chunks,
    Recv,
    Round,
    ScheduleError,
    Send,
    cyclic,
    extents,
    mirror,
    pipeline,
    rooted,
)  # fmt: skip
from simulator.blocks import Block, blocks
from simulator.generation import parts

EVERY = [catalogue.get(name) for name in catalogue.names()] + [
    catalogue.parse(text)
    for text in ("chain:segments=3", "parameter_server:servers=2", "reduce_binomial:root=5", "broadcast_linear:root=3")
]
Row = tuple[int, int, int, int, bool, bool, tuple[tuple[int, int], ...]]


def custom(function: Callable[..., Iterable[Round]], chunks: int = 1000) -> Algorithm:
    """An algorithm of one's own, with the chunk count of an allreduce."""
    return replace(
        catalogue.get("linear"), name="custom", function=function, chunk_count=lambda size, at: chunks
    )  # fmt: skip


def slowly(algorithm: Algorithm, size: int, nbytes: int, itemsize: int) -> list[list[Row]]:
    """The messages of each round in order of precedence, from every rank on its own and from ``match``."""
    schedule = [list(algorithm.rounds(rank, size)) for rank in range(size)]
    chunks = algorithm.chunks(size)
    cut = extents(nbytes * algorithm.vectors(size) // itemsize, chunks)
    table: list[list[Row]] = []
    for number in range(len(schedule[0])):
        operations = [mine[number] for mine in schedule]
        sends = {
            (rank, op.dest): i for rank in range(size) for i, op in enumerate(operations[rank]) if type(op) is Send
        }
        recvs = {
            (op.source, rank): i for rank in range(size) for i, op in enumerate(operations[rank]) if type(op) is Recv
        }
        messages = match(number, operations, chunks)
        table.append([
            (
                *edge, number, sum(hi - lo for chunk in recv.chunks for lo, hi in [cut[chunk]]) * itemsize,
                recv.fold is not OVERWRITE, edge[::-1] in messages, recv.spans,
            )
            for edge, (_, recv) in sorted(messages.items(), key=lambda item: (sends[item[0]], recvs[item[0]], item[0]))
        ])  # fmt: skip
    return table


def rows(block: Block) -> list[list[Row]]:
    """The messages of each round of a block."""
    spans = [tuple(map(tuple, block.spans[lo:hi].tolist())) for lo, hi in pairwise(block.span_first)]
    columns = (block.source, block.dest, block.round, block.nbytes, block.folds, block.mutual)
    flat = list(zip(*(column.tolist() for column in columns), spans, strict=True))
    return [flat[lo:hi] for lo, hi in pairwise(block.first)]


def check(algorithm: Algorithm, size: int, nbytes: int = 1000, itemsize: int = 1, least: int = 65536) -> None:
    found = list(blocks(algorithm, size, nbytes, itemsize, least))
    table = [messages for block in found for messages in rows(block)]
    assert table == slowly(algorithm, size, nbytes, itemsize)
    assert [block.first_round for block in found] == np.cumsum([0, *(block.rounds for block in found)]).tolist()[:-1]
    for block, following in pairwise(found):
        assert len(block.source) >= least
        assert following.rounds > 0
    for block in found:
        for messages, fan in zip(rows(block), block.fan.tolist(), strict=True):
            ports = Counter(("out", row[0]) for row in messages) + Counter(("in", row[1]) for row in messages)
            assert fan == max(ports.values(), default=0)


# --- the table is the schedule's ----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", EVERY, ids=lambda algorithm: algorithm.label)
def test_blocks_are_the_table_of_single_ranks(algorithm: Algorithm) -> None:
    """Below and above the number of ranks from which on they are called together, powers of two and others."""
    for size in (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 24, 32, 33):
        if algorithm.supports(size):
            check(algorithm, size)


@pytest.mark.parametrize("name", ["ring", "circulant", "parameter_server", "binomial", "halving_doubling", "linear"])
def test_blocks_of_more_ranks(name: str) -> None:
    check(catalogue.get(name), 70, nbytes=1003 * 8, itemsize=8, least=700)
    check(catalogue.get(name), 64, least=100)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bytes_and_blocks_of_any_size(data: st.DataObject) -> None:
    algorithm = data.draw(st.sampled_from(EVERY))
    size = data.draw(st.integers(1, 20).filter(algorithm.supports))
    itemsize = data.draw(st.sampled_from([1, 4]))
    check(algorithm, size, itemsize * data.draw(st.integers(0, 3000)), itemsize, data.draw(st.integers(1, 300)))


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[list[Round]], int]:
    """Rounds of random messages between random ranks, each rank listing its own in a random order."""
    size = draw(st.integers(2, 20))
    pair = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)).filter(lambda edge: edge[0] != edge[1])
    chunks = st.sets(st.integers(0, 9), max_size=6)
    whole: list[list[Round]] = [[] for _ in range(size)]
    for _ in range(draw(st.integers(0, 4))):
        operations: list[list[Any]] = [[] for _ in range(size)]
        for source, dest in draw(st.sets(pair, max_size=25)):
            carried = draw(chunks)
            operations[source].append(Send(dest, carried))
            operations[dest].append(Recv(source, carried, draw(st.sampled_from([OVERWRITE, MINE_FIRST]))))
        for rank in range(size):
            whole[rank].append(tuple(draw(st.permutations(operations[rank]))))
    return whole, size


@settings(max_examples=60, deadline=None)
@given(schedules(), st.integers(1, 40), st.integers(0, 500))
def test_any_schedule(schedule: tuple[list[list[Round]], int], least: int, nbytes: int) -> None:
    """A list is indexed with the rank, which many ranks at once cannot do."""
    whole, size = schedule
    check(custom(lambda rank, size: whole[rank], 10), size, nbytes, least=least)


@st.composite
def expressions(draw: st.DrawFn) -> Callable[[int, int], int]:
    """An offset computed from the rank as algorithms do it, with branches, tables and library functions."""
    constant = draw(st.integers(1, 9))
    kinds: list[Callable[[int, int], int]] = [
        lambda rank, size: constant,
        lambda rank, size: constant if rank < constant else 1,
        lambda rank, size: rank // constant + 1,
        lambda rank, size: (rank >> 1) + (rank & constant),
        lambda rank, size: {0: 1, 1: 2}.get(rank, 3),
        lambda rank, size: min(rank, constant) + 1,
        lambda rank, size: max(1, size - rank),
        lambda rank, size: int(np.mod(rank, constant)) + 1,
        lambda rank, size: len(str(rank)),
        lambda rank, size: math.gcd(rank + 1, constant),
        lambda rank, size: rank.bit_length() + 1 if isinstance(rank, int) else 7,
        lambda rank, size: [1, 2, 3][rank % 3],
        lambda rank, size: divmod(rank, constant)[0] + 2**constant,
        lambda rank, size: 1 + (rank % 2 == 0) * constant,
        lambda rank, size: 2 if (rank % 2 == 0) is True else 1,
        lambda rank, size: _swallowing(rank),
    ]
    return draw(st.sampled_from(kinds))


def _swallowing(rank: int) -> int:
    try:
        return hash(rank) % 5 + 1
    except BaseException:  # noqa: BLE001 - the worst that an algorithm can do
        return 9


@settings(max_examples=80, deadline=None)
@given(st.lists(expressions(), min_size=1, max_size=4), st.integers(2, 40), st.booleans())
def test_any_way_to_compute_with_a_rank(offsets: list[Callable[[int, int], int]], size: int, sometimes: bool) -> None:
    """Every rank is told who it is to send to; whom it receives from is found by asking all others."""

    def rounds(rank: int, size: int) -> Iterator[Round]:
        for offset in offsets:
            dest = (rank + offset(rank, size)) % size
            sends = () if dest == rank or (sometimes and rank % 3 == 1) else (Send(dest, rank),)
            others = [other for other in range(size) if not (sometimes and other % 3 == 1) and other != rank]
            asks = [other for other in others if (other + offset(other, size)) % size == rank]
            yield (*sends, *(Recv(other, other, INCOMING_FIRST) for other in asks))

    check(custom(rounds), size)


@pytest.mark.parametrize(
    ("name", "most"),
    [("ring", 1), ("parameter_server", 1), ("alltoall_pairwise", 1), ("circulant", 60), ("binomial", 60)],
)
def test_one_call_serves_many_ranks(name: str, most: int) -> None:
    """One for all ranks of a ring or a pairwise exchange, a few for a tree or a circulant graph."""
    calls = 0
    algorithm = catalogue.get(name)

    def counted(rank: int, size: int, **at: int) -> Iterator[Round]:
        nonlocal calls
        calls += 1
        yield from algorithm.function(rank, size, **at)

    for _ in parts(replace(algorithm, function=counted), 256):
        pass
    assert calls <= most


# --- refusals -----------------------------------------------------------------------------------------------------


Faults = dict[str, tuple[Callable[[int, int, int, int], Round], str]]
FAULTS: Faults = {
    "chunks": (
        lambda rank, left, right, size: (Send(right, rank), Recv(left, rank)),
        r"rank 1, round 1: expects chunks \{1\} from rank 0, which sends chunks \{0\}",
    ),
    "silent": (
        lambda rank, left, right, size: (Recv(left, 0),),
        r"rank 0, round 1: waits for chunks \{0\} from rank \d+, and rank \d+ sends it nothing",
    ),
    "unheard": (
        lambda rank, left, right, size: (Send(right, 0),),
        r"rank 1, round 1: no receive meets the send of chunks \{0\} from rank 0",
    ),
    "twice": (
        lambda rank, left, right, size: (Send(right, 0), Send(right, 1), Recv(left, 0)),
        r"rank 0, round 1: two sends to rank 1 \(law 2\)",
    ),
    "heard twice": (
        lambda rank, left, right, size: (Send(right, 0), Recv(left, 0), Recv(left, 1)),
        r"rank 0, round 1: two receives from rank \d+ \(law 2\)",
    ),
    "nobody": (
        lambda rank, left, right, size: (Send(rank + 1, 0), Recv(left, 0)),
        r"rank \d+, round 1: its partner \d+ is not another of \d+ ranks",
    ),
    "nobody heard": (
        lambda rank, left, right, size: (Send(right, 0), Recv(rank - 1 if rank else size, 0)),
        r"rank 0, round 1: its partner \d+ is not another of \d+ ranks",
    ),
    "itself": (
        lambda rank, left, right, size: (Send(rank, 0), Recv(rank, 0)),
        r"rank 0, round 1: its partner 0 is not another",
    ),
    "no chunk": (
        lambda rank, left, right, size: (Send(right, rank + 1000), Recv(left, left + 1000)),
        r"rank 0, round 1: chunk 1000 is not one of the 1000 chunks",
    ),
    "negative": (
        lambda rank, left, right, size: (Send(right, rank - 1), Recv(left, left - 1)),
        r"chunk -1 is negative",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("size", [2, 5, 40])
def test_what_breaks_a_law_is_named_in_the_words_of_the_law(kind: str, size: int) -> None:
    second, complaint = FAULTS[kind]

    def rounds(rank: int, size: int) -> Iterator[Round]:
        right, left = (rank + 1) % size, (rank - 1) % size
        yield Send(right, 0), Recv(left, 0)
        yield second(rank, left, right, size)

    with pytest.raises(ScheduleError, match=complaint):
        list(blocks(custom(rounds), size, 100))


@pytest.mark.parametrize("size", [2, 5, 40])
def test_ranks_that_differ_in_their_number_of_rounds_are_named(size: int) -> None:
    longer = custom(lambda rank, size: [()] * 2 if rank == size - 1 else [()])
    with pytest.raises(
        ScheduleError, match=rf"rank {size - 1} has 2 rounds but rank 0 has 1: from round 1 .*\(law 3\)"
    ):
        list(blocks(longer, size, 100))


def test_a_partner_that_is_no_whole_number_is_refused() -> None:
    half = custom(lambda rank, size: [(Send((rank + 1) % size + 0.5, 0), Recv((rank - 1) % size, 0))])  # type: ignore[arg-type]
    with pytest.raises(ScheduleError, match="no whole number"):
        list(blocks(half, 20, 100))


def test_a_fault_of_the_algorithm_itself_is_told_as_it_is() -> None:
    def broken(rank: int, size: int) -> Iterator[Round]:
        yield ()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(blocks(custom(broken), 40, 100))


# --- chunks, and what the algorithms are made of --------------------------------------------------------------------


@given(st.integers(1, 30), st.data())
def test_cyclic_chunks(size: int, data: st.DataObject) -> None:
    first, count = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    assert cyclic(first, count, size) == Chunks((first + i) % size for i in range(count))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=4))
def test_chunks_of_spans(spans: list[tuple[int, int]]) -> None:
    """Either the chunks that the spans hold, or a refusal; never spans that are not canonical."""
    try:
        made = Chunks.of(*spans)
    except ScheduleError:
        return
    assert made == Chunks(index for lo, hi in spans for index in range(lo, hi))
    assert len(made) == len(list(made))


@given(st.integers(2, 9), st.integers(1, 5), st.integers(1, 3))
def test_a_pipeline_is_its_copies_beside_each_other(size: int, segments: int, stride: int) -> None:
    """Idle rounds are skipped inside, and are there all the same."""
    one = rooted(mirror(catalogue.get("broadcast_binomial").function), 0)
    for rank in range(size):
        once = list(one(rank, size))
        found = list(pipeline(one, segments, stride)(rank, size))
        assert len(found) == len(once) + (segments - 1) * stride
        for number, operations in enumerate(found):
            ahead = [(index, number - index * stride) for index in range(segments)]
            wanted = [(op, index) for index, at in ahead if 0 <= at < len(once) for op in once[at]]
            for op, index in wanted:
                peers = [mine for mine in operations if type(mine) is type(op)]
                assert any(index in mine.chunks for mine in peers)
            assert sum(len(mine.chunks) for mine in operations) == len(wanted)


def test_speed() -> None:
    """Ten times what it takes on a quiet machine: 2,095,104 messages in 0.2 s of processor time."""
    list(blocks(catalogue.get("ring"), 32, 1000))  # compiled, or loaded from the cache
    begin = time.process_time()
    assert sum(len(block.source) for block in blocks(catalogue.get("ring"), 1024, 1 << 20)) == 2_095_104
    assert time.process_time() - begin < 2
