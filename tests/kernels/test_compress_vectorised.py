"""The machine code of the encodings' loops: whole vectors, in the host's widest registers."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from kernels.cpu import casts, int8, sign

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="reads the assembly of x86-64")

FLOATS, BYTES, HALVES = np.zeros(64, np.float32), np.zeros(64, np.uint8), np.zeros(64, np.uint16)
CODES, WORDS, CHANCES = BYTES.view(np.int8), np.zeros(64, np.uint64), np.zeros(256, np.uint16)
CHANCE = WORDS, CHANCES, np.uint64(0), np.uint64(0)
LANES, TOTALS = np.zeros(1024, np.float32), np.zeros(1024)
VECTOR = r"[yz]mm\d"


@pytest.mark.parametrize(
    ("function", "arguments", "instructions"),
    [
        (casts.loops("float16").encode, (FLOATS, HALVES), "vcvtps2ph"),
        (casts.loops("bfloat16").encode, (FLOATS, HALVES), "vpsrld"),
        (casts.loops("float16").encode_feedback, (FLOATS, HALVES, FLOATS), "vaddps vcvtps2ph vcvtph2ps vsubps"),
        (int8._encode, (FLOATS, CODES, BYTES, 256, *CHANCE), "vpmaxud vmulps vrndscaleps|vroundps vpmuludq vcvttps2dq"),
        (int8._decode_add, (CODES, BYTES, FLOATS, 256), "vpmovsxbd vcvtdq2ps vmulps vaddps"),
        (sign._encode, (FLOATS, BYTES, LANES, TOTALS), "vaddps vpmovd2m|vmovmskps|vpcmpgtd"),
    ],
    ids=["float16", "bfloat16", "feedback", "int8", "int8 decoded", "sign"],
)
def test_a_loop_takes_whole_vectors(function: Any, arguments: tuple[Any, ...], instructions: str) -> None:
    code = assembly(function.py_func, arguments)
    for instruction in instructions.split():
        assert re.search(rf"\b({instruction})\b.*{VECTOR}", code), instruction


def test_what_is_computed_one_by_one_is_told_apart() -> None:
    def running(values: Any) -> None:
        for i in range(1, len(values)):
            values[i] = values[i - 1] * values[i]

    assert not re.search(rf"\bvmulps\b.*{VECTOR}", assembly(running, (FLOATS,)))


def assembly(function: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    """Compiled anew: code that comes from the cache cannot be looked into."""
    compiled: Any = njit(nogil=True, _nrt=False)(function)
    compiled(*arguments)
    (code,) = compiled.inspect_asm().values()
    return code
