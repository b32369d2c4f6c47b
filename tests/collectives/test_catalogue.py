"""The register: names, parameters, errors, and docstrings that say what the schedules do."""

from __future__ import annotations

import inspect
import math
import pickle
from fractions import Fraction

import pytest

from collectives import catalogue, proof
from collectives.algorithms import double_tree, hierarchical
from collectives.contract import CONTRACTS
from collectives.schedule import Recv, Send

EVERY = [catalogue.get(name) for name in catalogue.names()]
FIELDS = ("Rounds", "Bytes per rank", "Reductions", "Sizes", "Order", "Source")


def stated(text: str, algorithm: catalogue.Algorithm, size: int) -> Fraction:
    """The value of a docstring's formula in p, k, l, q = ⌈lg p⌉ and f = ⌊lg p⌋."""
    k = algorithm.parameters.get("segments", algorithm.parameters.get("servers", 1))
    local = hierarchical.ranks_per_node(size, algorithm.parameters.get("local", 0))
    known = {
        "p": Fraction(size), "k": k, "l": local, "q": (size - 1).bit_length(), "f": size.bit_length() - 1,
        "min": min, "max": max, "sum": sum, "range": lambda stop: range(int(stop)),
        "depth": lambda p: double_tree.depth(int(p)),
    }  # fmt: skip
    # One namespace for globals: a generator expression in the formula sees only those.
    return Fraction(eval(text, {"__builtins__": {}, **known}))


def test_the_design_s_names_are_there() -> None:
    assert {
        "linear", "binomial", "ring", "recursive_doubling", "halving_doubling", "circulant", "double_tree", "chain",
        "parameter_server",
    } <= set(catalogue.names("allreduce"))  # fmt: skip
    assert catalogue.names("allreduce") == sorted(catalogue.names("allreduce"))
    assert set(catalogue.collectives()) == set(CONTRACTS)


@pytest.mark.parametrize("collective", ["reduce_scatter", "allgather", "broadcast", "reduce", "alltoall"])
def test_each_building_block_has_a_latency_optimal_and_a_bandwidth_optimal_form(collective: str) -> None:
    forms = [catalogue.get(name) for name in catalogue.names(collective)]
    size, rounds = 64, math.ceil(math.log2(64))
    assert any(form.cost(size).messages == rounds for form in forms)
    least = {"broadcast": Fraction(2), "reduce": Fraction(2)}.get(collective, Fraction(63, 64))
    assert any(form.cost(size).volume <= least for form in forms)


@pytest.mark.parametrize(
    ("algorithm", "size"),
    [(algorithm, size) for algorithm in EVERY for size in (*range(1, 9), 11, 16, 21) if algorithm.supports(size)],
    ids=str,
)
def test_docstrings_state_what_the_schedule_does(algorithm: catalogue.Algorithm, size: int) -> None:
    documented = algorithm.facts
    assert set(FIELDS) <= set(documented), f"{algorithm}: fields missing in the docstring"
    found = proof.prove(algorithm, size)
    assert found.rounds == stated(documented["Rounds"], algorithm, size)
    assert found.bytes_per_rank == stated(documented["Bytes per rank"], algorithm, size)
    assert found.reductions == stated(documented["Reductions"], algorithm, size)


@pytest.mark.parametrize("algorithm", EVERY, ids=str)
def test_docstrings_agree_with_the_prover_on_rank_order(algorithm: catalogue.Algorithm) -> None:
    documented = algorithm.facts
    keeps = all(proof.prove(algorithm, size).in_rank_order for size in range(1, 17) if algorithm.supports(size))
    assert algorithm.commutative is not keeps
    expected = (
        "nothing is combined"
        if not CONTRACTS[algorithm.collective].reduces
        else ("any operation" if keeps else "commutative operations only")
    )
    assert documented["Order"].startswith(expected)


def one_ported(algorithm: catalogue.Algorithm, size: int) -> bool:
    """Whether no rank has two sends, or two receives, in one round."""
    rounds = (ops for rank in range(size) for ops in algorithm.rounds(rank, size))
    return all(sum(isinstance(op, kind) for op in ops) <= 1 for ops in rounds for kind in (Send, Recv))


@pytest.mark.parametrize("algorithm", EVERY, ids=str)
def test_closed_forms_are_the_critical_path(algorithm: catalogue.Algorithm) -> None:
    for size in [size for size in (*range(1, 34), 63, 64) if algorithm.supports(size)]:
        path, form = proof.prove(algorithm, size).critical_path, algorithm.cost(size)
        if one_ported(algorithm, size):
            assert path == form, f"{size} ranks"
        else:
            assert path.messages == form.messages
            assert form.volume * Fraction(2, 3) <= path.volume <= form.volume
            assert path.reductions <= form.reductions


@pytest.mark.parametrize("algorithm", EVERY, ids=str)
def test_an_algorithm_is_short(algorithm: catalogue.Algorithm) -> None:
    lines = inspect.getsource(algorithm.function).splitlines()
    body = "\n".join(lines).split('"""')
    assert len((body[0] + body[-1]).splitlines()) <= 27


def test_ring_fits_on_one_screen() -> None:
    from collectives.algorithms import ring

    lines = inspect.getsource(ring).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("def reduce_scatter"))
    assert len(lines) - first <= 45


def test_unknown_names_list_the_known_ones_nearest_first() -> None:
    with pytest.raises(KeyError, match=r"'rign'; known: ring, "):
        catalogue.get("rign")
    with pytest.raises(KeyError, match=r"no collective is called 'alreduce'; known: allreduce, "):
        catalogue.names("alreduce")


def test_parameters_by_keyword_and_on_the_command_line() -> None:
    assert catalogue.get("chain", segments=16).chunks(5) == 16
    assert catalogue.parse("chain:segments=16") == catalogue.get("chain", segments=16)
    assert catalogue.get("chain", segments=16).label == "chain:segments=16"
    assert catalogue.get("chain").label == "chain"
    assert catalogue.parse("broadcast_chain:root=2,segments=3").parameters == {"root": 2, "segments": 3}


@pytest.mark.parametrize(
    "text", ["chain:segments", "chain:segments=x", "chain:segments=0", "chain:pieces=3", "ring:root=1"]
)
def test_bad_parameters_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"chain|ring"):
        catalogue.parse(text)


def test_what_an_algorithm_cannot_do_is_said() -> None:
    with pytest.raises(ValueError, match="does not work for 2 ranks"):
        catalogue.get("reduce_binomial", root=2).rounds(0, 2)
    with pytest.raises(ValueError, match=r"rank 4 is not one of the 4 ranks 0\.\.3"):
        catalogue.get("ring").rounds(4, 4)
    with pytest.raises(ValueError, match="does not work for 0 ranks"):
        catalogue.get("ring").cost(0)


@pytest.mark.parametrize("algorithm", EVERY, ids=str)
def test_algorithms_are_values(algorithm: catalogue.Algorithm) -> None:
    assert algorithm == catalogue.get(algorithm.name)
    assert hash(algorithm) == hash(catalogue.get(algorithm.name))
    assert pickle.loads(pickle.dumps(algorithm)) == algorithm
    assert algorithm != catalogue.get("ring" if algorithm.name != "ring" else "linear")
