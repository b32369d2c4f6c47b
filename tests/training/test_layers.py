"""Backward passes written by hand against central finite differences of the forward passes, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from experiments.training.flat import Flat
from experiments.training.layer import Layer
from experiments.training.layers.activation import Gelu, Relu
from experiments.training.layers.attention import CausalAttention
from experiments.training.layers.convolution import Convolution, MaxPool
from experiments.training.layers.embedding import Embedding
from experiments.training.layers.linear import Linear
from experiments.training.layers.normalisation import LayerNorm
from experiments.training.layers.residual import Residual
from experiments.training.layers.shape import Flatten
from experiments.training.losses import SoftmaxCrossEntropy

STEP = 1e-5
CLOSE = 1e-7
"""Of the greatest difference: central differences err by some STEP² times the third derivative, and 1e-16 / STEP."""

Drawn = Callable[[int, int], int]
"""A whole number between two."""


def linear(number: Drawn, chance: np.random.Generator) -> tuple[Layer, Any]:
    layer = Linear("layer", number(1, 5), number(1, 4), relu=True)
    return layer, chance.standard_normal((number(1, 4), *[number(1, 3)] * number(0, 1), layer.inputs))


def relu(number: Drawn, chance: np.random.Generator) -> tuple[Layer, Any]:
    x = chance.uniform(0.1, 1, (number(1, 4), number(1, 5)))
    return Relu("layer"), x * chance.choice([-1, 1], x.shape)  # away from the bend, which has no slope


def gelu(number: Drawn, chance: np.random.Generator) -> tuple[Layer, Any]:
    return Gelu("layer"), 3 * chance.standard_normal((number(1, 4), number(1, 5)))


def flatten(number: Drawn, chance: np.random.Generator) -> tuple[Layer, Any]:
    return Flatten("layer"), chance.standard_normal((number(1, 4), 2, number(1, 3)))


def norm(number: Drawn, chance: np.random.Generator) -> tuple[Layer, Any]:
    layer = LayerNorm("layer", number(2, 5))
    return layer, _spread(chance, number(1, 4), number(1, 3), layer.width)


def convolution(number: Drawn, chance: np.random.Generator) -> tuple[Layer, Any]:
    layer = Convolution("layer", number(1, 3), number(1, 3), number(1, 3), number(1, 3), number(0, 2))
    sides = layer.size + number(0, 4), layer.size + number(0, 4)
    return layer, chance.standard_normal((number(1, 3), *sides, layer.inputs))


def pool(number: Drawn, chance: np.random.Generator) -> tuple[Layer, Any]:
    size = number(1, 3)
    shape = number(1, 3), size + number(0, 4), size + number(0, 4), number(1, 3)
    return MaxPool("layer", size), chance.permutation(np.prod(shape)).reshape(shape) / 10  # no two dots are equal


def attention(number: Drawn, chance: np.random.Generator) -> tuple[Layer, Any]:
    layer = CausalAttention("layer", number(1, 5), number(1, 3), number(1, 3))
    return layer, chance.standard_normal((number(1, 3), number(1, 5), layer.width))


def embedding(number: Drawn, chance: np.random.Generator) -> tuple[Layer, Any]:
    layer = Embedding("layer", number(1, 6), number(1, 5), number(1, 4))
    codes = chance.integers(layer.codes, size=(number(1, 4), number(1, layer.context)), dtype=np.uint8)
    return layer, codes


def residual(number: Drawn, chance: np.random.Generator) -> tuple[Layer, Any]:
    body = LayerNorm("norm", 4), Linear("wide", 4, number(1, 6)), Gelu("gelu")
    layer = Residual("layer", (*body, Linear("narrow", body[1].outputs, 4)))
    return layer, _spread(chance, number(1, 4), 4)


LAYERS = [linear, relu, gelu, flatten, norm, convolution, pool, attention, embedding, residual]


@pytest.mark.parametrize("drawn", LAYERS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_gradients_are_finite_differences(drawn: Any, data: st.DataObject) -> None:
    chance = np.random.default_rng(data.draw(st.integers(0, 1 << 32), "seed"))
    layer, x = drawn(lambda low, high: data.draw(st.integers(low, high)), chance)
    weights = _weights(layer, chance)
    y, kept = layer.forward(weights, x)
    dy = chance.standard_normal(y.shape)
    gradients = Flat(weights.shapes, chance.standard_normal(weights.vector.size))
    before = gradients.vector.copy()
    dx = layer.backward(weights, kept, dy.copy(), gradients)

    def total() -> float:
        return float((layer.forward(weights, x)[0] * dy).sum())

    _assert_close(gradients.vector - before, _differences(total, weights.vector))  # added to what was there
    if x.dtype == np.float64:
        _assert_close(dx, _differences(total, x))


@pytest.mark.parametrize("drawn", LAYERS)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_shapes_and_dtypes_are_as_stated(drawn: Any, data: st.DataObject) -> None:
    chance = np.random.default_rng(0)
    layer, x = drawn(lambda low, high: data.draw(st.integers(low, high)), chance)
    x = x.astype(np.float32) if x.dtype == np.float64 else x
    begin = layer.initial(chance)
    assert {key: (start.shape, start.dtype) for key, start in begin.items()} == {
        key: (shape, np.float32) for key, shape in layer.shapes().items()
    }
    y, kept = layer.forward(begin, x)
    assert (y.shape, y.dtype) == (layer.operations(x.shape)[0], np.float32)
    dx = layer.backward(begin, kept, y, {key: start.copy() for key, start in begin.items()})
    assert dx is None or (dx.shape, dx.dtype) == (x.shape, x.dtype)


def test_samples_do_not_meet() -> None:
    """A convolution or an attention that mixed samples up would have right gradients of a wrong function."""
    chance = np.random.default_rng(0)
    for drawn in LAYERS:
        layer, x = drawn(lambda low, high: high, chance)
        weights = _weights(layer, chance)
        apart = [layer.forward(weights, x[at : at + 1])[0] for at in range(len(x))]
        np.testing.assert_allclose(layer.forward(weights, x)[0], np.concatenate(apart), rtol=1e-12, atol=1e-12)


def test_a_convolution_is_the_sum_over_its_window() -> None:
    chance = np.random.default_rng(1)
    layer = Convolution("layer", 2, 3, size=3, stride=2, padding=1)
    weights, x = _weights(layer, chance), chance.standard_normal((2, 5, 6, 2))
    around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    wanted = np.empty((2, 3, 3, 3))
    for row, column in np.ndindex(3, 3):
        window = around[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        wanted[:, row, column] = np.einsum("nijc,ijcf->nf", window, weights["weight"]) + weights["bias"]
    np.testing.assert_allclose(layer.forward(weights, x)[0], wanted, rtol=1e-12)


def test_activations_have_their_published_values() -> None:
    y, kept = Relu("relu").forward({}, np.array([-1.0, 0.0, 2.0]))
    assert y.tolist() == [0, 0, 2]
    assert Relu("relu").backward({}, kept, np.ones(3), {}).tolist() == [0, 0, 1]
    x = np.linspace(-4, 4, 41)
    y, _ = Gelu("gelu").forward({}, x)
    np.testing.assert_allclose(y, x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), rtol=1e-12)
    np.testing.assert_allclose(y, x / 2 * (1 + erf(x / np.sqrt(2))), atol=5e-4)  # what it stands for


def test_a_norm_leaves_mean_shift_and_deviation_scale() -> None:
    x = np.array([[1.0, 2.0, 6.0], [-1e-3, 0.0, 1e-3]])
    y, _ = LayerNorm("norm", 3).forward({"scale": np.full(3, 2.0), "shift": np.full(3, 5.0)}, x)
    np.testing.assert_allclose(y.mean(-1), 5, rtol=1e-12)
    np.testing.assert_allclose(y.var(-1), 4 * x.var(-1) / (x.var(-1) + 1e-5), rtol=1e-12)


def test_attention_is_the_published_formula() -> None:
    chance = np.random.default_rng(4)
    layer = CausalAttention("layer", 5, 3, 2)
    weights, x = _weights(layer, chance), chance.standard_normal((4, 5))
    found = []
    for head in range(3):
        project = weights["input"][:, :, head]
        queries, keys, values = (x @ project[:, third] + weights["input_bias"][third, head] for third in range(3))
        shares = np.tril(np.exp(queries @ keys.T / np.sqrt(2)))
        found.append(shares / shares.sum(1, keepdims=True) @ values)
    wanted = np.concatenate(found, 1) @ weights["output"] + weights["output_bias"]
    np.testing.assert_allclose(layer.forward(weights, x[None])[0][0], wanted, rtol=1e-10)
    assert np.isfinite(layer.forward(weights, 1e6 * x[None])[0]).all()


def test_multiplications_are_counted() -> None:
    assert Linear("linear", 3, 5).operations((2, 4, 3)) == ((2, 4, 5), 2 * 4 * 3 * 5)
    assert Convolution("convolution", 2, 7).operations((3, 4, 5, 2)) == ((3, 4, 5, 7), 3 * 4 * 5 * 7 * 9 * 2)
    into, scores, out = 2 * 6 * 8 * 3 * 8, 2 * 2 * 6 * 6 * 8, 2 * 6 * 8 * 8
    assert CausalAttention("attention", 8, 2, 4).operations((2, 6, 8)) == ((2, 6, 8), into + scores + out)
    assert Residual("residual", (Linear("linear", 3, 3),) * 2).operations((2, 3)) == ((2, 3), 2 * 2 * 3 * 3)


def test_of_equal_dots_one_has_the_gradient() -> None:
    layer, x = MaxPool("pool"), np.zeros((1, 4, 4, 1))
    _, kept = layer.forward({}, x)
    dx = layer.backward({}, kept, np.ones((1, 2, 2, 1)), {})
    assert dx[0, :, :, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_attention_does_not_look_ahead() -> None:
    chance = np.random.default_rng(2)
    layer = CausalAttention("layer", 4, 2, 2)
    weights, x = _weights(layer, chance), chance.standard_normal((1, 6, 4))
    y, _ = layer.forward(weights, x)
    x[0, 3:] += 1
    later, _ = layer.forward(weights, x)
    assert (later[0, :3] == y[0, :3]).all()
    assert (later[0, 3:] != y[0, 3:]).all()


def test_heads_may_be_shared_out() -> None:
    """Half of the heads on each of two ranks give the whole output as a sum, which tensor parallelism lives from."""
    chance = np.random.default_rng(3)
    whole, half = CausalAttention("layer", 6, 4, 2), CausalAttention("layer", 6, 2, 2)
    weights, x = _weights(whole, chance), chance.standard_normal((2, 5, 6))
    parts = [
        {
            "input": weights["input"][:, :, at : at + 2],
            "input_bias": weights["input_bias"][:, at : at + 2],
            "output": weights["output"][2 * at : 2 * at + 4],
            "output_bias": weights["output_bias"] / 2,
        }
        for at in (0, 2)
    ]
    together = sum(half.forward(part, x)[0] for part in parts)
    np.testing.assert_allclose(together, whole.forward(weights, x)[0], rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=2), st.integers(2, 6), st.integers(0, 1 << 32))
def test_the_gradient_of_the_loss_is_its_finite_difference(shape: list[int], classes: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    outputs, targets = chance.standard_normal((*shape, classes)), chance.integers(classes, size=shape)
    loss, right, slopes = SoftmaxCrossEntropy()(outputs, targets)
    _assert_close(slopes, _differences(lambda: SoftmaxCrossEntropy()(outputs, targets)[0], outputs))
    shares = np.exp(outputs) / np.exp(outputs).sum(-1, keepdims=True)
    assert loss == pytest.approx(-np.log(np.take_along_axis(shares, targets[..., None], -1)).sum(), rel=1e-12)
    assert right == (shares.argmax(-1) == targets).sum()


def test_the_loss_of_huge_outputs_is_finite() -> None:
    outputs = np.array([[3e38, -3e38], [-3e38, -3e38]], np.float32)
    loss, right, slopes = SoftmaxCrossEntropy()(outputs / 4, np.array([0, 1]))
    assert (loss, right) == (pytest.approx(np.log(2)), 1)
    assert slopes.tolist() == [[0, 0], [0.5, -0.5]]


def _spread(chance: np.random.Generator, *shape: int) -> Any:
    """No two equal along the last axis: where all are, a norm bends too sharply for finite differences."""
    return chance.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1) + chance.uniform(-0.3, 0.3, shape)


def _weights(layer: Layer, chance: np.random.Generator) -> Flat:
    weights = Flat.zeros(layer.shapes(), np.float64)
    weights.vector[...] = chance.standard_normal(weights.vector.size)
    return weights


def _differences(function: Callable[[], float], at: Any) -> Any:
    """For each element of ``at``, which is changed in place and back, the slope of the function."""
    slopes = np.empty(at.shape)
    for index in np.ndindex(at.shape):
        middle = at[index]
        at[index] = middle + STEP
        above = function()
        at[index] = middle - STEP
        slopes[index] = (above - function()) / (2 * STEP)
        at[index] = middle
    return slopes


def _assert_close(gradient: Any, wanted: Any) -> None:
    np.testing.assert_allclose(gradient, wanted, rtol=0, atol=CLOSE * max(1.0, np.abs(wanted).max(initial=0)))
