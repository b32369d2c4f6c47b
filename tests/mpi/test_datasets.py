"""Data that rank 0 reads for all: the same everywhere, and the same fault everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from collectives import Communicator
from experiments.errors import Failure, UsageFault
from experiments.training import datasets
from experiments.training.dataset import Dataset
from experiments.training.datasets.raw import Raw

RANK = MPI.COMM_WORLD.rank


class Odd:
    """Readable at rank 0 alone, where it ends as it is told."""

    def __init__(self, fault: int = 0) -> None:
        self.fault = fault

    def read(self) -> Raw:
        assert RANK == 0, "only rank 0 reads"
        if self.fault == 1:
            raise UsageFault("sudo apt install odd")
        if self.fault == 2:
            raise MemoryError("3 GiB")
        return Raw((np.arange(6, dtype=np.uint8).reshape(2, 3), np.zeros(0, np.uint8)), "ænywhere")

    def dataset(self, raw: Raw) -> Dataset:
        first, empty = raw.arrays
        assert empty.size == 0
        labels = np.zeros(2, np.int64)
        return Dataset("odd", first, labels, first, labels, 1, raw.origin)


@pytest.fixture
def comm(monkeypatch: pytest.MonkeyPatch) -> Communicator:
    monkeypatch.setattr(datasets, "_KNOWN", {"odd": Odd})
    return Communicator(MPI.COMM_WORLD)


def test_all_ranks_have_what_rank_0_has_read(comm: Communicator) -> None:
    data = datasets.shared("odd", comm)
    assert (data.inputs.tolist(), data.source) == ([[0, 1, 2], [3, 4, 5]], "ænywhere")


def test_a_fault_of_rank_0_is_everybodys(comm: Communicator) -> None:
    with pytest.raises(UsageFault, match=r"^sudo apt install odd$"):
        datasets.shared("odd:fault=1", comm)
    with pytest.raises(Failure, match="rank 0 could not read the data set odd:fault=2: MemoryError: 3 GiB"):
        datasets.shared("odd:fault=2", comm)
    comm.Barrier()  # none is left behind


def test_digits_are_those_of_one_process() -> None:
    data, alone = datasets.shared("digits", Communicator(MPI.COMM_WORLD)), datasets.get("digits")
    assert (data.inputs == alone.inputs).all()
    assert (data.test_targets == alone.test_targets).all()
