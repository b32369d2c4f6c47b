"""Is this MPI CUDA-aware? Asked in every way, tried in a child, and never believed without."""

from __future__ import annotations

import sys

import pytest

from collectives import cuda_aware
from collectives.cuda_aware import VARIABLE, Evidence
from kernels.cuda import presence
from tests.lazy_device import Lazy

PYTHON = [sys.executable, "-c"]


@pytest.mark.parametrize(("word", "aware"), [("yes", True), ("no", False)])
def test_the_environment_has_the_last_word(word: str, aware: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, word)
    found = cuda_aware.examine()
    assert (found.aware, found.reason) == (aware, f"{VARIABLE}: {word}")
    assert len(found.evidence) == 3  # what the others say is told all the same


def test_a_word_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "maybe")
    with pytest.raises(ValueError, match=r"must be 'yes' or 'no', or not be set; got 'maybe'"):
        cuda_aware.examine()


def test_the_library_is_asked_by_its_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    override, library, kinds = cuda_aware.examine().evidence[:3]
    assert override == Evidence(VARIABLE, None, "not set")
    # Open MPI has the question and says no; MPICH's wheel has it too.
    assert library.asked.startswith("MPIX_")
    assert library.detail in ("yes", "no", "this library has no such question")
    assert kinds.asked == "mpi_memory_alloc_kinds"


@pytest.mark.parametrize(
    ("library", "kinds", "cards", "trial", "aware", "reason"),
    [
        (False, None, 1, True, False, "library: said"),  # its no is believed: a trial would crash a child for nothing
        (True, None, 0, True, False, "a card: none here, so nothing could be tried"),
        (True, None, 1, True, True, "trial: said"),
        (True, True, 1, False, False, "trial: said"),  # its yes is not
        (None, None, 1, True, True, "trial: said"),
        (False, True, 1, True, True, "trial: said"),
    ],
)
def test_what_settles_it(
    library: bool | None, kinds: bool | None, cards: int, trial: bool, aware: bool, reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv(VARIABLE, raising=False)
    for name, answer in (("library", library), ("memory_kinds", kinds), ("trial", trial)):
        monkeypatch.setattr(cuda_aware, f"_{name}", lambda name=name, answer=answer: Evidence(name, answer, "said"))
    monkeypatch.setattr(presence, "count", lambda: cards)
    found = cuda_aware.examine()
    assert (found.aware, found.reason) == (aware, reason)


@pytest.mark.parametrize(
    ("script", "answer", "detail"),
    [
        ("pass", True, "arrived as it was sent"),
        ("import sys; sys.exit(3)", False, "no CUDA device there"),
        ("import sys; sys.exit(4)", False, "other bytes arrived than were sent"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", False, "the child died of SIGSEGV"),
        ("raise RuntimeError('cuInit')", False, "the child ended with exit code 1: RuntimeError: cuInit"),
        ("import time; time.sleep(60)", False, "no answer within 1 s"),
    ],
)
def test_a_child_crashes_in_our_place(script: str, answer: bool, detail: str) -> None:
    found = cuda_aware.tried([*PYTHON, script], 1.0 if "sleep" in script else 30.0)
    assert (found.answer, found.detail) == (answer, detail)


def test_a_child_that_does_not_start() -> None:
    found = cuda_aware.tried(["/nowhere/python"], 1.0)
    assert found.answer is False
    assert "did not start" in found.detail


def test_the_child_is_no_rank_of_this_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts an MPI of its own, also where we run under mpirun; without a card it says so."""
    monkeypatch.setenv("PMIX_NAMESPACE", "somebody-else")
    script = "from mpi4py import MPI; import sys; sys.exit(0 if MPI.COMM_WORLD.size == 1 else 4)"
    assert cuda_aware.tried([*PYTHON, script], 30.0).answer is True
    if not presence.count():
        real = cuda_aware.tried([sys.executable, "-m", "collectives.cuda_aware"], 30.0)
        assert real.detail == "no CUDA device there"


def test_a_message_from_device_memory_to_device_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Lazy()
    assert cuda_aware.round_trip(device)
    # Bytes that leave before they are there are noticed.
    deaf = Lazy()
    monkeypatch.setattr(deaf, "synchronize", lambda stream: None)
    assert not cuda_aware.round_trip(deaf)
