"""The virtual executor against the prover's expressions, bit for bit, and against NumPy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue, proof
from collectives.contract import CONTRACTS, special
from collectives.executors import virtual
from collectives.schedule import Recv, ScheduleError, Send, extents
from kernels import reduce

SIZES = range(1, 10)
PAIR = np.dtype([("value", np.float32), ("index", np.int32)], align=True)
DTYPES: dict[str, list[Any]] = {
    "numbers": [np.int8, np.uint16, np.int64, np.float16, np.float32, np.float64, ml_dtypes.bfloat16],
    "complex": [np.complex64, np.complex128],
    "integers": [np.uint8, np.int32, ">u2"],
    "logical": [np.bool_, np.int16],
    "pairs": [PAIR],
}
OPS = {
    **dict.fromkeys(("sum", "prod"), ("numbers", "complex")),
    **dict.fromkeys(("min", "max"), ("numbers",)),
    **dict.fromkeys(("land", "lor", "lxor"), ("logical",)),
    **dict.fromkeys(("band", "bor", "bxor"), ("integers",)),
    **dict.fromkeys(("minloc", "maxloc"), ("pairs",)),
}


def variants(name: str, size: int) -> list[catalogue.Algorithm]:
    """The entry with its defaults, and with each parameter at every telling value, as far as the size allows."""
    values = {
        "root": range(size),
        "segments": (1, 2, 3, 13),
        "servers": range(1, size + 1),
        "local": range(1, size + 1),
    }
    plain = catalogue.get(name)
    changed = [catalogue.get(name, **{key: value}) for key in plain.parameters for value in values[key]]
    return [algorithm for algorithm in (plain, *changed) if algorithm.supports(size)]


def numbers(seed: int, count: int, dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """Numbers of very different magnitude, so that another order of additions gives other bits."""
    source = np.random.default_rng(seed)
    if dtype.names:
        out = np.empty(count, dtype)
        for field in dtype.names:
            out[field] = source.integers(-3, 4, count)
        return out
    if dtype.kind in "iub":
        return source.integers(0, 250, count).astype(dtype)
    values = source.standard_normal(count) * 10.0 ** source.integers(-3, 4, count)
    return (values + 1j * values[::-1] if dtype.kind == "c" else values).astype(dtype)


@st.composite
def calls(draw: st.DrawFn) -> tuple[catalogue.Algorithm, list[np.ndarray[Any, Any]], str]:
    size = draw(st.sampled_from(SIZES))
    names = [name for name in catalogue.names() if variants(name, size)]
    algorithm = draw(st.sampled_from(variants(draw(st.sampled_from(names)), size)))
    op = draw(st.sampled_from(sorted(OPS)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES[draw(st.sampled_from(OPS[op]))])))
    count = draw(st.sampled_from([0, 1, size - 1, size, size + 1, 17, 31, 97, 211]))
    seed = draw(st.integers(0, 2**32 - 1))
    return algorithm, [numbers(seed + rank, count, dtype) for rank in range(size)], op


def chunks_of(holding: Callable[..., Any], algorithm: catalogue.Algorithm, rank: int, size: int) -> list[int]:
    part = special(algorithm.collective, size, algorithm.parameters)
    return list(holding(rank, size, algorithm.chunks(size), part))


def expected(algorithm: catalogue.Algorithm, inputs: list[np.ndarray[Any, Any]], op: str) -> list[bytes]:
    """Each rank's result as the prover's expressions say it."""
    size = len(inputs)
    contract, proven = CONTRACTS[algorithm.collective], proof.prove(algorithm, size)
    brought = [chunks_of(contract.brings, algorithm, rank, size) for rank in range(size)]
    cuts = [dict(zip(own, extents(inputs[rank].size, len(own)), strict=True)) for rank, own in enumerate(brought)]

    def combine(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        out = np.empty_like(left)
        with np.errstate(all="ignore"):
            reduce.get(op)(left, right, out)
        return out

    def value(rank: int, chunk: int) -> bytes:
        term = proven.expressions[rank][chunk]
        return term.evaluate(lambda source: inputs[source][slice(*cuts[source][chunk])], combine).tobytes()

    return [
        b"".join(value(rank, chunk) for chunk in chunks_of(contract.gets, algorithm, rank, size))
        for rank in range(size)
    ]


@settings(max_examples=400, deadline=None)
@given(calls())
def test_every_result_has_the_bits_that_the_prover_foretells(
    call: tuple[catalogue.Algorithm, list[np.ndarray[Any, Any]], str],
) -> None:
    algorithm, inputs, op = call
    before = [array.tobytes() for array in inputs]
    outputs = virtual.run(algorithm, inputs, op)
    assert [array.tobytes() for array in outputs] == expected(algorithm, inputs, op)
    assert [array.dtype for array in outputs] == [array.dtype for array in inputs]
    assert [array.tobytes() for array in inputs] == before


@pytest.mark.parametrize("name", catalogue.names())
def test_integers_come_out_as_numpy_says(name: str) -> None:
    for size in SIZES:
        for algorithm in variants(name, size):
            inputs = [np.arange(2 * size + 1) * (rank + 1) - 3 for rank in range(size)]
            outputs = virtual.run(algorithm, inputs)
            for rank, output in enumerate(outputs):
                np.testing.assert_array_equal(output, from_numpy(algorithm, inputs, rank))


def from_numpy(
    algorithm: catalogue.Algorithm, inputs: list[np.ndarray[Any, Any]], rank: int
) -> np.ndarray[Any, np.dtype[Any]]:
    """What the collective promises ``rank``, by NumPy and without the contract's tables."""
    size, total, nothing = len(inputs), np.sum(inputs, axis=0), inputs[0][:0]
    root, workers = algorithm.parameters.get("root", 0), size - algorithm.parameters.get("servers", 0)
    match algorithm.collective:
        case "allreduce":
            return total
        case "reduce":
            return total if rank == root else nothing
        case "reduce_scatter":
            return np.array_split(total, size)[rank]
        case "broadcast":
            return inputs[root]
        case "allgather":
            return np.concatenate(inputs)
        case "alltoall":
            return np.concatenate([np.array_split(array, size)[rank] for array in inputs])
        case "push_pull":
            return np.sum(inputs[:workers], axis=0) if rank < workers else nothing
        case _:
            return nothing


ORDERED = [name for name in catalogue.names("allreduce") if not catalogue.get(name).commutative]


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize("size", [2, 3, 6, 8])
def test_an_operation_that_does_not_commute_keeps_rank_order(name: str, size: int) -> None:
    algorithm = catalogue.get(name)

    def compose(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
        a, b = left.reshape(-1, 2).T
        c, d = right.reshape(-1, 2).T
        out[:] = np.stack([a * c, a * d + b], axis=1).ravel()

    maps = [np.array([2 + rank, 3 - rank]) for rank in range(size)]  # pairs (a, b), which mean x -> a·x + b
    composed = maps[0].copy()
    for one in maps[1:]:
        compose(composed, one, composed)
    pairs = algorithm.chunks(size)  # so that each chunk is one whole pair
    for output in virtual.run(algorithm, [np.tile(one, pairs) for one in maps], compose):
        np.testing.assert_array_equal(output, np.tile(composed, pairs))


def test_allgather_joins_inputs_of_different_lengths() -> None:
    inputs = [np.arange(rank * 3) for rank in range(5)]
    for name in catalogue.names("allgather"):
        for output in virtual.run(catalogue.get(name), inputs):
            np.testing.assert_array_equal(output, np.concatenate(inputs))


def test_floating_point_overflow_is_silent_as_in_mpi() -> None:
    huge = [np.full(3, 3e38, np.float32), np.full(3, 3e38, np.float32), np.full(3, -np.inf, np.float32)]
    assert all(np.isnan(output).all() for output in virtual.run(catalogue.get("linear"), huge))


@pytest.mark.parametrize(
    ("inputs", "op", "complaint"),
    [
        ([np.zeros(3), np.zeros(4)], "sum", r"different numbers of elements: \{0: 3, 1: 4\}"),
        ([np.zeros(3), np.zeros(3, np.float32)], "sum", "different dtypes: float32, float64"),
        ([np.zeros((2, 2)), np.zeros((2, 2))], "sum", r"rank 0 brings an array of shape \(2, 2\)"),
        ([np.zeros(3), np.zeros(3)], "band", "band is not defined for float64"),
        ([], "sum", "does not work for 0 ranks"),
    ],
)
def test_bad_input_is_named(inputs: list[np.ndarray[Any, Any]], op: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        virtual.run(catalogue.get("ring"), inputs, op)


def test_an_unknown_operation_is_named() -> None:
    with pytest.raises(KeyError, match="no reduction is called 'mean'"):
        virtual.run(catalogue.get("ring"), [np.zeros(2), np.zeros(2)], "mean")


@pytest.mark.parametrize(
    ("rounds", "complaint"),
    [
        ({0: ((Send(1, 0),),), 1: ((),)}, "rank 1 does not receive what rank 0 sends it"),
        ({0: ((),), 1: ((Recv(0, 0),),)}, "rank 1 waits for chunks {0} from rank 0 in vain"),
        ({0: ((Send(1, ()),),), 1: ((Recv(0, 0),),)}, "rank 1 waits for chunks {0} from rank 0 in vain"),
    ],
)
def test_messages_that_do_not_meet_are_named(rounds: dict[int, Any], complaint: str) -> None:
    broken = replace(catalogue.get("linear"), function=lambda rank, size: rounds[rank])
    with pytest.raises(ScheduleError, match=complaint.replace("{", r"\{")):
        virtual.run(broken, [np.zeros(2), np.zeros(2)])


def test_it_needs_no_mpi() -> None:
    program = "import sys, collectives.executors.virtual; sys.exit('mpi4py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
