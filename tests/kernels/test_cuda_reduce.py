"""Reductions in the PTX interpreter: bit for bit what the CPU form and NumPy compute, at any place and length."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import reduce
from kernels.cuda import pairs
from kernels.cuda import reduce as queued
from kernels.cuda.device import using
from tests.ptx.device import Emulated
from tests.ptx.harness import RAGGED, identical, placed

ODD = 0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 6e-8, 65504.0, 3e38, -3e38, 1.0, -1.0
"""Zeros, what is no number, subnormals of float32 and of float16, and what overflows."""

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def dtype_of(name: str) -> np.dtype[Any]:
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


def some(name: str, size: int, seed: int) -> NDArray[Any]:
    """Numbers of many magnitudes with the odd ones among them; integers over their whole range."""
    source, dtype = np.random.default_rng(seed), dtype_of(name)
    if dtype.kind in "iu":
        return np.frombuffer(source.bytes(size * dtype.itemsize), dtype).copy()
    if dtype.kind == "c":
        real = np.dtype(f"float{dtype.itemsize * 4}").name
        return some(real, 2 * size, seed).view(dtype)
    values = source.normal(size=size) * np.exp2(source.integers(-9, 9, size))
    places = source.integers(0, max(size, 1), size // 3)
    values[places] = source.choice(ODD, places.size)
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def plain(values: NDArray[Any]) -> NDArray[Any]:
    """Complex numbers as their parts, for a NaN may be in one of them."""
    return values.view(f"f{values.itemsize // 2}") if values.dtype.kind == "c" else values


def one_zero(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Of two zeros min and max may give either."""
    return np.where(values == 0, np.zeros_like(values), values) if name in ("min", "max") else values


def reduced(name: str, inputs: list[Any], out: Any) -> None:
    if name == "average":
        reduce.average(inputs, out)
    elif name == "scale_add":
        reduce.scale_add(*inputs, 3 if out.dtype.kind == "i" else 0.3, out)
    else:
        reduce.get(name).fold(inputs, out)


@pytest.mark.parametrize(("name", "dtype", "count"), queued.SAMPLE, ids=str)
def test_the_forms_agree_at_every_place_and_length(name: str, dtype: str, count: int) -> None:
    device = Emulated()
    for size, offsets in RAGGED:
        inputs = [some(dtype, size, seed) for seed in range(count)]
        expected = np.empty_like(inputs[0])
        reduced(name, inputs, expected)
        places = [*offsets[:2], *[offsets[0]] * (count - 2), offsets[2]]
        *there, out = placed(device, inputs, places)
        with using(device):
            reduced(name, there, out)
        identical(one_zero(plain(device.values(out)), name), one_zero(plain(expected), name))


@pytest.mark.parametrize(
    ("name", "dtype", "count", "own"),
    [("sum", "bfloat16", 11, None), ("average", "float16", 16, 3), ("sum", "float32", 9, 8), ("max", "float16", 9, 0)],
)
def test_more_inputs_than_a_kernel_takes_are_rounded_once(name: str, dtype: str, count: int, own: int | None) -> None:
    """``own``: the input that is also the result."""
    device = Emulated()
    for size, offset in (1, 0), (1003, 3):
        inputs = [some(dtype, size, seed) for seed in range(count)]
        expected = np.empty_like(inputs[0])
        reduced(name, inputs, expected)
        *there, out = placed(device, inputs, [offset] * (count + 1))
        out = out if own is None else there[own]
        with using(device):
            reduced(name, there, out)
        identical(one_zero(device.values(out), name), one_zero(expected, name))


@pytest.mark.parametrize(("name", "dtype"), [("minloc", pairs.SAMPLE[0]), ("maxloc", pairs.SAMPLE[1])], ids=str)
def test_pairs_go_to_the_first_of_equal_numbers_and_to_nan(name: str, dtype: np.dtype[Any]) -> None:
    device, source = Emulated(), np.random.default_rng(0)
    inputs = [np.zeros(301, dtype) for _ in range(3)]
    for array in inputs:
        array["value"] = source.choice([1.0, 2.0, 3.0, 0.0, -0.0, np.nan, -np.inf], 301)
        array["index"] = source.integers(0, 4, 301)
    expected = np.zeros(301, dtype)
    reduce.get(name).fold(inputs, expected)
    for own in (None, 0, 1, 2):
        *there, out = placed(device, inputs, (1, 0, 2))
        out = out if own is None else there[own]
        reduce.get(name).fold(there, out)
        got = device.array(np.zeros(301, dtype)) if own is None else out
        if own is None:  # the gaps in out were never written
            reduce.get(name)(out, out, got)
        for field in ("value", "index"):
            identical(np.ascontiguousarray(device.values(got)[field]), np.ascontiguousarray(expected[field]))


def test_nothing_is_launched_for_no_elements() -> None:
    device = Emulated()
    there = device.array(np.empty(0, np.float32))
    queued.fold("sum", [there, there], there)
    assert device.trace == []


def test_work_is_queued_on_the_stream_of_the_result() -> None:
    device = Emulated(delayed=True)
    one, out = device.array(np.ones(5, np.float32)), device.array(np.zeros(5, np.float32)).on(device.stream())
    reduce.get("sum")(one, one, out)
    assert device.values(out).tolist() == [0] * 5
    assert device.trace == [("launch sum_float32_2", out.stream)]
    device.synchronize(out.stream)
    assert device.values(out).tolist() == [2] * 5


def test_an_array_at_an_odd_address_is_refused() -> None:
    device = Emulated()
    there = device.array(np.zeros(12, np.uint8))
    with pytest.raises(ValueError, match="multiple of 4 bytes"):
        queued.fold("sum", [there[1:5].view(np.float32)], there[4:8].view(np.float32))
