"""Optimisers against their papers' formulas, written in float64 NumPy with other words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import norms, optimise

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
Vector = np.ndarray[Any, np.dtype[Any]]
SETTINGS: dict[str, dict[str, float]] = {
    "sgd": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.8, "weight_decay": 0.1},
    "nesterov": {"momentum": 0.8, "weight_decay": 0.1},
    "adagrad": {"epsilon": 1e-3, "weight_decay": 0.1},
    "adam": {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1},
    "adamw": {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1},
    "lars": {"momentum": 0.8, "weight_decay": 0.1, "trust": 0.5},
    "lamb": {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1},
}
RATE = 0.05


def by_the_paper(name: str, weights: Vector, gradients: list[Vector]) -> Vector:
    """The weights after all gradients, from the equations as published."""
    about = {"weight_decay": 0.0, **SETTINGS[name]}
    method = {"sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adagrad": adagrad, "lars": lars}.get(name, adam)
    return method(weights.astype(np.float64), [g.astype(np.float64) for g in gradients], about, name)


def sgd(w: Vector, gradients: list[Vector], about: dict[str, float], name: str) -> Vector:
    for g in gradients:
        w = w - RATE * (g + about["weight_decay"] * w)
    return w


def momentum(w: Vector, gradients: list[Vector], about: dict[str, float], name: str) -> Vector:
    velocity = np.zeros_like(w)
    for g in gradients:
        velocity = about["momentum"] * velocity - RATE * (g + about["weight_decay"] * w)
        w = w + velocity
    return w


def nesterov(w: Vector, gradients: list[Vector], about: dict[str, float], name: str) -> Vector:
    """θ and v of Sutskever's equations 3 and 4; the gradient (with its decay) is the one at w = θ + μv."""
    mu, velocity, theta = about["momentum"], np.zeros_like(w), w
    for g in gradients:
        ahead = theta + mu * velocity
        velocity = mu * velocity - RATE * (g + about["weight_decay"] * ahead)
        theta = theta + velocity
    return theta + mu * velocity


def adagrad(w: Vector, gradients: list[Vector], about: dict[str, float], name: str) -> Vector:
    outer = np.zeros_like(w)
    for gradient in gradients:
        g = gradient + about["weight_decay"] * w
        outer = outer + g**2
        w = w - RATE / (np.sqrt(outer) + about["epsilon"]) * g
    return w


def adam(w: Vector, gradients: list[Vector], about: dict[str, float], name: str) -> Vector:
    b1, b2, decay = about["beta1"], about["beta2"], about["weight_decay"]
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, gradient in enumerate(gradients, 1):
        g = gradient + decay * w if name == "adam" else gradient
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        r = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + about["epsilon"])
        if name == "lamb":
            update = r + decay * w
            w = w - RATE * np.linalg.norm(w) / np.linalg.norm(update) * update
        else:
            w = w - RATE * r - (RATE * decay * w if name == "adamw" else 0)
    return w


def lars(w: Vector, gradients: list[Vector], about: dict[str, float], name: str) -> Vector:
    v, decay = np.zeros_like(w), about["weight_decay"]
    for g in gradients:
        local = about["trust"] * np.linalg.norm(w) / (np.linalg.norm(g) + decay * np.linalg.norm(w))
        v = about["momentum"] * v + RATE * local * (g + decay * w)
        w = w - v
    return w


def case(seed: int, count: int, steps: int, dtype: Any, gradient_dtype: Any) -> tuple[Vector, list[Vector]]:
    source = np.random.default_rng(seed)
    weights = source.normal(size=count).astype(dtype)
    return weights, [source.normal(size=count).astype(gradient_dtype) for _ in range(steps)]


def stepped(name: str, weights: Vector, gradients: list[Vector], **options: Any) -> Vector:
    method = optimise.get(name, learning_rate=RATE, **SETTINGS[name])
    weights = weights.copy()
    state = method.state(weights)
    for number, gradient in enumerate(gradients, 1):
        method.step(weights, gradient, state, number, **options)
    return weights


@pytest.mark.parametrize("name", optimise.names())
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-14)])
def test_the_weights_go_where_the_paper_sends_them(name: str, dtype: str, tolerance: float) -> None:
    weights, gradients = case(1, 2300, 4, dtype, dtype)
    expected = by_the_paper(name, weights, gradients)
    np.testing.assert_allclose(stepped(name, weights, gradients), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adamw", "lamb"])  # one for each loop
@pytest.mark.parametrize("half", [np.dtype(np.float16), BFLOAT16], ids=str)
def test_half_precision_around_a_float32_master_changes_only_what_is_rounded(name: str, half: Any) -> None:
    weights, gradients = case(2, 2300, 3, np.float32, half)
    copy = np.empty(weights.size, half)
    got = stepped(name, weights, gradients, copy=copy)
    wide = stepped(name, weights, [gradient.astype(np.float32) for gradient in gradients])
    assert got.tobytes() == wide.tobytes()
    assert copy.tobytes() == got.astype(half).tobytes()


@pytest.mark.parametrize("name", optimise.names())
def test_scaling_by_a_power_of_two_is_as_exact_as_no_scaling(name: str) -> None:
    weights, gradients = case(3, 100, 3, np.float32, np.float32)
    scaled = [1024 * gradient for gradient in gradients]
    assert stepped(name, weights, scaled, scale=1 / 1024).tobytes() == stepped(name, weights, gradients).tobytes()


@pytest.mark.parametrize("name", ["sgd", "momentum", "adamw", "lamb"])
@settings(max_examples=10)
@given(count=st.integers(0, 70), offset=st.integers(0, 3))
def test_every_element_is_treated_alike_and_none_beside(name: str, count: int, offset: int) -> None:
    method = optimise.get(name, learning_rate=RATE)
    frame = np.full(count + 8, 7, np.float32)
    weights = frame[offset : offset + count]
    method.step(weights, np.full(count, 0.5, np.float32), method.state(weights), 1)
    assert np.unique(weights).size == min(count, 1)
    assert np.all(weights != 7)
    assert (np.delete(frame, np.s_[offset : offset + count]) == 7).all()


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_a_layer_without_a_norm_takes_the_plain_step(name: str) -> None:
    method = optimise.get(name, learning_rate=RATE, weight_decay=0.0)
    weights, gradient = np.zeros(8, np.float32), np.ones(8, np.float32)
    method.step(weights, gradient, method.state(weights), 1)
    np.testing.assert_allclose(weights, -RATE, rtol=1e-5)


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_a_norm_that_is_no_number_spoils_the_whole_layer_and_not_a_part_of_it(name: str) -> None:
    weights, gradient = np.ones(8, np.float32), np.ones(8, np.float32)
    gradient[3] = np.nan
    method = optimise.get(name, learning_rate=RATE)
    method.step(weights, gradient, method.state(weights), 1)
    assert np.isnan(weights).all()


def test_zero_gradients_leave_the_weights_but_for_decay() -> None:
    weights = np.ones(5)
    method = optimise.get("adamw", learning_rate=0.5, weight_decay=0.25)
    method.step(weights, np.zeros(5), method.state(weights), 1)
    np.testing.assert_array_equal(weights, 1 - 0.5 * 0.25)


def test_a_nan_stays_in_its_place() -> None:
    weights, gradient = np.ones(40, np.float32), np.ones(40, np.float32)
    gradient[7] = np.nan
    method = optimise.get("adam", learning_rate=RATE)
    method.step(weights, gradient, method.state(weights), 1)
    assert np.flatnonzero(np.isnan(weights)).tolist() == [7]


good = {"weights": np.ones(8, np.float32), "gradient": np.ones(8, np.float32)}
shared = np.ones(12, np.float32)
read_only = np.ones(8, np.float32)
read_only.flags.writeable = False


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"gradient": np.ones(7, np.float32)}, ValueError, "gradient has 7 elements and the weights have 8"),
        ({"gradient": np.ones(8)}, ValueError, "gradient must be float32 or float16 or bfloat16 beside .* not float64"),
        ({"weights": np.ones(8, np.float16)}, ValueError, "keep a float32 master"),
        ({"weights": np.ones(16, np.float32)[::2]}, ValueError, "weights must be 1-D and contiguous"),
        ({"weights": read_only}, BufferError, "weights is read-only"),
        ({"weights": shared[:8], "gradient": shared[4:]}, ValueError, "weights and gradient overlap"),
        ({"gradient": [1.0] * 8}, TypeError, "gradient is a list and the weights are a NumPy array"),
        ({"weights": [1.0] * 8}, TypeError, "weights: a list is not on a device"),
        ({"copy": np.ones(8, np.float32)}, ValueError, "copy must be float16 or bfloat16"),
        ({"state": ()}, ValueError, "momentum: 0 arrays of state where it keeps velocity"),
        ({"number": 0}, ValueError, "steps are counted from 1, got 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(arrays: dict[str, Any], error: type[Exception], message: str) -> None:
    method = optimise.get("momentum", learning_rate=RATE)
    call = {**good, "state": method.state(good["weights"]), "number": 1, "copy": None, **arrays}
    with pytest.raises(error, match=message):
        method.step(call["weights"], call["gradient"], call["state"], call["number"], copy=call["copy"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimise.get("sgd"), "needs a learning_rate"),
        (lambda: optimise.get("sgd", learning_rate=0.1, momentum=0.9), "sgd has no parameter 'momentum'; it takes"),
        (lambda: optimise.get("adam", learning_rate=-1), "learning_rate must be at least 0, got -1"),
        (lambda: optimise.get("adam", learning_rate=float("nan")), "learning_rate must be at least 0"),
        (lambda: optimise.get("adam", learning_rate=0.1, beta2=1.0), "beta2 must be at least 0 and below 1"),
        (lambda: optimise.get("lamb", learning_rate=0.1, epsilon=0), "epsilon must be above 0"),
        (lambda: optimise.clip_factor(1.0, 0.0), "limit of a norm must be above 0"),
        (lambda: optimise.LossScale(backoff=1.0), "0 < backoff < 1"),
    ],
)
def test_parameters_out_of_range_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_an_unknown_optimiser_is_told_with_those_that_are() -> None:
    with pytest.raises(KeyError, match="no optimiser is called 'adm'; known: sgd, momentum"):
        optimise.get("adm", learning_rate=0.1)


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BFLOAT16], ids=str)
def test_clipping_shortens_all_arrays_together_and_only_if_they_are_too_long(dtype: Any) -> None:
    arrays = [np.full((2, 3), 3, dtype), np.full(4, -4, dtype)]
    norm = float(np.sqrt(6 * 9 + 4 * 16))
    assert optimise.clip_by_global_norm(arrays, 100.0) == pytest.approx(norm)
    assert arrays[0].ravel().tolist() == [3] * 6
    assert optimise.clip_by_global_norm(arrays, norm / 2) == pytest.approx(norm)
    np.testing.assert_array_equal(arrays[0], np.full((2, 3), 1.5, dtype))
    np.testing.assert_array_equal(arrays[1], np.full(4, -2, dtype))
    # four ranks with the same arrays: the norm over all of them is twice as long
    squares = 4 * norms.number(norms.square_sum(arrays))
    assert optimise.clip_by_global_norm(arrays, norm / 2, squares) == pytest.approx(norm)
    np.testing.assert_array_equal(arrays[1], np.full(4, -1, dtype))


def test_a_clip_factor_as_the_scale_of_a_step_is_clipping_before_it() -> None:
    weights, (gradient,) = case(4, 50, 1, np.float64, np.float64)
    square = float(np.sum(gradient**2))
    scaled = stepped("sgd", weights, [gradient], scale=optimise.clip_factor(square, 0.5))
    optimise.clip_by_global_norm([gradient], 0.5)
    np.testing.assert_allclose(scaled, stepped("sgd", weights, [gradient]), rtol=1e-14)
    assert np.linalg.norm(gradient) == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_gradients_that_are_no_numbers_are_not_clipped_but_told(bad: float) -> None:
    array = np.array([1.0, bad])
    with pytest.raises(FloatingPointError, match="skip this step on every rank"):
        optimise.clip_by_global_norm([array], 1.0)
    assert array[0] == 1


def test_the_loss_scale_follows_overflows_and_long_good_runs() -> None:
    scale = optimise.LossScale(factor=8.0, interval=3)
    history = [scale]
    for overflowed in (False, False, False, True, False, True):
        history.append(history[-1].after(overflowed=overflowed))
    assert [scale.factor for scale in history] == [8, 8, 8, 16, 8, 8, 4]
    assert [scale.good for scale in history] == [0, 1, 2, 0, 0, 1, 0]
    grown = replace(scale, factor=2.0**126, interval=1)
    for _ in range(3):
        grown = grown.after(overflowed=False)
    assert np.isfinite(np.float32(grown.factor))
