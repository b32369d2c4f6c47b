"""How ranks wait: what is asked for by the environment, and how naps grow."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives.executors import waiting


@pytest.mark.parametrize(("word", "naps"), [(None, False), ("", False), ("mpi", False), ("nap", True)])
def test_naps_are_had_for_the_asking(monkeypatch: pytest.MonkeyPatch, word: str | None, naps: bool) -> None:
    monkeypatch.delenv(waiting.VARIABLE, raising=False)
    if word is not None:
        monkeypatch.setenv(waiting.VARIABLE, word)
    assert waiting.naps_wanted() == naps


def test_another_word_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(waiting.VARIABLE, "sleep")
    with pytest.raises(ValueError, match=r"CIRANDA_WAITING must be 'mpi' .* or 'nap' .*, got 'sleep'"):
        waiting.naps_wanted()


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_polite_nap_grows_with_the_wait_and_is_bounded(one: float, other: float) -> None:
    naps: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", naps.append)
        patch.setattr(os, "sched_yield", lambda: naps.append(0.0))
        for waited in sorted((one, other)):
            waiting.polite(waited)
    assert naps[0] <= naps[1] <= 1e-3
    assert naps[1] <= max(0.02 * max(one, other), 5e-5)


def test_a_wait_with_a_limit_looks_often_and_then_naps() -> None:
    naps: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", naps.append)
        waiting.watchful(1e-5)
        assert naps == []
        waiting.watchful(1.0)
    assert naps == [1e-4]
