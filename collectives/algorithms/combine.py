"""Algorithms made of others: a scatter and an allgather are a broadcast that sends each byte only about twice."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.algorithms import circulant, tree
from collectives.schedule import OVERWRITE, Round, mirror, rooted, then

__all__ = ["broadcast_scatter_allgather", "reduce_scatter_gather"]


def broadcast_scatter_allgather(rank: int, size: int, *, root: int = 0) -> Iterator[Round]:
    """Scatter along a binomial tree, then collect along a circulant graph.

    Rounds: 2*q
    Bytes per rank: 2*(p - 1)/p
    Reductions: 0
    Sizes: any
    Order: nothing is combined
    Source: van de Geijn, "On global combine operations" (1994); Thakur, Rabenseifner and Gropp (2005), section 4.2
    """
    yield from rooted(then(tree.scatter, circulant.allgather), root)(rank, size)


def reduce_scatter_gather(rank: int, size: int, *, root: int = 0) -> Iterator[Round]:
    """Reduce-scatter along a circulant graph, then gather along a binomial tree.

    Rounds: 2*q
    Bytes per rank: (p - 1 + max(p - 2**(q - 1), 2**(q - 2)))/p if p > 1 else 0
    Reductions: (p - 1)/p
    Sizes: any
    Order: commutative operations only
    Source: Rabenseifner (2004), with Träff's reduce-scatter
    """
    yield from rooted(then(circulant.reduce_scatter, mirror(tree.scatter, OVERWRITE)), root)(rank, size)
