"""Models as wholes: their gradients, where they begin, that a run repeats itself, and that they learn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from experiments.errors import UsageFault
from experiments.training import datasets, models
from experiments.training.batches import Batches
from experiments.training.dataset import Dataset
from experiments.training.flat import Flat
from experiments.training.model import Model, Scores

TEXT = "python-sources:length=200000,context=16"
CASES = {
    "softmax": "digits",
    "mlp:hidden=16x12": "digits",
    "convnet:channels=3x5,hidden=9": "digits",
    "transformer:layers=2,width=12,heads=3": TEXT,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads on a busy core spend 50 times as long waiting for each other."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Model, Dataset]:
    data = datasets.get(CASES[request.param])
    return models.get(request.param, data), data


def test_a_models_gradient_is_its_finite_difference(case: tuple[Model, Dataset]) -> None:
    """Along a random direction in all parameters at once; every parameter's own is in test_layers."""
    model, data = case
    x, targets = data.inputs[:5], data.targets[:5]
    x = x.astype(np.float64) if x.dtype == np.float32 else x
    begin, chance = model.initial(1), np.random.default_rng(1)
    weights = Flat(begin.shapes, begin.vector + 0.1 * chance.standard_normal(begin.vector.size))
    gradients, middle = weights.like(), weights.vector.copy()
    scores = model.gradient(weights, x, targets, gradients)
    assert scores == model.score(weights, x, targets)
    for _ in range(3):
        direction, step = chance.standard_normal(middle.size), 1e-6
        around: list[float] = []
        for sign in (1, -1):
            weights.vector[...] = middle + sign * step * direction
            around.append(model.score(weights, x, targets).loss)
        assert (around[0] - around[1]) / (2 * step) == pytest.approx(gradients.vector @ direction, rel=1e-4, abs=1e-3)


def test_what_is_ready_is_an_end_of_the_vector_and_stays(case: tuple[Model, Dataset]) -> None:
    model, data = case
    weights = model.initial(0)
    whole, growing = weights.like(), weights.like()
    model.gradient(weights, data.inputs[:4], data.targets[:4], whole)
    heard: list[str] = []

    def ready(layer: object) -> None:
        heard.append(layer.name)
        ends = [growing.ranges[f"{layer.name}.{key}"][0] for key in layer.shapes()]
        if ends:
            assert (growing.vector[min(ends) :] == whole.vector[min(ends) :]).all()

    model.gradient(weights, data.inputs[:4], data.targets[:4], growing, ready)
    assert heard == [layer.name for layer in reversed(model.layers)]
    model.gradient(weights, data.inputs[:4], data.targets[:4], growing)
    np.testing.assert_array_equal(growing.vector, 2 * whole.vector)  # added, and doubling is exact


def test_samples_add_up(case: tuple[Model, Dataset]) -> None:
    """Shares of a batch have gradients, losses and right predictions that sum to the batch's."""
    model, data = case
    weights = model.initial(0)
    whole, parts = weights.like(), weights.like()
    scores = model.gradient(weights, data.inputs[:6], data.targets[:6], whole)
    found = [model.gradient(weights, data.inputs[at], data.targets[at], parts) for at in (slice(2), slice(2, 6))]
    np.testing.assert_allclose(parts.vector, whole.vector, rtol=0, atol=1e-5 * np.abs(whole.vector).max())
    assert Scores(*map(sum, zip(*found, strict=True))) == (pytest.approx(scores.loss, rel=1e-6), *scores[1:])
    assert scores.samples == data.targets[:6].size


def test_the_same_samples_give_the_same_bits_wherever_they_lie(case: tuple[Model, Dataset]) -> None:
    model, data = case
    weights = model.initial(0)
    first = weights.like()
    model.gradient(weights, data.inputs[:8], data.targets[:8], first)
    for offset in (1, 3):  # elsewhere in memory, as on another rank
        moved = Flat(weights.shapes, np.concatenate([np.zeros(offset, np.float32), weights.vector])[offset:])
        x = np.concatenate([data.inputs[:offset], data.inputs[:8]])[offset:]
        again = Flat(weights.shapes, np.zeros(weights.vector.size + offset, np.float32)[offset:])
        model.gradient(moved, x, data.targets[:8], again)
        assert (again.vector == first.vector).all()


def test_it_begins_as_the_seed_says(case: tuple[Model, Dataset]) -> None:
    model, _ = case
    assert (model.initial(5).vector == model.initial(5).vector).all()
    assert (model.initial(5).vector != model.initial(6).vector).any()


def test_weights_begin_by_the_stated_rules() -> None:
    model = models.get("mlp:hidden=200x150", datasets.get("digits"))
    begin = model.initial(0)
    for name, inputs in (("hidden1.weight", 64), ("hidden2.weight", 200)):
        assert begin[name].var() == pytest.approx(2 / inputs, rel=0.05)
        assert begin[name].mean() == pytest.approx(0, abs=0.01)
    bound = np.sqrt(6 / (150 + 10))
    assert 0.98 * bound < np.abs(begin["output.weight"]).max() <= bound
    assert begin["output.weight"].var() == pytest.approx(bound**2 / 3, rel=0.1)
    assert not begin["hidden1.bias"].any()


def test_sizes_are_as_spelled() -> None:
    digits, text = datasets.get("digits"), datasets.get(TEXT)
    assert models.names() == ["softmax", "mlp", "convnet", "transformer"]
    assert models.get("mlp:hidden=7", digits).shapes()["output.weight"] == (7, 10)
    assert models.get("convnet:channels=2x3,hidden=5", digits).shapes()["hidden.weight"] == (2 * 2 * 3, 5)
    shapes = models.get("transformer:layers=3,width=8,heads=2", text).shapes()
    assert shapes["embedding.positions"] == (16, 8)
    assert shapes["block3.attention.heads.input"] == (8, 3, 2, 4)
    assert shapes["block3.mlp.wide.weight"] == (8, 32)


def test_layers_of_one_shape_begin_differently() -> None:
    begin = models.get("transformer:layers=2,width=8", datasets.get(TEXT)).initial(0)
    assert (begin["block1.mlp.wide.weight"] != begin["block2.mlp.wide.weight"]).all()


@pytest.mark.parametrize(
    ("model", "dataset", "words"),
    [
        ("mpl", "digits", "no model is called 'mpl'; known: mlp, "),
        ("mlp:width=3", "digits", "mlp has no parameter 'width'; known: hidden"),
        ("mlp:hidden=3x0", "digits", "hidden must be whole numbers such as 256x128, got '3x0'"),
        ("transformer:width=64x2", TEXT, "width must be a whole number of at least 1, got '64x2'"),
        ("transformer:width=10,heads=4", TEXT, "a width of 10 cannot be shared by 4 heads"),
        ("transformer", "digits", "is for text, and digits is pictures: take python-sources"),
        ("convnet", TEXT, "is for pictures, and python-sources is text: take the transformer"),
        ("convnet:channels=1x1x1x1", "digits", "4 pools of 2 by 2 leave nothing"),
    ],
)
def test_what_cannot_be_is_said(model: str, dataset: str, words: str) -> None:
    with pytest.raises(UsageFault) as fault:
        models.get(model, datasets.get(dataset))
    assert words in str(fault.value)


@pytest.mark.parametrize(
    ("text", "rate", "epochs", "least"),
    [("softmax", 0.1, 10, 0.93), ("mlp", 0.05, 12, 0.96), ("convnet", 0.05, 8, 0.94)],
)
def test_pictures_are_learnt(text: str, rate: float, epochs: int, least: float) -> None:
    data = datasets.get("digits")
    model = models.get(text, data)
    assert _trained(model, data, rate, 64, epochs * (len(data.inputs) // 64)).accuracy >= least


def test_text_is_learnt() -> None:
    """Far below the entropy of single characters, which is the best that a model without memory can do."""
    data = datasets.get(TEXT)
    shares = np.bincount(data.targets.ravel(), minlength=256) / data.targets.size
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    model = models.get("transformer:layers=1,width=32,heads=2", data)
    scores = _trained(model, data, 0.3, 16, 400)
    assert scores.loss / scores.samples < 0.8 * entropy


def _trained(model: Model, data: Dataset, rate: float, batch: int, steps: int) -> Scores:
    """Scores on the test samples after momentum 0.9 for so many steps."""
    weights = model.initial(0)
    gradients, velocity = weights.like(), weights.like()
    batches = Batches(len(data.inputs), batch, 1)
    for step in range(1, steps + 1):
        at = batches.of(step)[0]
        gradients.vector[...] = 0
        scores = model.gradient(weights, data.inputs[at], data.targets[at], gradients)
        velocity.vector *= 0.9
        velocity.vector -= rate / scores.samples * gradients.vector
        weights.vector += velocity.vector
    return model.score(weights, data.test_inputs, data.test_targets)
