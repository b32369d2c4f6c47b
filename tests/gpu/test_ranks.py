"""Starts tests/mpi/test_card.py on two ranks."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1] / "mpi" / "test_card.py"


@pytest.mark.gpu
def test_allreduce_on_the_card(under_mpirun) -> None:
    captured = under_mpirun(2, TESTS, "-q", "-m", "gpu", timeout=240)
    under_mpirun.show("on the card, 2 ranks")
    assert captured.code == 0, "\n".join([captured.stderr, *under_mpirun.texts().values()])
