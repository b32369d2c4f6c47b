"""The machine code of the optimisers' loops: whole vectors, square roots and divisions too."""

from __future__ import annotations

import platform
from typing import Any

import pytest
from numba import njit, types

from kernels.cpu import optimise
from kernels.formulas import optimise as formulas
from tests.kernels.test_cpu_vectorised import SINGLE, VECTOR, loops

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="reads the assembly of x86-64")

F, HALF, BF = types.float32[::1], types.uint16[::1], types.int16[::1]


@pytest.mark.parametrize(
    ("loop", "arrays", "numbers", "wanted"),
    [
        (optimise._with_two(formulas.adamw), [F, F, F, F, types.none], 8, ["vsqrtps", "vdivps", "vmulps"]),
        (optimise._toward(formulas.lamb), [F, F, F, F, F], 8, ["vsqrtps", "vdivps", "vmulps"]),
        (optimise._with_one(formulas.nesterov), [F, BF, F, BF], 3, ["vpslld", "vmulps"]),
        (optimise._stateless(formulas.sgd), [F, HALF, HALF], 2, ["vcvtph2ps", "vmulps"]),
    ],
    ids=["adamw", "lamb", "nesterov of bfloat16", "sgd of float16"],
)
def test_the_loop_computes_in_whole_vectors(loop: Any, arrays: list[Any], numbers: int, wanted: list[str]) -> None:
    fresh: Any = njit(nogil=True, error_model="numpy", _nrt=False)(loop.py_func)
    fresh.compile((*arrays, types.float32, types.UniTuple(types.float32, numbers)))
    (code,) = fresh.inspect_asm().values()
    wide = [
        body
        for body in loops(code)
        if all(any(line.startswith(one) and VECTOR.search(line) for line in body) for one in wanted)
    ]
    assert wide
    assert not [line for line in wide[0] if SINGLE.match(line) or "call" in line or "(%rsp" in line]
