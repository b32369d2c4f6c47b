"""The parameter server on real ranks: the bits of one process, bounds under delays, errors that say who is missing.

The tests work on any number of ranks; what needs a second worker returns early without one.
"""

import time

import numpy as np
import pytest
from mpi4py import MPI
from numpy.testing import assert_array_equal

from collectives.parameter_server import BSP, SSP, Async, Backup, Configuration, Elastic, Rows, Worker, start
from collectives.parameter_server.errors import ServerRefused, ServerTimeout
from kernels import compress, optimise

WORLD = MPI.COMM_WORLD
SHAPES = {"front": (9, 4), "bias": (3,), "table": (40, 5), "last": (11,)}
COUNT = sum(int(np.prod(shape)) for shape in SHAPES.values())
SGD = optimise.get("sgd", learning_rate=1.0)
ADAM = optimise.get("adam", learning_rate=0.1)


def arrangements(consistency=BSP(), **options) -> list[Configuration]:  # noqa: B008 - a frozen value
    size = WORLD.size
    separate = max(1, size // 3)
    found = [Configuration(size, size, True, consistency, **options)]
    if size > 1:
        found.append(Configuration(size - separate, separate, False, consistency, **options))
    return found


def tensors(seed: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape, dtype=np.float32) for name, shape in SHAPES.items()}


def flat(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([array.reshape(-1) for array in arrays.values()])


def gradient(worker: int, clock: int, count: int = COUNT) -> np.ndarray:
    return np.random.default_rng([worker, clock]).standard_normal(count, dtype=np.float32)


def one_process(workers: int, steps: int, optimiser=ADAM) -> np.ndarray:
    weights = flat(tensors())
    state = optimiser.state(weights)
    for clock in range(1, steps + 1):
        total = gradient(0, clock)
        for worker in range(1, workers):
            total += gradient(worker, clock)
        optimiser.step(weights, total, state, clock, scale=1 / (4 * workers))
    return weights


@pytest.mark.parametrize("consistency", [BSP(), SSP(0)])
def test_lockstep_is_one_process_bit_for_bit(consistency) -> None:
    for configuration in arrangements(consistency, partition=128):
        own = tensors(seed=5 if WORLD.rank == 0 else 77)  # all begin with worker 0's
        it = start(WORLD, configuration, own, optimiser=ADAM, limit=20)
        if not isinstance(it, Worker):
            continue
        with it as worker:
            for clock in (1, 2, 3):
                time.sleep(0.002 * ((WORLD.rank * 7 + clock) % 3))
                ticket = worker.push_pull(None, gradient(worker.number, clock), samples=4)
                assert_array_equal(flat(own), one_process(configuration.workers, clock))
            assert set(ticket.staleness) == {0}
            assert len(ticket.staleness) == len(worker.sharding.parts)


def test_tensors_go_one_by_one_from_the_last_and_come_back_to_the_first() -> None:
    for configuration in arrangements(partition=4 * 50):
        own = tensors()
        it = start(WORLD, configuration, own, optimiser=ADAM, limit=20)
        if not isinstance(it, Worker):
            continue
        with it as worker:
            for clock in (1, 2):
                whole = gradient(worker.number, clock)
                ranges = worker.sharding.tensors
                tickets = {
                    name: worker.ipush_pull(name, whole[slice(*ranges[name])].copy(), samples=4)
                    for name in reversed(SHAPES)
                }
                for name in SHAPES:
                    tickets[name].wait()
                assert all(ticket.done() for ticket in tickets.values())
            assert_array_equal(flat(own), one_process(configuration.workers, 2))
            other = {name: np.zeros_like(array) for name, array in own.items()}
            worker.pull("bias", into=other["bias"])
            assert_array_equal(other["bias"], own["bias"])
            assert not other["front"].any()


@pytest.mark.parametrize("steps", [0, 2])
def test_nobody_reads_parameters_that_lack_more_than_the_bound(steps: int) -> None:
    """Worker w's pushes count up element w of every part, so what is read tells whose pushes are in it."""
    for configuration in arrangements(SSP(steps)):
        workers, servers = configuration.workers, configuration.servers
        own = {"seen": np.zeros(servers * workers, np.float32)}
        it = start(WORLD, configuration, own, optimiser=SGD, limit=20)
        if not isinstance(it, Worker):
            continue
        team = WORLD.Create_group(WORLD.group.Incl(range(workers)))
        most = 0
        with it as worker:
            counting = np.zeros_like(own["seen"])
            counting.reshape(servers, workers)[:, worker.number] = -workers
            for clock in range(1, 9):
                time.sleep(0.004 if worker.number else 0.0)
                if clock % 2:
                    worker.push_pull(None, counting)
                else:
                    worker.push(None, counting)
                    worker.pull()
                seen = own["seen"].reshape(servers, workers)
                assert (seen[:, worker.number] == clock).all()
                most = max(most, clock - int(seen.min()))
            assert most <= steps
            team.Barrier()  # the pushes of those who stay weigh more when others have ended
            if workers > 1 and worker.number == 0:
                assert most == steps, "the fast worker was never as far ahead as it may be"
        team.Free()


def test_workers_and_servers_saw_the_same_staleness() -> None:
    for configuration in arrangements(Async()):
        it = start(WORLD, configuration, tensors(), optimiser=SGD, limit=20)
        mine, theirs = np.zeros(200, np.int64), np.zeros(200, np.int64)
        if isinstance(it, Worker):
            with it as worker:
                for clock in range(1, 6):
                    time.sleep(0.001 * worker.number)
                    if clock % 2:
                        worker.pull()
                    worker.push(None, gradient(worker.number, clock))
            for staleness, pushes in it.statistics.staleness.items():
                mine[staleness] += pushes
        server = it.server
        if server is not None:
            for counts in server.statistics.staleness.values():
                for staleness, pushes in counts.items():
                    theirs[staleness] += pushes
        both = np.stack([mine, theirs])
        WORLD.Allreduce(MPI.IN_PLACE, both)
        assert_array_equal(both[0], both[1])
        assert both[0].sum() == 5 * configuration.workers * min(configuration.servers, COUNT)


def test_backup_workers_are_not_waited_for() -> None:
    size = WORLD.size
    if size < 2:
        return
    it = start(WORLD, Configuration(size, 1, True, Backup(1)), tensors(), optimiser=SGD, limit=20)
    assert isinstance(it, Worker)
    with it as worker:
        last = worker.number == size - 1
        late = 0
        for clock in range(1, 4):
            if last and clock == 1:
                time.sleep(0.3)
            late += worker.push_pull(None, gradient(worker.number, clock)).late
        if last:
            assert late >= 1
            assert worker.statistics.late == late


def test_elastic_averaging_keeps_the_centre_between_workers() -> None:
    for configuration in arrangements(Elastic(0.5)):
        own = {"x": np.zeros(4, np.float32)}
        it = start(WORLD, configuration, own, optimiser=SGD, limit=20)
        if not isinstance(it, Worker):
            continue
        with it as worker:
            centre = np.empty(4, np.float32)
            for _ in range(30):
                worker.push_pull(None, own, into=centre)
                own["x"] += np.float32(0.5) * (centre - own["x"]) + np.float32(0.01)
            assert (own["x"] > 0.01).all()
            assert (centre > 0).all()


@pytest.mark.parametrize("encoding", ["int8", "topk:share=1/4"])
def test_pushes_travel_encoded_and_what_is_lost_comes_later(encoding: str) -> None:
    configuration = arrangements(encoding=encoding)[0]
    own = tensors()
    it = start(WORLD, configuration, own, optimiser=SGD, limit=20)
    assert isinstance(it, Worker)
    with it as worker:
        for _ in range(24):
            worker.push_pull(None, gradient(worker.number, 1))
        plain = 4 * COUNT * 24
        assert worker.statistics.sent_bytes - 72 * worker.statistics.pushes < 0.6 * plain
        expected = flat(tensors())
        for other in range(configuration.workers):
            expected -= 24 * gradient(other, 1) / configuration.workers
        error = np.abs(flat(own) - expected).max()
        assert error < 24 * 0.5, "what is lost is put off, and does not grow with the steps"
        assert compress.get(encoding).nbytes(COUNT) < 4 * COUNT


def test_rows_of_a_table_are_its_dense_gradient() -> None:
    results = []
    for sparse in (False, True):
        configuration = arrangements(partition=4 * 60)[0]
        own = tensors()
        it = start(WORLD, configuration, own, optimiser=SGD, limit=20)
        assert isinstance(it, Worker)
        with it as worker:
            indices = np.array([3, 39, 3, worker.number])
            rows = Rows(indices, gradient(worker.number, 1, 20).reshape(4, 5))
            dense = np.zeros(SHAPES["table"], np.float32)
            np.add.at(dense, rows.indices, rows.values)
            tickets = [worker.ipush_pull("table", rows if sparse else dense)]
            tickets += [
                worker.ipush_pull(name, np.ones(SHAPES[name], np.float32)) for name in SHAPES if name != "table"
            ]
            for ticket in tickets:
                ticket.wait()
            results.append(flat(own))
            if sparse:
                with pytest.raises(ValueError, match="go beyond"):
                    worker.push("table", Rows(np.array([40]), np.zeros((1, 5), np.float32)))
    assert_array_equal(*results)


def test_a_wait_that_is_too_long_says_who_is_missing_and_can_be_taken_up_again() -> None:
    if WORLD.size < 2:
        return
    it = start(WORLD, arrangements()[0], tensors(), optimiser=SGD, limit=20)
    assert isinstance(it, Worker)
    with it as worker:
        if worker.number == WORLD.size - 1:
            time.sleep(0.5)
            worker.push_pull(None, gradient(0, 1))
        else:
            ticket = worker.ipush_pull(None, gradient(0, 1))
            said = rf"worker {worker.number} waited 0\.2 s .*clock 1.*awaited from workers .*{WORLD.size - 1}"
            with pytest.raises(ServerTimeout, match=said):
                ticket.wait(0.2)
            ticket.wait()
        assert it.statistics.pushes


def test_a_tensor_that_is_missing_from_a_part_is_named() -> None:
    it = start(WORLD, arrangements(partition=1 << 20)[0], tensors(), optimiser=SGD, limit=20)
    assert isinstance(it, Worker)
    with it as worker:
        ranges = worker.sharding.tensors
        whole = gradient(worker.number, 1)
        first = worker.ipush("front", whole[slice(*ranges["front"])])
        if WORLD.size == 1:
            with pytest.raises(ServerTimeout, match="no gradient of bias, last, table yet"):
                first.wait(0.1)
            with pytest.raises(ValueError, match="front was pushed twice"):
                worker.ipush("front", whole[slice(*ranges["front"])])
        for name in ("bias", "table", "last"):
            worker.push(name, whole[slice(*ranges[name])])
        first.wait()


def test_a_worker_leaves_and_comes_back() -> None:
    if WORLD.size < 2:
        return
    configuration = arrangements()[0]
    own = tensors()
    it = start(WORLD, configuration, own, optimiser=SGD, limit=20)
    assert isinstance(it, Worker)
    with it as worker:
        guest = worker.number == 1
        if guest:
            worker.leave()
        WORLD.Barrier()
        if not guest:
            for clock in (1, 2):
                worker.push_pull(None, gradient(worker.number, clock))
        WORLD.Barrier()
        if guest:
            with pytest.raises(ServerRefused, match="must join again"):
                worker.push_pull(None, gradient(1, 1))
            worker.join()
        WORLD.Barrier()
        worker.push_pull(None, gradient(worker.number, 3))
        mine = flat(own)
        first = mine.copy()
        WORLD.Bcast(first, 0)
        assert_array_equal(mine, first)


def test_ranks_that_disagree_all_learn_who_is_different() -> None:
    if WORLD.size < 2:
        return
    last = WORLD.rank == WORLD.size - 1
    configuration = Configuration(WORLD.size, 1, True, partition=64 if last else 128)
    with pytest.raises(ValueError, match=f"ranks {WORLD.size - 1} start"):
        start(WORLD, configuration, tensors(), optimiser=SGD, limit=20)


def test_a_damaged_message_is_refused_and_nothing_comes_of_it() -> None:
    if WORLD.size < 2:
        return
    own = tensors()
    before = flat(own)
    it = start(WORLD, arrangements()[0], own, optimiser=SGD, limit=20)
    assert isinstance(it, Worker)
    with it as worker:
        if worker.number == 1:
            worker._courier.endpoint.post(0, np.full(500, 9, np.uint8), 0.0)
            deadline = time.monotonic() + 10
            while not worker.statistics.refused and time.monotonic() < deadline:
                time.sleep(0.001)
        WORLD.Barrier()
        if worker.number == 0:
            assert worker.server is not None
            assert "rank 1 is no message of a parameter server" in worker.server.statistics.refusals[0]
        worker.pull()
        assert_array_equal(flat(own), before)


def test_too_few_ranks_are_told() -> None:
    with pytest.raises(ValueError, match="ranks are needed"):
        start(WORLD, Configuration(WORLD.size + 1, 1, True), tensors(), optimiser=SGD)
