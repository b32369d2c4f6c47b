"""Compress, combine exactly, decompress: what each method makes of a sum, and that nothing is lost but put off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from collectives import catalogue
from collectives.compression import virtual
from collectives.compression.memory import Compression, method_of
from collectives.compression.shared import Exchange, Shared, exchanges

RING = catalogue.get("ring")
METHODS = ["randomk:share=1/5", "randomk:share=1/3,unbiased=true", "powersgd:rank=2", "sign_majority"]
Floats = np.ndarray[Any, np.dtype[np.float32]]


def inputs(size: int, count: int, seed: int = 0) -> list[Floats]:
    source = np.random.default_rng([seed, size, count])
    return [source.standard_normal(count).astype(np.float32) for _ in range(size)]


def alike(text: str, size: int, *, feedback: bool = False) -> list[Compression]:
    return [Compression(text, feedback=feedback) for _ in range(size)]


def exact(arrays: list[Floats]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.sum(arrays, axis=0, dtype=np.float64)


@pytest.mark.parametrize("text", METHODS)
def test_all_ranks_end_alike_and_with_feedback_nothing_is_lost(text: str) -> None:
    for size in (1, 2, 5, 8):
        compressions, off = alike(text, size, feedback=True), np.zeros(77)
        for call in range(5):
            brought = inputs(size, 77, call)
            outputs = virtual.run(RING, brought, compressions)
            assert len({output.tobytes() for output in outputs}) == 1
            off += outputs[0] - exact(brought)
        owed = exact([one.residual for one in compressions if one.residual is not None])
        assert np.abs(off).max() > 0.1
        assert np.abs(off + owed).max() < 1e-4


def test_all_of_random_k_is_the_exact_sum() -> None:
    brought = inputs(4, 50)
    output = virtual.run(RING, brought, alike("randomk:share=1", 4))[0]
    assert np.abs(output - exact(brought)).max() < 1e-5


def test_random_k_sums_the_same_places_at_all_ranks_and_others_in_each_call() -> None:
    compressions, places = alike("randomk:share=1/5", 4), []
    for _ in range(2):
        brought = inputs(4, 100)
        output = virtual.run(RING, brought, compressions)[0]
        kept = np.flatnonzero(output)
        assert len(kept) == 20
        np.testing.assert_allclose(output[kept], exact(brought)[kept], rtol=1e-5, atol=1e-6)
        places.append(kept.tolist())
    assert places[0] != places[1]


def test_power_sgd_finds_a_sum_of_low_rank_though_each_part_has_another() -> None:
    source = np.random.default_rng(5)
    rows, columns = source.standard_normal((2, 20)), source.standard_normal((2, 20))
    parts = [np.outer(rows[i % 2], columns[i % 2]).ravel() * (i + 1) for i in range(4)]
    brought = [part.astype(np.float32) for part in parts]
    output = virtual.run(RING, brought, alike("powersgd:rank=2", 4))[0]
    np.testing.assert_allclose(output, exact(brought), atol=2e-3)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_power_sgd_gets_over_a_step_of_nothing_or_of_no_numbers(bad: float) -> None:
    compressions = alike("powersgd:rank=2", 3, feedback=True)
    virtual.run(RING, [np.full(100, bad, np.float32)] * 3, compressions)
    for call in range(12):
        output = virtual.run(RING, inputs(3, 100, seed=1), compressions)[0]
        assert np.isfinite(output).all(), call
    assert np.linalg.norm(output) > 1


def test_the_majority_decides_each_sign() -> None:
    brought = [np.array(row, np.float32) for row in ([1, -2, 3], [1, -2, -3], [-4, -2, -3])]
    outputs = virtual.run(RING, brought, alike("sign_majority", 3))
    scales = 2 + 2 + 3  # mean magnitudes
    np.testing.assert_allclose(outputs[1], [scales, -scales, -scales], rtol=1e-6)


def test_nothing_to_sum_needs_nothing() -> None:
    for text in METHODS:
        outputs = virtual.run(RING, [np.empty(0, np.float32)] * 2, alike(text, 2, feedback=True))
        assert [output.size for output in outputs] == [0, 0]


def test_what_travels_is_what_is_said() -> None:
    def said(text: str, count: int) -> tuple[Exchange, ...]:
        method = method_of(text)
        assert isinstance(method, Shared)
        return exchanges(method, count)

    assert said("randomk:share=1/10", 1000) == (Exchange("allreduce", 100, 4),)
    assert said("powersgd:rank=4", 1000) == (Exchange("allreduce", 4 * 32, 4), Exchange("allreduce", 4 * 32, 4))
    assert said("sign_majority", 1000) == (Exchange("allgather", 125 + 4, 1),)
