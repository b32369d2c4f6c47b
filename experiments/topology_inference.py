"""Which ranks are near each other: groups (racks) inferred from what messages between pairs of ranks cost.

Three measurements of a pair can tell that it crosses something: a small message alone (a longer way), a large one
alone (a slower link), and a large one in the company of other pairs (a link that is shared). Each is a matrix of
distances between ranks, which average-linkage clustering (SciPy) cuts into groups. That there is one group is the null
hypothesis: it stands unless the cut is clearer than those of the same distances in random order, and the far pairs
clearly slower than the near ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

__all__ = ["cut", "grouping", "same_groups", "silhouette"]

Floats = NDArray[np.float64]

_CLEARLY = 1.25  # times slower: the least that far pairs must be
_SHUFFLES, _LEVEL = 100, 0.01
_ENOUGH_RANKS = 6  # with fewer, so few cuts are possible that shuffling makes the same ones
_FEWEST_RANKS = 4  # with fewer, one odd pair would make a group


def grouping(ranks: int, measured: Mapping[str, Any]) -> list[int]:
    """For each rank its group, numbered in the order of their first ranks; all 0 where pairs are alike.

    ``measured``: ``pairs`` with a list of seconds for each under ``small`` and ``large``, and ``company`` as
    ``(source, dest, seconds)``. A measurement that misses a pair says nothing. Fewer than 4 ranks are one group.
    """
    if ranks < _FEWEST_RANKS:
        return [0] * ranks
    best, clearest = [0] * ranks, 0.0
    for matrix in _matrices(ranks, measured):
        found = cut(matrix)
        if max(found) and (clarity := silhouette(matrix, found)) > clearest:
            best, clearest = found, clarity
    return best


def cut(seconds: Floats, *, seed: int = 0) -> list[int]:
    """Groups from a symmetric matrix of seconds between ranks (what is on the diagonal does not matter).

    The cut has the greatest silhouette. All 0 unless near and far explain more of the variance than in any of 100
    matrices with the same entries in random order, each cut as well as can be, and far pairs take at least a quarter
    longer than near ones in the median, with p < 0.01 by the Mann-Whitney test. Four or five ranks are
    too few for such tests: there every far pair must take a quarter longer than any near one.
    """
    found = _best_cut(seconds)
    if not max(found):
        return found
    above = np.triu_indices(len(seconds), 1)
    upper, near = seconds[above], _near(found)[above]
    close, remote = upper[near], upper[~near]
    if len(seconds) < _ENOUGH_RANKS:
        return found if remote.min() >= _CLEARLY * close.max() else [0] * len(seconds)
    from scipy import stats  # it takes seconds to import, and most often nothing comes as far as here

    random, chance = np.random.default_rng(seed), list[float]()
    for _ in range(_SHUFFLES):
        shuffled = np.zeros_like(seconds)
        shuffled[above] = random.permutation(upper)
        shuffled += shuffled.T
        chance.append(_explained(shuffled, _best_cut(shuffled)))
    clear = _explained(seconds, found) > max(chance)
    apart = stats.mannwhitneyu(remote, close, alternative="greater").pvalue < _LEVEL
    slower = np.median(remote) >= _CLEARLY * np.median(close)
    return found if clear and apart and slower else [0] * len(seconds)


def silhouette(seconds: Floats, labels: Sequence[int]) -> float:
    """Mean silhouette (Rousseeuw 1987) of the ranks in the distances of ``seconds``: 1 clear groups, 0 none.

    A rank that is alone in its group counts 0. ``labels`` count from 0, and there are at least two.
    """
    groups, distances = np.array(labels), _distances(seconds)
    members = np.eye(max(labels) + 1)[groups]
    counts, ranks = members.sum(axis=0), np.arange(len(groups))
    sums = distances @ members
    within = sums[ranks, groups] / np.maximum(counts[groups] - 1, 1)
    means = np.where(members > 0, np.inf, sums / counts)
    nearest = means.min(axis=1)
    values = np.where(counts[groups] > 1, (nearest - within) / np.maximum(np.maximum(within, nearest), 1e-300), 0.0)
    return float(values.mean())


def same_groups(some: Sequence[object], others: Sequence[object]) -> bool:
    """Whether two labellings of the same ranks part them alike, whatever the labels."""
    pairs = set(zip(some, others, strict=True))
    return len(pairs) == len(set(some)) == len(set(others))


def _best_cut(seconds: Floats) -> list[int]:
    """The cut with the greatest silhouette, among those into clearly apart groups of 2 ranks and more; else all 0."""
    size = len(seconds)
    tree = hierarchy.linkage(squareform(_distances(seconds), checks=False), "average")
    best, clarity = [0] * size, 0.0
    for count in range(2, size // 2 + 1):
        labels = _in_order(hierarchy.fcluster(tree, count, "maxclust").tolist())
        if max(labels) == 0 or min(labels.count(label) for label in set(labels)) < 2:
            continue
        if (value := silhouette(seconds, labels)) > clarity and _apart(seconds, labels):
            best, clarity = labels, value
    return best


def _apart(seconds: Floats, labels: Sequence[int]) -> bool:
    """Whether between any two groups the median pair is clearly slower than within them: noise alone parts a rack."""
    groups = np.array(labels)
    for low, high in combinations(range(max(labels) + 1), 2):
        ones, others = np.flatnonzero(groups == low), np.flatnonzero(groups == high)
        within = [seconds[np.ix_(part, part)][np.triu_indices(len(part), 1)] for part in (ones, others)]
        if np.median(seconds[np.ix_(ones, others)]) < _CLEARLY * np.median(np.concatenate(within)):
            return False
    return True


def _near(labels: Sequence[int]) -> NDArray[np.bool_]:
    groups = np.array(labels)
    return groups[:, None] == groups[None, :]


def _explained(seconds: Floats, labels: Sequence[int]) -> float:
    """The share of the variance of distances that near and far explain, 0 where far is not the slower."""
    above = np.triu_indices(len(seconds), 1)
    distances, near = _distances(seconds)[above], _near(labels)[above]
    total = float(((distances - distances.mean()) ** 2).sum())
    if near.all() or not total or distances[near].mean() >= distances[~near].mean():
        return 0.0
    left = sum(float(((part - part.mean()) ** 2).sum()) for part in (distances[near], distances[~near]))
    return 1 - left / total


def _distances(seconds: Floats) -> Floats:
    """Logarithms of how many times slower than the fastest pair."""
    above = np.triu_indices(len(seconds), 1)
    distances = np.log(np.maximum(seconds, seconds[above].min()) / seconds[above].min())
    np.fill_diagonal(distances, 0.0)
    return distances


def _in_order(labels: Sequence[int]) -> list[int]:
    names = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    return [names[label] for label in labels]


def _matrices(ranks: int, measured: Mapping[str, Any]) -> list[Floats]:
    """The measurements that know every pair, as symmetric matrices."""
    tables = [
        {tuple(pair): float(np.median(group)) for pair, group in zip(measured["pairs"], measured[name], strict=True)}
        for name in ("small", "large")
    ]
    tables.append({(source, dest): seconds for source, dest, seconds in measured["company"]})
    found: list[Floats] = []
    for table in tables:
        matrix = np.zeros((ranks, ranks))
        for (low, high), seconds in table.items():
            matrix[low, high] = matrix[high, low] = seconds
        if (matrix[np.triu_indices(ranks, 1)] > 0).all():
            found.append(matrix)
    return found
