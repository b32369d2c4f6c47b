"""Piecewise fits: they find the pieces that made the times and no more of them, and scale with the times."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives.profile import interpolated
from experiments.fitting import fit_cost, fit_pieces
from experiments.probing.sizes import MESSAGE_SIZES

ALPHAS = st.floats(1e-6, 1e-3)
BETAS = st.floats(1e-11, 1e-7)


def noisy(seconds: list[float], spread: float = 0.03, seed: int = 5) -> list[list[float]]:
    random = np.random.default_rng(seed)
    return [(value * random.lognormal(0, spread, 12)).tolist() for value in seconds]


@given(ALPHAS, BETAS)
def test_one_line_is_one_piece_and_found(alpha: float, beta: float) -> None:
    found = fit_pieces(MESSAGE_SIZES, noisy([alpha + beta * size for size in MESSAGE_SIZES]))
    assert len(found.pieces) == 1
    assert found.changes == ()
    assert all(interpolated(found.knots, size) == pytest.approx(alpha + beta * size, rel=0.06)
               for size in MESSAGE_SIZES)  # fmt: skip


@given(ALPHAS, st.floats(1.5, 4.0), st.sampled_from([40_000, 65_456, 100_000]))
def test_a_leap_is_found_where_it_is(alpha: float, leap: float, limit: int) -> None:
    def truth(size: float) -> float:
        return (alpha if size <= limit else leap * (alpha + 1e-9 * limit)) + 1e-9 * size

    found = fit_pieces(MESSAGE_SIZES, noisy([truth(size) for size in MESSAGE_SIZES], 0.005), jump=limit)
    assert limit + 1 in found.changes
    assert interpolated(found.knots, limit) == pytest.approx(truth(limit), rel=0.05)
    assert interpolated(found.knots, limit + 1) == pytest.approx(truth(limit + 1), rel=0.05)


@given(st.lists(st.floats(1e-6, 1e-1), min_size=6, max_size=6), st.floats(1e-3, 1e3), st.integers(-1, 1 << 20))
def test_any_times_give_ascending_knots_that_scale_with_them(times: list[float], scale: float, jump: int) -> None:
    sizes = MESSAGE_SIZES[::3]
    found = fit_pieces(sizes, [[time] * 3 for time in times], jump=jump)
    ends = [nbytes for nbytes, _ in found.knots]
    assert all(low < high for low, high in itertools.pairwise(ends))
    assert (ends[0], ends[-1]) == (sizes[0], sizes[-1])
    assert all(seconds > 0 for _, seconds in found.knots)
    assert all(piece.slope >= 0 for piece in found.pieces)
    scaled = fit_pieces(sizes, [[scale * time] * 3 for time in times], jump=jump)
    assert len(scaled.pieces) == len(found.pieces)  # two divisions may be as good as each other


def test_a_single_outlier_among_the_samples_changes_nothing() -> None:
    groups = noisy([1e-5 + 1e-9 * size for size in MESSAGE_SIZES], 0.01)
    disturbed = [[*group[:-1], 1.0] for group in groups]
    assert len(fit_pieces(MESSAGE_SIZES, disturbed).pieces) == 1


@given(st.floats(0, 1e-4), st.floats(0, 1e-8))
def test_a_cost_per_message_and_byte_is_found_and_never_negative(cost: float, per_byte: float) -> None:
    sizes = (8, 4096, 32768)
    times = [cost + per_byte * size + 1e-9 for size in sizes]
    message, byte = fit_cost(sizes, [[time] * 3 for time in times])
    assert message >= 0
    assert byte >= 0
    assert [message + byte * size for size in sizes] == pytest.approx(times, rel=1e-3)
    assert fit_cost([8], [[2.0, 3.0, 4.0]]) == (3.0, 0.0)
    assert fit_cost([1, 2], [[1e-9], [1.0]])[0] == 0


def test_fewer_than_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two sizes"):
        fit_pieces([8], [[1.0]])
