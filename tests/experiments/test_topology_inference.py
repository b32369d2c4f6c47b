"""Groups are found where pairs differ, whatever the ranks are called, and are not found where they do not."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from experiments.topology_inference import cut, grouping, same_groups, silhouette

Floats = NDArray[np.float64]


def between(labels: list[int], slower: float, spread: float, seed: int) -> Floats:
    """Seconds of pairs: 1e-4 within a group and ``slower`` times that between two, with noise."""
    random, groups = np.random.default_rng(seed), np.array(labels)
    base = np.where(groups[:, None] == groups[None, :], 1e-4, slower * 1e-4)
    above = np.triu(base * random.lognormal(0, spread, base.shape), 1)
    return above + above.T


@settings(max_examples=20)
@example([0, 1] * 4, 2.0, 97)  # two pairs within a rack are by chance a little faster than the rest of it
@given(st.sampled_from([[0, 0, 0, 0, 1, 1, 1, 1], [0, 1] * 4, [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 1, 1]]),
       st.floats(1.6, 10), st.integers(0, 1000))  # fmt: skip
def test_racks_are_found_wherever_their_ranks_are(labels: list[int], slower: float, seed: int) -> None:
    assert cut(between(labels, slower, 0.05, seed)) == labels


@settings(max_examples=30)
@given(st.integers(2, 10), st.floats(0.01, 0.1), st.integers(0, 1000))
def test_alike_pairs_make_one_group(size: int, spread: float, seed: int) -> None:
    matrix = between([0] * size, 1.0, spread, seed)
    assert grouping(size, _measured(matrix, matrix, [])) == [0] * size


def test_one_odd_pair_makes_no_group() -> None:
    matrix = between([0] * 8, 1.0, 0.02, 3)
    matrix[2, 5] = matrix[5, 2] = 5e-4
    assert cut(matrix) == [0] * 8


def test_a_shared_link_shows_in_company_alone() -> None:
    alike, company = between([0] * 8, 1.0, 0.03, 1), between([0, 0, 0, 0, 1, 1, 1, 1], 4.0, 0.1, 2)
    beside = [(low, high, float(company[low, high])) for low in range(8) for high in range(low + 1, 8)]
    assert grouping(8, _measured(alike, alike, beside)) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert grouping(8, _measured(alike, alike, beside[1:])) == [0] * 8, "who misses a pair says nothing"


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.permutations(range(4)))
def test_names_of_groups_do_not_matter(labels: list[int], names: list[int]) -> None:
    assert same_groups(labels, [names[label] for label in labels])
    assert not same_groups([*labels, 4, 4], [*labels, 4, 5])
    assert not same_groups([*labels, 4, 5], [*labels, 4, 4])


def test_clear_groups_have_a_clear_silhouette() -> None:
    labels = [0, 0, 0, 1, 1, 1]
    assert silhouette(between(labels, 4.0, 0.01, 1), labels) > 0.9
    assert silhouette(between(labels, 4.0, 0.01, 1), [0, 1, 0, 1, 0, 1]) < 0.1
    assert silhouette(between(labels, 4.0, 0.01, 1), labels) == pytest.approx(
        silhouette(7 * between(labels, 4.0, 0.01, 1), labels)
    )


def _measured(small: Floats, large: Floats, company: list[tuple[int, int, float]]) -> dict[str, object]:
    pairs = [(low, high) for low in range(len(small)) for high in range(low + 1, len(small))]
    return {"pairs": pairs, "small": [[float(small[pair])] for pair in pairs],
            "large": [[float(large[pair])] for pair in pairs], "company": company}  # fmt: skip
