"""Processes beside schedules: what messages, ports, links and processors cost them, worked by hand, and its laws."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from collectives.schedule import Recv, Round, Send
from simulator import Network, networks
from simulator.models import Calibrated, Cores, Hockney, LogGOPS, Model
from simulator.networks import Topology
from simulator.playing import Phase, play
from simulator.processes import Deadlock, Process, Signal, World

LAW = settings(deadline=None, max_examples=40)
STAR = networks.star(4, latency=10.0, bandwidth=1.0)  # so a message of n bytes takes n + 10 seconds
MESSAGES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2000), st.floats(0, 50)), max_size=25
)


def ends(
    network: Network, messages: list[tuple[int, int, int, float]], contention: bool = True, *, sharing: bool = False
) -> list[float]:
    """When each of the messages (source, dest, bytes, when it sets out) is there."""
    world = World(network, contention, sharing=sharing)

    def post(source: int, dest: int, nbytes: int, when: float) -> Process[float]:
        yield world.sleep(when)
        yield world.send(source, dest, nbytes)
        return world.now

    signals = [world.spawn(post(*message)) for message in messages]
    world.run()
    return [signal.value or 0.0 for signal in signals]


def dumbbell(bandwidth: float, modelled: Model | None = None) -> Network:
    """Hosts 0 and 1 left, 2 and 3 right of one link of ``bandwidth`` in each direction; their own carry 10 bytes/s."""
    wires = [(0, 4), (1, 4), (5, 2), (5, 3), (4, 5), (2, 5), (3, 5), (4, 0), (4, 1), (5, 4)]
    up, down, across = {0: 0, 1: 1, 2: 5, 3: 6}, {2: 2, 3: 3, 0: 7, 1: 8}, {True: 4, False: 9}
    topology = Topology(
        "dumbbell", 4, np.array(wires), np.zeros(10), np.array([10.0] * 4 + [bandwidth] + [10.0] * 4 + [bandwidth]),
        np.arange(4), lambda s, d: (up[s], *([across[s < 2]] if (s < 2) != (d < 2) else []), down[d]),
        lambda: (), str,
    )  # fmt: skip
    return Network(topology, np.arange(4), modelled or Model())


def one_machine(cores: Cores) -> Network:
    topology = replace(STAR.topology, machine=np.zeros(4, dtype=np.int64))
    return Network(topology, np.arange(4), Model(cores=cores))


# --- worked by hand -----------------------------------------------------------------------------------------------


def test_a_port_takes_one_message_at_a_time() -> None:
    # Three messages of 5 bytes to rank 3: its port is taken 0-5, 5-10, 10-15, and each is there 10 s later.
    assert ends(STAR, [(0, 3, 5, 0.0), (1, 3, 5, 0.0), (2, 3, 5, 0.0)]) == [15, 20, 25]


def test_a_free_port_does_not_wait_for_a_message_that_cannot_go() -> None:
    # 0 -> 3 holds port 3 until 5; 1 -> 3 waits for it, and meanwhile 1 -> 2, asked for later, goes.
    assert ends(STAR, [(0, 3, 5, 0.0), (1, 3, 5, 1.0), (1, 2, 2, 2.0)]) == [15, 20, 14]


def test_messages_share_a_link_between_different_ports_and_not_without_contention() -> None:
    # 0 -> 2 and 1 -> 3 share the middle at 5 bytes/s each: 50 bytes by 10. The other has 50 left, now at 10 bytes/s.
    both = [(0, 2, 50, 0.0), (1, 3, 100, 0.0)]
    assert ends(dumbbell(10.0), both) == pytest.approx([10, 15])
    assert ends(dumbbell(10.0), both, contention=False) == pytest.approx([5, 10])
    assert ends(dumbbell(20.0), both) == pytest.approx([5, 10])


def test_processors_spend_o_on_each_message_and_ports_the_gap() -> None:
    # o = 3: injected at 3 and 6; on the wire 3-5 and, after the gap of 4, 9-11; arrived at 15 and 21; end 3 s later.
    network = replace(STAR, model=Model(LogGOPS(o=3.0, g=4.0)))
    assert ends(network, [(0, 1, 2, 0.0), (0, 1, 2, 0.0)]) == [18, 24]


def test_a_long_message_asks_first_where_the_model_has_a_handshake() -> None:
    network = replace(STAR, model=Model(LogGOPS(S=5)))
    assert ends(network, [(0, 1, 5, 0.0), (2, 3, 6, 0.0)]) == [15, 36]


def test_a_rank_s_processor_does_one_thing_after_another() -> None:
    world, waited = World(STAR), list[float]()

    def ask(seconds: float) -> Process[None]:
        waited.append((yield world.work(0, seconds)))

    for seconds in (3.0, 2.0, 1.0):
        world.spawn(ask(seconds))
    assert world.run() == 6
    assert waited == [0, 3, 5]
    assert world.working.tolist() == [6, 0, 0, 0]


@pytest.mark.parametrize(
    ("waiting", "finished"),
    [
        # 4 s of work at each of 3 ranks on 2 cores: 12 core seconds in 6 s, and the fourth rank asks for nothing.
        ("yields", 6.0),
        # The fourth rank spins: each of the 4 has half a core all the time.
        ("spins", 8.0),
    ],
)
def test_ranks_of_a_machine_share_its_cores(waiting: Any, finished: float) -> None:
    world = World(one_machine(Cores(2, waiting)))

    def ask(rank: int) -> Process[None]:
        yield world.work(rank, 4.0)

    for rank in range(3):
        world.spawn(ask(rank))
    assert world.run() == pytest.approx(finished)


def test_a_rank_tells_itself_at_once() -> None:
    assert ends(STAR, [(2, 2, 1000, 1.0)]) == [1.0]


def test_queues_are_first_come_first_served_on_both_sides() -> None:
    world, seen = World(STAR), list[tuple[str, object]]()

    def take(name: str) -> Process[None]:
        seen.append((name, (yield world.get("mail"))))

    def give() -> Process[None]:
        yield world.sleep(1.0)
        for item in "xyz":
            world.put("mail", item)
        yield world.spawn(take("third"))

    for name in ("first", "second"):
        world.spawn(take(name))
    world.spawn(give())
    world.run()
    assert seen == [("first", "x"), ("second", "y"), ("third", "z")]


def test_a_message_lays_its_item_into_a_queue_when_it_is_there() -> None:
    world = World(STAR)

    def receive() -> Process[tuple[float, str]]:
        item = yield world.get(("mail", 1))
        return world.now, item

    got = world.spawn(receive())
    world.send(0, 1, 5, queue=("mail", 1), item="gradient")
    world.run()
    assert got.value == (15.0, "gradient")


def test_a_world_s_chance_comes_from_its_seed() -> None:
    first, again, other = (World(STAR, seed=seed).random.random(3).tolist() for seed in (1, 1, 2))
    assert first == again != other


# --- faults -------------------------------------------------------------------------------------------------------


def test_a_deadlock_names_who_waits_for_what() -> None:
    world = World(STAR)

    def wait(queue: str) -> Process[None]:
        yield world.sleep(2.0)
        yield world.get(queue)

    world.spawn(wait("left"), "philosopher 0")
    world.spawn(wait("right"), "philosopher 1")
    world.spawn(wait("orders"), "waiter", serves=True)
    with pytest.raises(Deadlock) as fault:
        world.run()
    assert str(fault.value) == (
        "nothing can happen any more at 2 s, but philosopher 0 waits for an item in queue left; "
        "philosopher 1 waits for an item in queue right"
    )


def test_servers_may_wait_for_ever_but_not_whoever_runs_the_world() -> None:
    world = World(STAR)

    def serve() -> Process[None]:
        yield world.get("orders")

    done = world.spawn(serve(), "waiter", serves=True)
    world.run()
    with pytest.raises(Deadlock, match="the end of waiter has not come"):
        world.run(until=done)


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda world: world.send(0, 4, 1), "rank 4 is not one of the 4 ranks"),
        (lambda world: world.send(-1, 0, 1), "rank -1"),
        (lambda world: world.send(0, 1, -1), "at least 0 bytes, got -1"),
        (lambda world: world.sleep(-1.0), "at least 0 s, got -1"),
        (lambda world: world.work(0, math.nan), "finite"),
        (lambda world: world.work(9, 1.0), "rank 9"),
    ],
)
def test_what_cannot_be_is_refused(ask: Callable[[World], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ask(World(STAR))


def test_a_process_that_yields_something_else_is_told() -> None:
    world = World(STAR)
    wrong: Any = (item for item in [3.0])
    world.spawn(wrong, "clerk")
    with pytest.raises(TypeError, match=r"clerk yielded 3\.0"):
        world.run()


def test_a_signal_of_one_s_own_happens_once() -> None:
    world = World(STAR)
    signal: Signal[str] = Signal("the start")

    def wait() -> Process[str]:
        return (yield signal)

    waiting = world.spawn(wait())
    world.happen(signal, "go")
    world.run()
    assert waiting.value == "go"
    with pytest.raises(ValueError, match="the start has happened already"):
        world.happen(signal, "go")


# --- laws ---------------------------------------------------------------------------------------------------------


@LAW
@given(MESSAGES, st.booleans())
def test_messages_are_never_faster_than_alone_and_ports_never_carry_more_than_they_can(
    messages: list[tuple[int, int, int, float]], contention: bool
) -> None:
    messages = [(s % 4, d % 4, n, when) for s, d, n, when in messages]
    network = dumbbell(10.0, Model(Hockney(alpha=0.5, beta=0.05)))
    found = ends(network, messages, contention)
    for (source, dest, nbytes, when), end in zip(messages, found, strict=True):
        alone = 0.5 + nbytes / 10 if source != dest else 0.0
        assert end >= (when + alone) * (1 - 1e-9)
    for rank in range(4):
        into = sum(nbytes for source, dest, nbytes, _ in messages if dest == rank != source)
        assert not into or max(found) * 10 >= into * (1 - 1e-9)


@LAW
@given(MESSAGES)
def test_two_runs_are_the_same_to_the_bit(messages: list[tuple[int, int, int, float]]) -> None:
    messages = [(s % 4, d % 4, n, when) for s, d, n, when in messages]
    assert ends(dumbbell(7.0), messages) == ends(dumbbell(7.0), messages)


@LAW
@given(MESSAGES, st.permutations(range(5)))
def test_other_names_for_the_ranks_of_a_star_change_nothing(
    messages: list[tuple[int, int, int, float]], names: list[int]
) -> None:
    star = networks.star(5, 1e-3, 100.0)
    renamed = [(names[source], names[dest], nbytes, when) for source, dest, nbytes, when in messages]
    assert ends(star, renamed) == ends(star, messages)


@LAW
@given(MESSAGES)
def test_a_star_is_the_same_with_and_without_contention(messages: list[tuple[int, int, int, float]]) -> None:
    star = networks.star(5, 1e-3, 100.0)
    shared = replace(star, topology=replace(star.topology, private=False))
    assert ends(shared, messages) == pytest.approx(ends(star, messages), rel=1e-9)


@LAW
@given(
    st.permutations(range(8)), st.lists(st.integers(0, 5000), min_size=8, max_size=8), st.booleans(), st.booleans()
)  # fmt: skip
def test_messages_of_one_round_end_when_the_schedule_s_engine_says(
    dests: list[int], sizes: list[int], contention: bool, overheads: bool
) -> None:
    """Ranks of a 2 x 4 torus send one message each, so links are shared and ports are not."""
    pairs = [(source, dest) for source, dest in enumerate(dests) if source != dest]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    message = LogGOPS(L=1e-6, o=2e-6, O=1e-9) if overheads else Hockney(1e-6, 0.5e-9)
    network = replace(networks.torus((2, 4), latency=1e-6, bandwidth=1e9), model=Model(message))

    def rounds(rank: int, size: int) -> list[Round]:
        sends = tuple(Send(dest, range(starts[rank], starts[rank + 1])) for source, dest in pairs if source == rank)
        receives = (Recv(source, range(starts[source], starts[source + 1])) for source, dest in pairs if dest == rank)
        return [(*sends, *receives)]

    total = int(starts[-1])
    once = replace(
        catalogue.get("linear"), name="once", function=rounds, chunk_count=lambda size, at: total
    )  # fmt: skip
    record = play([Phase(once, total)], network, contention=contention, record=True).record
    assert record is not None
    sent = [pair for block in record.blocks for pair in zip(block.source.tolist(), block.dest.tolist(), strict=True)]
    by_engine = dict(zip(sent, record.moments[:, -1].tolist(), strict=True))
    by_process = ends(network, [(source, dest, sizes[source], 0.0) for source, dest in pairs], contention)
    assert by_process == pytest.approx([by_engine[pair] for pair in pairs], rel=1e-9)


# --- shared ports -------------------------------------------------------------------------------------------------


def test_messages_that_share_a_port_end_together_when_the_last_would_in_turn() -> None:
    assert ends(STAR, [(0, 3, 30, 0.0), (1, 3, 30, 0.0)]) == pytest.approx([40, 70])
    assert ends(STAR, [(0, 3, 30, 0.0), (1, 3, 30, 0.0)], sharing=True) == pytest.approx([70, 70])


@LAW
@given(MESSAGES)
def test_shared_ports_are_as_busy_as_those_of_turns_if_one_rank_sends_all(
    messages: list[tuple[int, int, int, float]],
) -> None:
    network = dumbbell(10.0, Model(Hockney(beta=0.05)))
    worlds = World(network), World(network, sharing=True)
    for world in worlds:
        for _, dest, nbytes, _ in messages:
            world.send(0, 1 + dest % 3, nbytes)
        world.run()
    assert worlds[0].now == pytest.approx(worlds[1].now)
    assert worlds[0].sending[0] == pytest.approx(worlds[1].sending[0])


def test_sharing_needs_contention() -> None:
    with pytest.raises(ValueError, match="sharing needs contention"):
        World(STAR, contention=False, sharing=True)


def test_ports_that_are_shared_pass_messages_of_each_size_as_fast_as_the_trains_of_them_and_longer_ones() -> None:
    curve = ((0, 1.0), (100, 11.0), (200, 21.0))
    message = Calibrated(curve, ((100, 15.0), (200, 40.0)))
    network = replace(networks.star(3, 0.0, math.inf), model=Model(message))
    short, long = (ends(network, [(0, 1, n, 0.0), (0, 2, n, 0.0)], sharing=True) for n in (100, 200))
    assert short == pytest.approx([31, 31])  # two of 15 s, and 1 s on the way
    assert long == pytest.approx([81, 81])
