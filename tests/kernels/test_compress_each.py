"""What holds for one encoding each: rounding without bias, votes, selections, choices and products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numba import njit
from numpy.typing import NDArray

from kernels import compress
from kernels.compress import philox
from kernels.compress.int8 import TINY
from kernels.compress.powersgd import Powersgd
from kernels.compress.randomk import RandomK
from kernels.compress.sign import Sign
from kernels.compress.topk import TopK
from kernels.cpu import philox as vectors
from kernels.cpu import randomk
from tests.kernels.compress_cases import Floats, decoded, message, some, there_and_back

Words = tuple[str, ...]

WORD = np.uint64
KNOWN = [
    (("00000000",) * 4, ("00000000",) * 2, ("6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8")),
    (("ffffffff",) * 4, ("ffffffff",) * 2, ("408f276d", "41c83b0e", "a20bc7c6", "6d5451fd")),
    (
        ("243f6a88", "85a308d3", "13198a2e", "03707344"), ("a4093822", "299f31d0"),
        ("d16cfe09", "94fdcceb", "5001e420", "24126ea1"),
    ),
]  # fmt: skip
"""Counter, key and result for ten rounds: the known answers that Random123 1.09 publishes (``kat_vectors``)."""


def pair(words: Words) -> np.uint64:
    return WORD(int(words[0], 16) | int(words[1], 16) << 32)


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_gives_the_known_answers(
    counter: tuple[str, ...], key: tuple[str, ...], result: tuple[str, ...]
) -> None:
    got = philox.ten_rounds(pair(counter[:2]), pair(counter[2:]), pair(key))
    assert got == (pair(result[:2]), pair(result[2:]))


def test_eight_at_a_time_are_the_same_as_one_by_one() -> None:
    first, stream, key = WORD(2**32 - 5), WORD(7 << 40 | 3), WORD(2**64 - 2)
    eight = vectors.eight

    @njit
    def fill(bits: Any) -> None:
        eight(bits, 2, first, stream, key)

    bits = np.zeros(20, WORD)
    fill(bits)
    expected = [word for i in range(8) for word in philox.ten_rounds(first + WORD(i), stream, key)]
    assert bits.tolist() == [0, 0, *map(int, expected), 0, 0]


def test_stochastic_rounding_is_right_on_average() -> None:
    """Within five standard errors of 2,000 draws, for every place; and it does go to both sides."""
    values = np.linspace(-1, 1, 256, dtype=np.float32)
    draws = np.array([there_and_back("int8", values, counter) for counter in range(2000)], np.float64)
    step = 1 / 127
    off = draws.mean(axis=0) - values
    assert np.abs(off).max() < 5 * step / 2 / np.sqrt(2000)
    assert np.abs(off.mean()) < 5 * step / 2 / np.sqrt(2000 * 256)
    between = np.abs(values * 127 - np.rint(values * 127)) > 0.1
    assert (np.ptp(draws, axis=0)[between] > step / 2).all()
    assert np.ptp(draws, axis=0).max() < 1.01 * step


def test_no_magnitude_is_scaled_beyond_the_last_code() -> None:
    """For every significand; powers of two change nothing. So neither rounding can leave the range of an int8."""
    for first in range(0, 1 << 23, 1 << 20):
        bits = np.arange(first, first + (1 << 20), dtype=np.uint32) | np.uint32(0x3F800000)
        largest = bits.view(np.float32)
        inverse = np.float32(1) / (largest / np.float32(127))
        assert (np.rint(largest * inverse) == 127).all()
        assert (np.rint(largest * (inverse * np.float32(65536))) <= 127 * 65536).all()


def test_random_bits_depend_on_seed_counter_and_place_alone() -> None:
    values = np.full(1000, 38.5 / 127, np.float32)
    values[::64] = 1  # the same scale everywhere
    wire = message(compress.get("int8"), values, 5)[:1000]
    np.testing.assert_array_equal(message(compress.get("int8:block=64"), values, 5)[:1000], wire)
    np.testing.assert_array_equal(message(compress.get("int8"), values[:300], 5)[:300], wire[:300])
    for other, counter in (("int8", 6), ("int8:seed=1", 5)):
        assert (message(compress.get(other), values, counter)[:1000] != wire).mean() > 0.2


def test_nearest_is_half_a_step_and_the_very_small_are_zero() -> None:
    values = np.random.default_rng(0).normal(size=256).astype(np.float32)
    off = np.abs(there_and_back("int8:rounding=nearest", values) - values).max()
    assert off <= np.abs(values).max() / 254 * 1.0002
    small = np.full(300, TINY / 2, np.float32)
    assert not there_and_back("int8", small).any()


def test_zeros_stay_zeros() -> None:
    for text in ("int8", "float16", "bfloat16", "topk", "randomk", "powersgd", "sign"):
        assert not there_and_back(text, np.zeros(1000, np.float32)).any()


def test_a_sign_is_the_sign_and_the_scale_is_the_mean_magnitude() -> None:
    values = some(5003)
    got = there_and_back("sign", values)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(values))
    assert np.unique(np.abs(got)).size == 1
    assert abs(got[0]) == pytest.approx(np.abs(values.astype(np.float64)).mean(), rel=2.0**-20)


@given(
    votes=hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 70))), repeats=st.sampled_from([1, 7, 28])
)
@settings(max_examples=25)
def test_the_majority_is_what_most_say_and_a_tie_is_positive(votes: NDArray[np.bool_], repeats: int) -> None:
    votes = np.repeat(votes, repeats, axis=0)
    voters, count = votes.shape
    values = np.where(votes, -1, 1).astype(np.float32) * np.arange(1, voters + 1, dtype=np.float32)[:, None]
    sign = Sign()
    wires = np.concatenate([message(sign, row) for row in values])
    out = np.empty(sign.nbytes(count), np.uint8)
    sign.majority(wires, out, count=count)
    got = decoded(sign, out, count)
    np.testing.assert_array_equal(np.signbit(got), 2 * votes.sum(axis=0) > voters)
    np.testing.assert_allclose(np.abs(got), (voters + 1) / 2, rtol=1e-6)


def test_too_many_voters_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 255 messages of 5 bytes, got 1280"):
        Sign().majority(np.zeros(256 * 5, np.uint8), np.zeros(5, np.uint8), count=8)


@pytest.mark.parametrize("share", ["1/100", "1/3", "1"])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 5003])
def test_the_largest_are_kept_and_of_equals_the_first(share: str, count: int) -> None:
    encoding, values = compress.get(f"topk:share={share}"), some(count, 2)
    assert isinstance(encoding, TopK)
    kept = encoding.kept(count)
    expected = np.sort(np.argsort(-np.abs(values), kind="stable")[:kept])
    wire = message(encoding, values)
    np.testing.assert_array_equal(wire[: 4 * kept].view(np.int32), expected)
    np.testing.assert_array_equal(wire[4 * kept :].view(np.float32), values[expected])


def test_a_damaged_wire_writes_nowhere_else() -> None:
    encoding, values = compress.get("topk:share=1"), np.ones(4, np.float32)
    for place in (-1, 4):
        wire = message(encoding, values)
        wire[:4].view(np.int32)[0] = place
        with pytest.raises(ValueError, match="names elements that are not there"):
            encoding.decode(wire, values)


def test_every_element_is_as_likely_to_be_chosen() -> None:
    """One of each run of seven, in order; over 3,000 counters each within five standard errors."""
    encoding = compress.get("randomk:share=1/7,seed=2")
    assert isinstance(encoding, RandomK)
    places = np.array([randomk.places(counter, 70, encoding) for counter in range(3000)])
    np.testing.assert_array_equal(places // 7, np.tile(np.arange(10), (3000, 1)))
    often = np.bincount(places.ravel(), minlength=70) / 3000
    assert np.abs(often - 1 / 7).max() < 5 * np.sqrt(6 / 49 / 3000)
    ragged = randomk.places(9, 71, encoding)
    assert (np.diff(ragged) > 0).all()
    assert ragged.size == 11


def test_unbiased_choices_are_right_on_average() -> None:
    values = np.random.default_rng(1).normal(size=70).astype(np.float32)
    draws = [there_and_back("randomk:share=1/7,unbiased=true", values, counter) for counter in range(3000)]
    off = np.mean(np.array(draws, np.float64), axis=0) - values
    assert (np.abs(off) < 5 * np.abs(values) * np.sqrt(6 / 3000)).all()


def test_messages_of_other_places_are_not_added() -> None:
    encoding = compress.get("randomk")
    assert isinstance(encoding, RandomK)
    one, other = message(encoding, some(300), 1), message(encoding, some(300), 2)
    with pytest.raises(ValueError, match="different counters"):
        encoding.reduce(one, other, one, count=300)


def low_rank(rank: int, rows: int, columns: int) -> Floats:
    source = np.random.default_rng(5)
    product = source.normal(size=(rows, rank)) @ source.normal(size=(rank, columns))
    return product.astype(np.float32).ravel()


def test_a_matrix_of_low_rank_comes_back_whole() -> None:
    values = low_rank(3, 40, 40)
    np.testing.assert_allclose(there_and_back("powersgd", values), values, atol=2e-5)
    assert np.abs(there_and_back("powersgd:rank=2", values) - values).max() > 0.1


@pytest.mark.parametrize("count", [1, 2, 7, 1600, 1601, 5003])
def test_the_factors_are_a_projection(count: int) -> None:
    encoding, values = Powersgd(rank=4), some(count)
    shape, wire = encoding.shape(count), message(Powersgd(rank=4), values)
    p = wire.view(np.float32)[: shape.rank * shape.rows].reshape(shape.rank, shape.rows).astype(np.float64)
    lengths = np.linalg.norm(p, axis=1).round(5)
    assert set(lengths) <= {0.0, 1.0}
    np.testing.assert_allclose(p @ p.T, np.diag(lengths), atol=1e-5)
    matrix = np.zeros(shape.rows * shape.columns)
    matrix[:count] = values
    matrix = matrix.reshape(shape.rows, shape.columns)
    expected = (p.T @ (p @ matrix)).ravel()[:count]
    np.testing.assert_allclose(decoded(encoding, wire, count), expected, atol=1e-4 * np.linalg.norm(values) + 1e-30)


def test_factors_add_up_over_ranks() -> None:
    """Each is linear: the ranks' sums of P and of Q are the factors of the sum, as the collective wants it."""
    encoding, ranks = Powersgd(rank=3), [low_rank(1, 40, 40) * scale for scale in (1, -3, 4)]
    q, p = np.empty(120, np.float32), np.empty(120, np.float32)
    encoding.start(q, count=1600, counter=8)
    ps, qs = [], []
    for values in ranks:
        encoding.project(values, q, p)
        ps.append(p.copy())
    total = np.sum(ps, axis=0)
    encoding.orthonormalise(total, count=1600)
    for values in ranks:
        encoding.project_back(values, total, q)
        qs.append(q.copy())
    result = np.empty(1600, np.float32)
    encoding.expand(total, np.sum(qs, axis=0), result)
    np.testing.assert_allclose(result, np.sum(ranks, axis=0), atol=1e-4)
