"""PyTorch's automatic differentiation against the passes written by hand; without PyTorch, what is said about that."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.errors import UsageFault
from experiments.training import datasets, models, torch_twin
from experiments.training.flat import Flat
from experiments.training.layers.convolution import Convolution, MaxPool
from experiments.training.layers.linear import Linear
from experiments.training.layers.shape import Flatten
from experiments.training.layers.unweighted import Unweighted
from experiments.training.losses import SoftmaxCrossEntropy
from experiments.training.model import Model
from experiments.training.parallel_layers.plan import share

STRIDES = Model(
    "strides",
    (
        Convolution("c1", 1, 3, size=2, stride=2, padding=2, first=True),
        Convolution("c2", 3, 4, padding=0),
        MaxPool("pool", 3),
        Flatten("flatten"),
        Linear("output", 4, 10),
    ),
    SoftmaxCrossEntropy(),
)


@pytest.mark.parametrize("text", ["softmax", "mlp:hidden=9x7", "convnet", "transformer:width=12,heads=3", "strides"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_twins_agree(text: str, dtype: type) -> None:
    pytest.importorskip("torch")
    data = datasets.get("python-sources:length=2000,context=16" if text.startswith("transformer") else "digits")
    model = STRIDES if text == "strides" else models.get(text, data)
    x, targets = data.inputs[:8], data.targets[:8]
    x = x.astype(dtype) if x.dtype == np.float32 else x
    twin, begin = torch_twin.twin(model), model.initial(3)
    weights = Flat(begin.shapes, begin.vector.astype(dtype))
    assert (twin.initial(3).vector == begin.vector).all()
    ours, theirs = weights.like(), weights.like()
    heard: list[str] = []
    by_hand = model.gradient(weights, x, targets, ours)
    automatic = twin.gradient(weights, x, targets, theirs, lambda layer: heard.append(layer.name))
    close = 3e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(theirs.vector, ours.vector, rtol=0, atol=close * np.abs(ours.vector).max())
    assert automatic.loss == pytest.approx(by_hand.loss, rel=close)
    assert automatic[1:] == by_hand[1:]
    assert heard == [layer.name for layer in reversed(model.layers)]
    assert twin.score(weights, x, targets).loss == pytest.approx(by_hand.loss, rel=close)


def test_a_layer_without_a_twin_is_named() -> None:
    pytest.importorskip("torch")

    class Odd(Unweighted):
        name = "odd"

    with pytest.raises(UsageFault, match="no twin for Odd"):
        torch_twin.twin(replace(STRIDES, layers=(*STRIDES.layers, Odd())))


def test_twins_are_not_cut_among_ranks() -> None:
    with pytest.raises(UsageFault, match="cannot be cut among ranks: take the backend numpy"):
        share([torch_twin.Twin(layer) for layer in STRIDES.layers], SimpleNamespace(size=2))


def test_without_pytorch_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageFault, match="pip install torch"):
        models.get("softmax", datasets.get("digits"), "torch")
    with pytest.raises(UsageFault, match="no backend is called 'tensorflow'; known: numpy, torch"):
        models.get("softmax", datasets.get("digits"), "tensorflow")
