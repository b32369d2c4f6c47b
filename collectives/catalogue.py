"""The register of algorithms: the one list that the command line, prover, executors, simulator and report read.

A new algorithm is a function in ``collectives/algorithms/`` and one line in ``_entries`` here. In the closed forms
``p`` is the number of ranks; they are exact along the longest path in the Hockney model (rendezvous messages, one
full-duplex port a rank), for a vector that cuts into equal chunks.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from types import MappingProxyType

from collectives.algorithms import (
    bruck,
    chain,
    circulant,
    combine,
    dissemination,
    double_tree,
    doubling,
    halving,
    hierarchical,
    linear,
    pairwise,
    parameter_server,
    ring,
    tree,
)
from collectives.contract import CONTRACTS
from collectives.cost import Cost
from collectives.schedule import Round

__all__ = ["Algorithm", "Parameters", "collectives", "get", "names", "parse"]

Parameters = Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Algorithm:
    """A named schedule with all that is known of it before it runs.

    ``function(rank, size, **parameters)`` gives the rounds. The callables ``chunk_count``, ``closed_form`` and
    ``sizes`` take the size and the parameters. ``commutative`` says that the operation must commute.
    """

    name: str
    collective: str
    function: Callable[..., Iterable[Round]]
    chunk_count: Callable[[int, Parameters], int]
    closed_form: Callable[[int, Parameters], Cost]
    source: str
    defaults: Parameters
    parameters: Parameters
    needs_commutative: bool | Callable[[Parameters], bool]
    sizes: Callable[[int, Parameters], bool] | None

    @property
    def label(self) -> str:
        """The name, and the parameters that are not at their default: ``chain:segments=16``."""
        chosen = [f"{key}={value}" for key, value in self.parameters.items() if value != self.defaults[key]]
        return f"{self.name}:{','.join(chosen)}" if chosen else self.name

    @property
    def facts(self) -> dict[str, str]:
        """The fields of the function's docstring (Rounds, Bytes per rank, Reductions, Sizes, Order, Source).

        The first three are Python expressions in p, k (segments or servers), l (ranks of a node), q = ⌈lg p⌉ and
        f = ⌊lg p⌋, in units of n where they count bytes; tests evaluate them and compare with what the prover derives.
        """
        fields = (line.partition(": ") for line in inspect.cleandoc(self.function.__doc__ or "").splitlines())
        return {name: value for name, colon, value in fields if colon and name[:1].isupper()}

    @property
    def commutative(self) -> bool:
        """Whether the operation must be commutative (the schedule does not keep rank order for every size)."""
        needs = self.needs_commutative
        return needs if isinstance(needs, bool) else needs(self.parameters)

    def supports(self, size: int) -> bool:
        """Whether the algorithm works for ``size`` ranks with these parameters."""
        if size < 1 or self.parameters.get("root", 0) >= size:
            return False
        return self.sizes is None or self.sizes(size, self.parameters)

    def chunks(self, size: int) -> int:
        """Into how many chunks the vector is cut."""
        return self.chunk_count(self._checked(size), self.parameters)

    def rounds(self, rank: int, size: int) -> Iterable[Round]:
        """What ``rank`` of ``size`` does, round by round."""
        if not 0 <= rank < self._checked(size):
            raise ValueError(f"rank {rank} is not one of the {size} ranks 0..{size - 1}")
        return self.function(rank, size, **self.parameters)

    def cost(self, size: int) -> Cost:
        """The closed form for ``size`` ranks."""
        return self.closed_form(self._checked(size), self.parameters)

    def vectors(self, size: int) -> int:
        """How many n-byte vectors the chunks make up together: 1, for alltoall the number of ranks."""
        return CONTRACTS[self.collective].vectors(size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Algorithm) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Callable[[str], Algorithm], tuple[str]]:
        return parse, (self.label,)

    def __repr__(self) -> str:
        return f"<{self.collective} {self.label}>"

    def _key(self) -> tuple[object, ...]:
        return self.name, self.function, tuple(self.parameters.items())

    def _checked(self, size: int) -> int:
        if not self.supports(size):
            raise ValueError(f"{self.label} does not work for {size} ranks")
        return size


def collectives() -> list[str]:
    """The collectives that have at least one algorithm."""
    return list(dict.fromkeys(algorithm.collective for algorithm in _register().values()))


def names(collective: str | None = None) -> list[str]:
    """Sorted names of all algorithms, or of those for one collective."""
    known = collectives()
    if collective is not None and collective not in known:
        raise KeyError(f"no collective is called {collective!r}; known: {', '.join(_nearest(collective, known))}")
    return sorted(name for name, entry in _register().items() if collective in (None, entry.collective))


def get(name: str, **parameters: int) -> Algorithm:
    """The algorithm called ``name``, its parameters set by keyword; a KeyError lists the known names, nearest first."""
    if name not in _register():
        raise KeyError(f"no algorithm is called {name!r}; known: {', '.join(_nearest(name, names()))}")
    entry = _register()[name]
    for key, value in parameters.items():
        if key not in entry.defaults:
            takes = ", ".join(entry.defaults) or "none"
            raise ValueError(f"{name} has no parameter {key!r}; it takes {takes}")
        least = 1 if key == "segments" else 0
        if isinstance(value, bool) or not isinstance(value, int) or value < least:  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
            raise ValueError(f"{name}: {key} must be a whole number of at least {least}, got {value!r}")
    return replace(entry, parameters=MappingProxyType({**entry.defaults, **parameters}))


def parse(text: str) -> Algorithm:
    """The algorithm as spelled on the command line: ``ring`` or ``chain:segments=16``."""
    name, _, settings = text.partition(":")
    parameters: dict[str, int] = {}
    for setting in filter(None, settings.split(",")):
        key, _, value = setting.partition("=")
        if not value.lstrip("-").isdigit():
            raise ValueError(f"{text!r}: {setting!r} should read parameter=number, as in chain:segments=16")
        parameters[key] = int(value)
    return get(name, **parameters)


def _nearest(word: str, known: list[str]) -> list[str]:
    return sorted(known, key=lambda name: -difflib.SequenceMatcher(None, word, name).ratio())


# --- the entries --------------------------------------------------------------------------------------------------


def _entry(
    name: str,
    collective: str,
    function: Callable[..., Iterable[Round]],
    chunks: Callable[[int, Parameters], int],
    cost: Callable[[int, Parameters], Cost],
    source: str,
    *,
    commutative: bool | Callable[[Parameters], bool] = False,
    sizes: Callable[[int, Parameters], bool] | None = None,
) -> Algorithm:
    options = inspect.signature(function).parameters.values()
    defaults = MappingProxyType({o.name: o.default for o in options if o.kind is o.KEYWORD_ONLY})
    return Algorithm(name, collective, function, chunks, cost, source, defaults, defaults, commutative, sizes)


def _cost(messages: int, volume: Fraction | int, reductions: Fraction | int = 0) -> Cost:
    return Cost(Fraction(messages), Fraction(volume), Fraction(reductions))


def _share(p: int) -> Fraction:
    return Fraction(p - 1, p)


def _lg(p: int) -> int:
    return (p - 1).bit_length()


def _doubling_cost(p: int, _: Parameters) -> Cost:
    floor = p.bit_length() - 1
    if p == 1 << floor:
        return _cost(floor, floor, floor)
    return _cost(floor + 2, floor + 2, floor + 1)


def _halving_cost(p: int, _: Parameters) -> Cost:
    floor = p.bit_length() - 1
    core = _cost(2 * floor, 2 * _share(1 << floor), _share(1 << floor))
    return core if p == 1 << floor else core + _cost(2, 2, 1)


def _hierarchical_cost(p: int, at: Parameters) -> Cost:
    local = hierarchical.ranks_per_node(p, at["local"])
    return _cost(2 * (local + p // local - 2), 2 * _share(p), _share(p))


def _chain_cost(p: int, segments: int, *, reduces: bool) -> Cost:
    steps = p - 2 + segments if p > 1 else 0
    return _cost(steps, Fraction(steps, segments), Fraction(steps, segments) if reduces else 0)


def _double_tree_cost(p: int, at: Parameters) -> Cost:
    segments = at["segments"]
    # Below four ranks a tree is one path, and no rank waits for another colour before it folds.
    steps = 2 * segments * (p - 1) if p <= 2 else 2 * (double_tree.depth(p) + 2 * segments - 2)
    return _cost(steps, Fraction(steps, 2 * segments), Fraction(p - 1, 2) if p <= 3 else Fraction(steps, 4 * segments))


def _pairwise_reduce_cost(p: int, _: Parameters) -> Cost:
    # Until the distance passes half of the ranks, some rank has a neighbour on either side: two chunks in one round.
    return _cost(p - 1, Fraction(p - 1 + (p - 1) // 2, p), Fraction(p - 1 + max(p - 2, 0) // 2, p))


def _colocated_cost(p: int, at: Parameters) -> Cost:
    shards = at["servers"] or p
    return _cost(2 * (p - 1), Fraction(2 * (p - 1), shards), Fraction(p - 1, shards))


def _separate_cost(p: int, at: Parameters) -> Cost:
    servers = at["servers"]
    steps = max(p - servers, servers)
    return _cost(2 * steps, Fraction(2 * steps, servers), Fraction(p - servers - 1, servers))


def _one(p: int, at: Parameters) -> int:
    return 1


def _per_rank(p: int, at: Parameters) -> int:
    return p


@cache
def _register() -> Mapping[str, Algorithm]:
    # A table reads best with an entry a paragraph.
    # fmt: off
    entries = (
        _entry(
            "linear", "allreduce", linear.allreduce, _one,
            lambda p, _: _cost(2 * (p - 1), 2 * (p - 1), p - 1),
            "Chan et al. 2007",
        ),
        _entry(
            "binomial", "allreduce", tree.allreduce, _one,
            lambda p, _: _cost(2 * _lg(p), 2 * _lg(p), _lg(p)),
            "Thakur, Rabenseifner and Gropp 2005",
        ),
        _entry(
            "ring", "allreduce", ring.allreduce, _per_rank,
            lambda p, _: _cost(2 * (p - 1), 2 * _share(p), _share(p)),
            "Patarasuk and Yuan 2009", commutative=True,
        ),
        _entry(
            "recursive_doubling", "allreduce", doubling.allreduce, _one,
            _doubling_cost,
            "Thakur, Rabenseifner and Gropp 2005",
        ),
        _entry(
            "halving_doubling", "allreduce", halving.allreduce, lambda p, _: 1 << (p.bit_length() - 1),
            _halving_cost,
            "Rabenseifner 2004",
        ),
        _entry(
            "circulant", "allreduce", circulant.allreduce, _per_rank,
            lambda p, _: _cost(2 * _lg(p), 2 * _share(p), _share(p)),
            "Träff 2024 (arXiv 2410.14234)", commutative=True,
        ),
        _entry(
            "hierarchical", "allreduce", hierarchical.allreduce, _per_rank,
            _hierarchical_cost,
            "Jia et al. 2018", commutative=True, sizes=lambda p, at: not at["local"] or p % at["local"] == 0,
        ),
        _entry(
            "double_tree", "allreduce", double_tree.allreduce, lambda p, at: 2 * at["segments"],
            _double_tree_cost,
            "Sanders, Speck and Träff 2009",
        ),
        _entry(
            "chain", "allreduce", chain.allreduce, lambda p, at: at["segments"],
            lambda p, at: _chain_cost(p, at["segments"], reduces=True) + _chain_cost(p, at["segments"], reduces=False),
            "Pješivac-Grbović et al. 2007",
        ),
        _entry(
            "parameter_server", "allreduce", parameter_server.colocated, lambda p, at: at["servers"] or p,
            _colocated_cost,
            "Li et al. 2014; Jiang et al. 2020", commutative=True, sizes=lambda p, at: at["servers"] <= p,
        ),
        _entry(
            "parameter_server_separate", "push_pull", parameter_server.separate, lambda p, at: at["servers"],
            _separate_cost,
            "Li et al. 2014", commutative=True, sizes=lambda p, at: 1 <= at["servers"] < p,
        ),
        _entry(
            "reduce_scatter_ring", "reduce_scatter", ring.reduce_scatter, _per_rank,
            lambda p, _: _cost(p - 1, _share(p), _share(p)),
            "Patarasuk and Yuan 2009", commutative=True,
        ),
        _entry(
            "reduce_scatter_circulant", "reduce_scatter", circulant.reduce_scatter, _per_rank,
            lambda p, _: _cost(_lg(p), _share(p), _share(p)),
            "Träff 2024 (arXiv 2410.14234)", commutative=True,
        ),
        _entry(
            "reduce_scatter_pairwise", "reduce_scatter", pairwise.reduce_scatter, _per_rank,
            _pairwise_reduce_cost,
            "Thakur, Rabenseifner and Gropp 2005",
        ),
        _entry(
            "allgather_ring", "allgather", ring.allgather, _per_rank,
            lambda p, _: _cost(p - 1, _share(p)),
            "Chan et al. 2007",
        ),
        _entry(
            "allgather_bruck", "allgather", circulant.allgather, _per_rank,
            lambda p, _: _cost(_lg(p), _share(p)),
            "Bruck et al. 1997",
        ),
        _entry(
            "broadcast_linear", "broadcast", linear.broadcast, _one,
            lambda p, _: _cost(p - 1, p - 1),
            "Chan et al. 2007",
        ),
        _entry(
            "broadcast_binomial", "broadcast", tree.broadcast, _one,
            lambda p, _: _cost(_lg(p), _lg(p)),
            "Thakur, Rabenseifner and Gropp 2005",
        ),
        _entry(
            "broadcast_chain", "broadcast", chain.broadcast, lambda p, at: at["segments"],
            lambda p, at: _chain_cost(p, at["segments"], reduces=False),
            "Pješivac-Grbović et al. 2007",
        ),
        _entry(
            "broadcast_scatter_allgather", "broadcast", combine.broadcast_scatter_allgather, _per_rank,
            lambda p, _: _cost(2 * _lg(p), 2 * _share(p)),
            "van de Geijn 1994",
        ),
        _entry(
            "reduce_linear", "reduce", linear.reduce, _one,
            lambda p, _: _cost(p - 1, p - 1, p - 1),
            "Chan et al. 2007",
        ),
        _entry(
            "reduce_binomial", "reduce", tree.reduce, _one,
            lambda p, _: _cost(_lg(p), _lg(p), _lg(p)),
            "Thakur, Rabenseifner and Gropp 2005", commutative=lambda at: at["root"] != 0,
        ),
        _entry(
            "reduce_chain", "reduce", chain.reduce, lambda p, at: at["segments"],
            lambda p, at: _chain_cost(p, at["segments"], reduces=True),
            "Pješivac-Grbović et al. 2007", commutative=lambda at: at["root"] != 0,
        ),
        _entry(
            "reduce_scatter_gather", "reduce", combine.reduce_scatter_gather, _per_rank,
            lambda p, _: _cost(2 * _lg(p), 2 * _share(p), _share(p)),
            "Rabenseifner 2004", commutative=True,
        ),
        _entry(
            "alltoall_pairwise", "alltoall", pairwise.alltoall, lambda p, _: p * p,
            lambda p, _: _cost(p - 1, _share(p)),
            "Thakur, Rabenseifner and Gropp 2005",
        ),
        _entry(
            "alltoall_bruck", "alltoall", bruck.alltoall, lambda p, _: p * p,
            lambda p, _: _cost(_lg(p), Fraction(sum(travel.bit_count() for travel in range(p)), p)),
            "Bruck et al. 1997",
        ),
        _entry(
            "barrier_dissemination", "barrier", dissemination.barrier, lambda p, _: 0,
            lambda p, _: _cost(_lg(p), 0),
            "Hensgen, Finkel and Manber 1988",
        ),
    )
    # fmt: on
    return MappingProxyType({entry.name: entry for entry in entries})
