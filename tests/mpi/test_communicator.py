"""What Communicator promises beside right results: mpi4py's errors, its own messages, lifetimes, settings, and why."""

import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from collectives import CollectiveMismatch, CollectiveTimeout, Communicator, catalogue, context, runner
from collectives.profile import Profile, ProfileError

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.rank, WORLD.size
SEVERAL = pytest.mark.skipif(SIZE == 1, reason="needs at least two ranks")


@pytest.fixture
def comm() -> Iterator[Communicator]:
    made = Communicator(WORLD).Dup()
    yield made
    made.Free()


def works(comm: Communicator) -> bool:
    array = np.full(3, RANK + 1)
    comm.Allreduce(MPI.IN_PLACE, array)
    return array.tolist() == [SIZE * (SIZE + 1) // 2] * 3


# --- errors are mpi4py's --------------------------------------------------------------------------------------------

GOOD = np.arange(4 * SIZE, dtype=np.float64)
FROZEN = GOOD.copy()
FROZEN.flags.writeable = False

WRONG: dict[str, Callable[[MPI.Intracomm], object]] = {
    "a receive buffer that is read-only": lambda comm: comm.Allreduce(GOOD, FROZEN),
    "counts that differ": lambda comm: comm.Allreduce(GOOD, np.empty(GOOD.size + 1)),
    "datatypes that differ": lambda comm: comm.Allreduce(GOOD, np.empty(GOOD.size, np.int64)),
    "an array of objects": lambda comm: comm.Allreduce(np.array([None]), np.array([None])),
    "no buffer at all": lambda comm: comm.Bcast(object()),
    "a number": lambda comm: comm.Bcast(5),
    "a list that is no message": lambda comm: comm.Bcast([GOOD]),
    "a list of five": lambda comm: comm.Bcast([GOOD, 1, 0, MPI.DOUBLE, 0]),
    "a negative count": lambda comm: comm.Bcast([GOOD, -1, MPI.DOUBLE]),
    "a negative displacement": lambda comm: comm.Bcast([GOOD, (1, -1), MPI.DOUBLE]),
    "a displacement beyond the end": lambda comm: comm.Bcast([GOOD, (None, 999), MPI.DOUBLE]),
    "a datatype that is none": lambda comm: comm.Bcast([GOOD, "nonsense"]),
    "the null datatype": lambda comm: comm.Bcast([GOOD, 1, MPI.DATATYPE_NULL]),
    "a length that is no multiple": lambda comm: comm.Bcast([bytearray(7), MPI.DOUBLE]),
    "a buffer that the ranks can't share out": lambda comm: comm.Alltoall(
        np.empty(2 * SIZE + 1), np.empty(2 * SIZE + 1)
    ),
    "a root that is no rank": lambda comm: comm.Bcast(GOOD.copy(), root=SIZE),
    "a negative root": lambda comm: comm.Reduce(GOOD, np.empty_like(GOOD), root=-77),
    "a maximum of complex numbers": lambda comm: comm.Allreduce(GOOD + 0j, np.empty_like(GOOD + 0j), op=MPI.MAX),
    "the null operation": lambda comm: comm.Allreduce(GOOD, np.empty_like(GOOD), op=MPI.OP_NULL),
    "too few receive counts": lambda comm: comm.Reduce_scatter(GOOD, np.empty(4), [4] * (SIZE - 1)),
    "receive counts that don't add up": lambda comm: comm.Reduce_scatter(GOOD, np.empty(4), [5] * SIZE),
    "receive counts that are no numbers": lambda comm: comm.Reduce_scatter(GOOD, np.empty(4), [4.0] * SIZE),
    "an operation that is none": lambda comm: comm.Allreduce(GOOD, np.empty_like(GOOD), op=None),
}
if SIZE == 1:
    del WRONG["a buffer that the ranks can't share out"]
if "MPICH" in MPI.Get_library_version():
    # MPICH aborts here instead of returning an error class.
    del WRONG["the null operation"]


@pytest.mark.parametrize("name", WRONG)
def test_what_mpi4py_refuses_is_refused_with_its_error(name: str, comm: Communicator) -> None:
    def outcome(which: MPI.Intracomm) -> tuple[type[BaseException], object]:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which error it is, is what is compared
            WRONG[name](which)
        assert "Declined" not in "".join(traceback.format_exception(caught.value))
        error = caught.value
        # MPI's own text may name addresses and the communicator, so of MPI's errors the class is compared.
        return caught.type, error.Get_error_class() if isinstance(error, MPI.Exception) else str(error)

    assert outcome(comm) == outcome(WORLD)
    assert works(comm)


@pytest.mark.parametrize(
    "call",
    [
        lambda comm: comm.Bcast([np.zeros(2), 3, MPI.DOUBLE]),
        lambda comm: comm.Allgather(np.zeros(1), [np.zeros(SIZE), 2, MPI.DOUBLE]),
        lambda comm: comm.Allgatherv(np.zeros(1), [np.zeros(SIZE), ([1] * SIZE, [SIZE] * SIZE), MPI.DOUBLE]),
        lambda comm: comm.Bcast([np.zeros(3), 2, MPI.DOUBLE.Create_vector(2, 1, 2).Commit()]),
    ],
)
def test_a_count_beyond_the_end_of_the_buffer_is_refused(
    call: Callable[[MPI.Intracomm], object], comm: Communicator
) -> None:
    with pytest.raises(ValueError, match="buffer of"):
        call(comm)


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        ("rign", "no algorithm is called 'rign'; known: ring,"),
        ("reduce_binomial", "reduce_binomial does reduce, and this call is allreduce; choose one of: binomial"),
        ("chain:segments=0", "segments must be a whole number of at least 1"),
        ("ring:segments=2", "ring has no parameter 'segments'"),
        ("parameter_server:servers=99", "does not work for"),
    ],
)
def test_a_wrong_algorithm_is_told_before_anything_moves(algorithm: str, message: str, comm: Communicator) -> None:
    array = np.full(4, RANK)
    with pytest.raises(ValueError, match=message):
        comm.Allreduce(MPI.IN_PLACE, array, algorithm=algorithm)
    assert array.tolist() == [RANK] * 4
    assert works(comm)


@SEVERAL
def test_an_algorithm_for_another_root_is_refused(comm: Communicator) -> None:
    comm.Bcast(np.zeros(2), root=1, algorithm="broadcast_binomial:root=1")
    with pytest.raises(ValueError, match="another root"):
        comm.Bcast(np.zeros(2), root=0, algorithm="broadcast_binomial:root=1")


def test_a_catalogue_entry_serves_as_algorithm(comm: Communicator) -> None:
    array = np.ones(5)
    comm.Allreduce(MPI.IN_PLACE, array, algorithm=catalogue.get("chain", segments=2))
    assert array.tolist() == [SIZE] * 5
    assert comm.explain("allreduce").runs == {"chain:segments=2": 1}


# --- spellings of buffers -------------------------------------------------------------------------------------------


class OnDevice:
    """Host memory that shows itself only as a device array does."""

    def __init__(self, array: np.ndarray, *, read_only: bool = False) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            **array.__array_interface__, "data": (array.ctypes.data, read_only), "version": 3, "stream": None,
        }  # fmt: skip


def test_an_array_that_shows_only_the_cuda_interface(comm: Communicator) -> None:
    send, recv = np.arange(6.0), np.zeros(6)
    comm.Allreduce(OnDevice(send, read_only=True), OnDevice(recv))
    assert recv.tolist() == (SIZE * send).tolist()
    assert not comm.explain("allreduce").passed_on


def test_arrays_with_holes_are_packed_which_mpi4py_refuses(comm: Communicator) -> None:
    grid = np.arange(24.0).reshape(4, 6)
    holes = np.full((4, 12), -1.0)
    for _ in range(2):  # the second call is like the first, and must find the same way
        comm.Allreduce(grid.T[::2], holes[:3, 1:12:3])
        assert (holes[:3, 1:12:3] == SIZE * grid.T[::2]).all()
        assert (holes[:, 0] == -1).all()
        line = np.arange(10.0)
        comm.Allreduce(MPI.IN_PLACE, line[::3])
        assert line.tolist() == [SIZE * n if n % 3 == 0 else n for n in range(10)]
    assert not comm.explain("allreduce").passed_on


def test_a_masked_array_is_refused_before_its_hidden_values_travel(comm: Communicator) -> None:
    masked = np.ma.masked_less(np.arange(4.0), 2)
    with pytest.raises(TypeError, match=r"masked array.*filled"):
        comm.Allreduce(masked, np.empty(4))
    assert works(comm)


def test_every_spelling_of_the_same_message(comm: Communicator) -> None:
    array = np.arange(8, dtype=np.int32) + RANK
    expected = np.arange(8, dtype=np.int32)
    spellings = [
        lambda copy: copy, lambda copy: copy.reshape(2, 4), lambda copy: np.asfortranarray(copy.reshape(2, 4)),
        memoryview, lambda copy: [copy, MPI.INT], lambda copy: (copy, "i"), lambda copy: [copy, 8],
        lambda copy: [copy, 8, MPI.INT], lambda copy: [copy, (8, 0), MPI.INT], lambda copy: [copy, [8, 0], "i4"],
        lambda copy: [copy, 8, 0, MPI.INT], lambda copy: [copy, None, 0, MPI.INT],
        lambda copy: [copy, None, MPI.INT32_T],
        lambda copy: [memoryview(copy).cast("B"), 8, MPI.INT], OnDevice,
        lambda copy: [copy, np.int64(8), MPI.INT],
    ]  # fmt: skip
    for spell in spellings:
        copy = array.copy()
        spelt = spell(copy)
        comm.Bcast(spelt)
        result = spelt if isinstance(spelt, np.ndarray) and spelt.flags.f_contiguous else copy
        assert np.reshape(result, -1).tolist() == expected.tolist()
    assert not comm.explain("broadcast").passed_on


def test_empty_messages_without_a_buffer(comm: Communicator) -> None:
    empty = [None, 0, MPI.INT]
    comm.Bcast(empty)
    comm.Allgather(empty, empty)
    comm.Alltoall(empty, empty)
    comm.Allreduce(empty, empty)
    comm.Reduce_scatter(empty, empty, [0] * SIZE)
    comm.Bcast([MPI.BOTTOM, 0, MPI.INT])
    assert not any(comm.explain(name).passed_on for name in ("broadcast", "allgather", "alltoall", "allreduce"))


def test_a_message_given_by_absolute_addresses_goes_to_mpi4py(comm: Communicator) -> None:
    array = np.full(3, RANK, np.int64)
    datatype = MPI.INT64_T.Create_hindexed([3], [MPI.Get_address(array)]).Commit()
    comm.Bcast([MPI.BOTTOM, 1, datatype])
    assert array.tolist() == [0, 0, 0]
    assert list(comm.explain("broadcast").passed_on.values()) == [1]
    datatype.Free()


# --- the private communicator ---------------------------------------------------------------------------------------


@SEVERAL
def test_a_wildcard_receive_does_not_catch_our_messages(comm: Communicator) -> None:
    note = np.full(1, -1)
    request = comm.Irecv(note, MPI.ANY_SOURCE, MPI.ANY_TAG)
    for name in catalogue.names("allreduce"):
        array = np.full(64, RANK)
        comm.Allreduce(MPI.IN_PLACE, array, algorithm=name)
        assert array[0] == SIZE * (SIZE - 1) // 2
    comm.Send(np.full(1, RANK), (RANK + 1) % SIZE, 5)
    request.Wait()
    assert note[0] == (RANK - 1) % SIZE


def test_two_handles_share_one_private_communicator_and_free_it(comm: Communicator) -> None:
    mine = Communicator(WORLD.Dup())
    other = Communicator(mine)
    assert context.existing(mine) is None
    assert works(mine)
    held = context.existing(mine)
    assert works(other)
    assert held is not None
    assert context.existing(other) is held
    mine.Free()
    assert mine == MPI.COMM_NULL
    assert held.executor.comm == MPI.COMM_NULL
    with pytest.raises(MPI.Exception):
        mine.Allreduce(MPI.IN_PLACE, np.zeros(3))


def test_freed_communicators_leave_nothing_behind() -> None:
    for _ in range(300):  # an MPI that kept them would come to an end of its context ids, or the test to its time
        comm = Communicator(WORLD.Dup())
        assert works(comm)
        comm.Free()


def test_wrapping_is_local_and_explaining_too() -> None:
    if RANK == 0:
        comm = Communicator(WORLD)
        assert "allreduce of 64 bytes" in str(comm.explain("allreduce", 64))


def test_the_user_s_attributes_are_not_copied() -> None:
    copies: list[int] = []
    keyval = MPI.Comm.Create_keyval(copy_fn=lambda comm, key, value: copies.append(1))
    comm = Communicator(WORLD.Dup())
    comm.Set_attr(keyval, "mine")
    assert works(comm)
    assert not copies
    comm.Free()
    MPI.Comm.Free_keyval(keyval)


def test_a_null_handle_fails_as_mpi4py_s_does() -> None:
    for call in (
        lambda comm: comm.Barrier(),
        lambda comm: comm.Bcast(np.zeros(1)),
        lambda comm: comm.Allreduce(GOOD, GOOD),
    ):
        errors = []
        for comm in (Communicator(), MPI.Intracomm()):
            with pytest.raises(MPI.Exception) as caught:
                call(comm)
            errors.append(caught.value.Get_error_class())
        assert errors[0] == errors[1]


def test_an_intercommunicator_is_refused() -> None:
    if SIZE > 1:
        half = WORLD.Split(RANK % 2)
        bridge = half.Create_intercomm(0, WORLD, 1 - RANK % 2)
        with pytest.raises(TypeError):
            Communicator(bridge)
        bridge.Free()
        half.Free()


class _Mixin:
    def __new__(cls, comm: MPI.Comm | None = None) -> Communicator:
        return MPI.Intracomm.__new__(cls, comm)


class Mixed(_Mixin, Communicator):
    pass


def test_a_subclass_that_makes_its_handles_itself() -> None:
    comm = Mixed(WORLD).Dup()
    assert type(comm) is Mixed
    assert works(comm)
    assert works(comm.Split(0, RANK))
    comm.Free()


# --- children and settings ------------------------------------------------------------------------------------------


def test_children_are_communicators_with_the_same_settings() -> None:
    comm = Communicator(WORLD, timeout=77.0, check=True)
    group = comm.Get_group()
    later, request = comm.Idup()
    request.Wait()
    children = [
        comm.Dup(), comm.Clone(), comm.Dup_with_info(MPI.INFO_NULL), later, comm.Create(group),
        comm.Create_group(group), comm.Split(0, -RANK), comm.Split_type(MPI.COMM_TYPE_SHARED),
    ]  # fmt: skip
    for child in children:
        assert type(child) is Communicator
        assert (child.settings.timeout, child.settings.check) == (77.0, True)
        array = np.ones(2)
        child.Allreduce(MPI.IN_PLACE, array)
        assert array[0] == child.size
        child.Free()
    assert comm.Split(MPI.UNDEFINED) == MPI.COMM_NULL
    group.Free()


def test_split_numbers_ranks_as_mpi_does() -> None:
    child = Communicator(WORLD).Split(RANK % 2, -RANK)
    ranks = np.empty(child.size, np.int64)
    child.Allgather(np.array([RANK]), ranks)
    assert ranks.tolist() == [rank for rank in reversed(range(SIZE)) if rank % 2 == RANK % 2]
    child.Free()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRANDA_TIMEOUT", "2.5")
    monkeypatch.setenv("CIRANDA_CHECK", "1")
    comm = Communicator(WORLD)
    assert (comm.settings.timeout, comm.settings.check) == (2.5, True)
    assert Communicator(WORLD, timeout=9, check=False).settings.check is False
    for wrong in ("soon", "0", "-1", "nan"):
        monkeypatch.setenv("CIRANDA_TIMEOUT", wrong)
        with pytest.raises(ValueError, match="CIRANDA_TIMEOUT must be a number of seconds above 0"):
            Communicator(WORLD)


@SEVERAL
def test_a_rank_that_stays_out_is_told_after_the_timeout() -> None:
    comm = Communicator(WORLD.Dup(), timeout=0.2)
    if RANK:
        with pytest.raises(CollectiveTimeout, match=f"rank {RANK} waited"):
            comm.Allreduce(MPI.IN_PLACE, np.zeros(4), algorithm="ring")
    # Messages of it may still be under way, so the communicator is left as it is.


@SEVERAL
@pytest.mark.parametrize(
    ("differs", "call"),
    [
        ("count", lambda comm: comm.Allreduce(MPI.IN_PLACE, np.zeros(4 + (RANK == 1)))),
        ("dtype", lambda comm: comm.Allreduce(MPI.IN_PLACE, np.zeros(4, np.float32 if RANK == 1 else np.int32))),
        ("op", lambda comm: comm.Allreduce(MPI.IN_PLACE, np.zeros(4), op=MPI.MAX if RANK == 1 else MPI.SUM)),
        (
            "algorithm",
            lambda comm: comm.Allreduce(MPI.IN_PLACE, np.zeros(4), algorithm="ring" if RANK == 1 else "chain"),
        ),
        ("root", lambda comm: comm.Bcast(np.zeros(4), root=int(RANK == 1))),
        ("collective", lambda comm: comm.Barrier() if RANK == 1 else comm.Bcast(np.zeros(4))),
        ("algorithm", lambda comm: comm.Bcast(object() if RANK == 1 else np.zeros(4))),
    ],
)
def test_check_mode_tells_every_rank_who_disagrees(differs: str, call: Callable[[Communicator], object]) -> None:
    comm = Communicator(WORLD.Dup(), check=True)
    with pytest.raises(CollectiveMismatch, match=rf"{differs}: .* on rank 1\b|{differs}: .* on rank"):
        call(comm)
    assert works(comm)
    comm.Free()


# --- caches ---------------------------------------------------------------------------------------------------------


def test_a_second_call_builds_nothing(comm: Communicator, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, block, op = np.zeros(4 * SIZE), np.zeros(4), MPI.Op.Create(lambda a, b, datatype: None, commute=True)
    calls: list[Callable[[], object]] = [
        lambda: comm.Allreduce(wide.copy(), wide), lambda: comm.Allreduce(MPI.IN_PLACE, wide, op=op),
        lambda: comm.Reduce(wide.copy(), wide), lambda: comm.Reduce_scatter_block(wide, block), comm.Barrier,
        lambda: comm.Reduce_scatter(wide, block), lambda: comm.Allgather(block, wide), lambda: comm.Bcast(wide),
        lambda: comm.Allgatherv(block, wide), lambda: comm.Alltoall(wide, wide.copy()),
    ]  # fmt: skip
    for call in calls:
        call()
    monkeypatch.setattr(runner, "lower", None)
    monkeypatch.setattr(runner.selection, "choose", None)
    for call in calls:
        call()
    op.Free()


def test_the_cache_has_an_end(comm: Communicator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LARGEST_CACHE", 3)
    for count in (1, 2, 3, 4, 5, 1, 2):
        array = np.ones(count)
        comm.Bcast(array)
        assert works(comm)
    assert sum(comm.explain("broadcast").runs.values()) == 7


# --- selection ------------------------------------------------------------------------------------------------------


def test_what_ran_is_what_was_explained(comm: Communicator) -> None:
    for nbytes in (8, 4096, 1 << 20):
        before = comm.explain("allreduce", nbytes)
        assert before.algorithm is not None
        comm.Allreduce(MPI.IN_PLACE, np.zeros(nbytes // 8))
        after = comm.explain("allreduce", nbytes)
        assert after.runs[before.algorithm.label] == before.runs.get(before.algorithm.label, 0) + 1


def test_all_ranks_choose_by_the_profile_of_rank_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each rank's own profile favours another algorithm: latency here, bandwidth there.
    profile = Profile(alpha=1e-3 if RANK else 1e-9, beta=1e-12 if RANK else 1e-3, gamma=0.0)
    monkeypatch.setenv("CIRANDA_PROFILE", str(profile.save(tmp_path / f"profile-{RANK}.json")))
    comm = Communicator(WORLD.Dup())
    array = np.full(4096, 1.0)
    comm.Allreduce(MPI.IN_PLACE, array)
    assert array[0] == SIZE
    assert len(set(WORLD.allgather(str(comm.explain("allreduce", array.nbytes))))) == 1
    assert comm.explain("allreduce").prices.alpha == 1e-9
    comm.Free()


def test_a_profile_that_cannot_be_read_is_an_error_at_every_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if RANK == 0:
        (tmp_path / "profile.json").write_text("{}")
        monkeypatch.setenv("CIRANDA_PROFILE", str(tmp_path / "profile.json"))
    comm = Communicator(WORLD.Dup())
    with pytest.raises(ProfileError, match=r"rank 0: .*profile"):
        comm.Barrier()
    monkeypatch.delenv("CIRANDA_PROFILE", raising=False)
    assert works(comm)
    comm.Free()


def test_what_is_passed_on_is_logged(comm: Communicator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "ciranda"), pytest.raises(MPI.Exception):
        comm.Allreduce(GOOD + 0j, np.empty_like(GOOD + 0j), op=MPI.MAX)
    assert "allreduce goes to mpi4py's own method: max on" in caplog.text
    assert "passed on to mpi4py's own method: max on" in str(comm.explain("allreduce"))


def test_an_explanation_names_what_rank_order_rules_out(comm: Communicator) -> None:
    op = MPI.Op.Create(lambda a, b, datatype: None, commute=False)
    why = comm.explain("allreduce", 1 << 20, op=op)
    assert why.excluded["ring"] == "does not keep rank order, which this operation needs"
    assert "ring" not in {candidate.algorithm.name for candidate in why.candidates}
    op.Free()
