"""The machine code of the reductions: the loops in which time is spent compute in whole vectors, and nothing singly."""

from __future__ import annotations

import platform
import re
from typing import Any

import pytest
from numba import njit

from kernels.cpu import reduce

VECTOR = re.compile(r"\s[{]?%?[yz]mm|%[yz]mm")
SINGLE = re.compile(r"^v?(add|sub|mul|div|min|max|cvt\w*)s[sd]\b|^(add|imul|and|or|xor)[bwl]\b.*\(")

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="reads the assembly of x86-64")


def loops(code: str) -> list[list[str]]:
    """The innermost loops that are one basic block: from a label to the jump back to it."""
    found, label, body = [], "", []
    for line in map(str.strip, code.splitlines()):
        if match := re.fullmatch(r"(\.L\w+):.*", line):
            label, body = match[1], []
        elif line.startswith("j"):
            if line.split()[-1] == label:
                found.append(body)
            label, body = "", []
        elif line and not line.startswith((".", "#")):
            body.append(line)
    return found


def anew(function: Any) -> Any:
    """The same function compiled again: code that comes from the cache cannot be looked into."""
    fresh: Any = njit(nogil=True, error_model="numpy", _nrt=False)(function.py_func)
    fresh.compile(function.nopython_signatures[0])
    return fresh


def body_of(function: object) -> tuple[list[str], list[str]]:
    """The loops over blocks of 128 bytes, with plain stores and with stores past the caches."""
    (code,) = anew(function).inspect_asm().values()
    wide = [loop for loop in loops(code) if any(VECTOR.search(line) for line in loop)]
    past = [loop for loop in wide if any("movnt" in line for line in loop)]
    plain = [loop for loop in wide if loop not in past]
    assert len(past) == 1
    assert len(plain) >= 1
    return plain[0], past[0]


@pytest.mark.parametrize(
    ("operation", "kind", "instructions"),
    [
        ("sum", "float32", "vaddps"),
        ("sum", "float16", "vcvtph2ps vaddps vcvtps2ph"),
        ("sum", "bfloat16", "vpslld vaddps vpsrld"),
        ("max", "float64", "v(max|cmp\\w*)pd"),
        ("min", "int16", "vpminsw"),
        ("prod", "complex64", "vmulps"),
        ("lxor", "bool", "v?p(cmp|test|min)\\w+"),
    ],
)
def test_a_loop_takes_whole_vectors(operation: str, kind: str, instructions: str) -> None:
    function = reduce.pair(operation, kind)
    for body in body_of(function):
        for instruction in instructions.split():
            assert any(re.match(instruction, line) and VECTOR.search(line) for line in body), (instruction, body)
        assert not [line for line in body if SINGLE.match(line)], body
        assert not [line for line in body if "call" in line or "(%rsp" in line], body


def test_each_input_of_many_is_read_once() -> None:
    for body in body_of(reduce.many("sum", "float32", 8)):
        width = 64 if any("zmm" in line for line in body) else 32
        memory = [line for line in body if "(%r" in line and VECTOR.search(line)]
        stores = [line for line in memory if line.endswith(")")]
        assert len(stores) == 128 // width
        assert len(memory) - len(stores) == 8 * 128 // width
