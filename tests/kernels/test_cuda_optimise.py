"""Optimiser kernels in the PTX interpreter: bit for bit what the CPU form computes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from kernels import optimise
from kernels.cuda.device import using
from tests.ptx.device import Emulated
from tests.ptx.harness import identical

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALVES = [np.dtype(np.float16), BFLOAT16]
ODD = 1e30, -1e-30, 1e-42, 0.0, -0.0, np.inf, -np.inf, np.nan
"""Among the gradients: overflow of squares, subnormals, and what is no number."""

LARGE_BATCH = "lars", "lamb"
"""A NaN would reach all elements by the norms."""


def both(name: str, count: int, offsets: tuple[int, ...], dtype: Any, half: Any = None, **options: Any) -> None:
    """Two steps on both forms, arrays ``offsets`` elements after aligned addresses; every array must agree."""
    source = np.random.default_rng(count)
    method = optimise.get(name, learning_rate=0.1, weight_decay=0.01)
    weights = source.normal(size=count).astype(dtype)
    copy = None if half is None else np.zeros(count, half)
    state = method.state(weights)
    device = Emulated()
    with using(device), np.errstate(over="ignore"):
        there = device.array(weights, offset=offsets[0] * weights.itemsize)
        kept = [device.array(array, offset=offsets[1] * array.itemsize) for array in state]
        rounded = None if copy is None else device.array(copy, offset=offsets[1] * copy.itemsize)
        for number in (1, 2):
            gradient = source.normal(size=count).astype(half or dtype)
            if name not in LARGE_BATCH:
                gradient[: len(ODD)] = np.array(ODD, np.float64).astype(gradient.dtype)[:count]
            shown = device.array(gradient, offset=offsets[2] * gradient.itemsize)
            method.step(weights, gradient, state, number, copy=copy, **options)
            method.step(there, shown, tuple(kept), number, copy=rounded, **options)
    identical(device.values(there), weights)
    for one, other in zip(kept, state, strict=True):
        identical(device.values(one), other)
    if copy is not None:
        identical(device.values(rounded), copy)


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adagrad", "adam", "adamw"])
@pytest.mark.parametrize(("count", "offsets"), [(1, (0, 0, 0)), (1037, (3, 3, 3))])
def test_the_forms_agree_at_common_places(name: str, count: int, offsets: tuple[int, ...]) -> None:
    both(name, count, offsets, np.float32, scale=0.3)


@pytest.mark.parametrize("offsets", [(0, 0, 0), (5, 5, 5), (1, 2, 0)])
@pytest.mark.parametrize("half", HALVES, ids=str)
def test_halves_go_with_two_vectors_of_the_others_or_one_by_one(half: Any, offsets: tuple[int, ...]) -> None:
    both("adamw", 531, offsets, np.float32, half)


def test_float64_goes_two_at_a_time() -> None:
    both("adam", 77, (1, 1, 1), np.float64)


@pytest.mark.parametrize("name", LARGE_BATCH)
def test_norms_stay_on_the_device_and_give_the_same_ratio(name: str) -> None:
    both(name, 301, (1, 1, 3), np.float32, scale=0.5)


def test_work_is_queued_on_the_stream_of_the_weights() -> None:
    device = Emulated(delayed=True)
    method = optimise.get("lamb", learning_rate=0.1)
    weights = device.array(np.ones(8, np.float32)).on(device.stream())
    with using(device):
        state = method.state(weights)
        before = len(device.trace)
        method.step(weights, device.array(np.ones(8, np.float32)), state, 1)
    assert {stream for _, stream in device.trace[before:]} == {weights.stream}
    assert not any(what in ("synchronize", "copy out") for what, _ in device.trace[before:])
    assert device.values(weights).tolist() == [1] * 8
    device.synchronize(weights.stream)
    assert (device.values(weights) < 1).all()


def test_clipping_on_the_device_is_clipping_on_the_host() -> None:
    device = Emulated()
    arrays = [np.linspace(-2, 2, 70, dtype=np.float32), np.ones(5, np.float32)]
    there = [device.array(array) for array in arrays]
    assert optimise.clip_by_global_norm(there, 1.5) == optimise.clip_by_global_norm(arrays, 1.5)
    for array, other in zip(there, arrays, strict=True):
        identical(device.values(array), other)


class Shown:
    """What another library's array shows of itself."""

    def __init__(self, array: Any) -> None:
        self.__cuda_array_interface__ = array.__cuda_array_interface__
        self.array = array


def test_arrays_of_other_libraries_are_taken_by_their_interface_and_checked_alike() -> None:
    device = Emulated()
    weights, gradient = device.array(np.ones(9, np.float32)), device.array(np.full(9, 0.5, np.float32))
    method = optimise.get("sgd", learning_rate=1.0)
    with using(device):
        method.step(Shown(weights), Shown(gradient), (), 1)
        assert device.values(weights).tolist() == [0.5] * 9
        with pytest.raises(ValueError, match="weights and gradient overlap"):
            method.step(Shown(weights), weights, (), 1)
        with pytest.raises(TypeError, match="gradient: a ndarray is not on a device"):
            method.step(Shown(weights), np.ones(9, np.float32), (), 1)
    with pytest.raises(TypeError, match="weights: a Shown is not on a device that is here"):
        method.step(Shown(weights), Shown(gradient), (), 1)
