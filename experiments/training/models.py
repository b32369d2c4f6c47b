"""The models, by name, in the sizes that a data set asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from experiments.errors import UsageFault
from experiments.training import torch_twin
from experiments.training.dataset import Dataset
from experiments.training.flat import Shape
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
from experiments.training.model import Model
from experiments.training.spelling import spelled

__all__ = ["BACKENDS", "get", "names"]


BACKENDS = ("numpy", "torch")
"""Who works out gradients: the layers by hand, or PyTorch's automatic differentiation."""


def names() -> list[str]:
    """All models, the smallest first."""
    return list(_KNOWN)


def get(text: str, data: Dataset, backend: str = "numpy") -> Model:
    """The model that ``text`` spells, for this data: "softmax", "mlp:hidden=256x128",
    "convnet:channels=8x16,hidden=64", "transformer:layers=2,width=64,heads=4".

    UsageFault for what is unknown, where the model does not suit the data, and where PyTorch is wanted and missing.
    """
    if backend not in BACKENDS:
        raise UsageFault(f"no backend is called {backend!r}; known: {', '.join(BACKENDS)}")
    model = Model(text, spelled("model", text, _KNOWN)(data), SoftmaxCrossEntropy())
    return torch_twin.twin(model) if backend == "torch" else model


def _softmax(data: Dataset) -> tuple[Layer, ...]:
    """Softmax regression."""
    return (Flatten("flatten"), Linear("output", _dots(data, "softmax"), data.classes, first=True))


def _mlp(data: Dataset, hidden: tuple[int, ...] = (256, 128)) -> tuple[Layer, ...]:
    """Linear layers with a ReLU between each two."""
    layers: list[Layer] = [Flatten("flatten")]
    for number, (inputs, outputs) in enumerate(pairwise((_dots(data, "mlp"), *hidden)), 1):
        layers += Linear(f"hidden{number}", inputs, outputs, relu=True, first=number == 1), Relu(f"relu{number}")
    return (*layers, Linear("output", hidden[-1], data.classes))


def _convnet(data: Dataset, channels: tuple[int, ...] = (8, 16), hidden: int = 64) -> tuple[Layer, ...]:
    """3 by 3 convolutions with a ReLU and a pool of 2 by 2 after each, then a perceptron of one hidden layer."""
    _dots(data, "convnet")
    layers: list[Layer] = []
    for number, (inputs, outputs) in enumerate(pairwise((data.inputs.shape[-1], *channels)), 1):
        convolution = Convolution(f"convolution{number}", inputs, outputs, first=number == 1)
        layers += convolution, Relu(f"relu{number}"), MaxPool(f"pool{number}")
    dots = _after(layers, data)
    if not dots:
        raise UsageFault(f"{len(channels)} pools of 2 by 2 leave nothing of the pictures of {data.name}")
    head = (
        Flatten("flatten"),
        Linear("hidden", dots, hidden, relu=True),
        Relu("relu"),
        Linear("output", hidden, data.classes),
    )
    return (*layers, *head)


def _transformer(data: Dataset, layers: int = 2, width: int = 64, heads: int = 4) -> tuple[Layer, ...]:
    """Radford et al. 2018 with the norms before (Xiong et al. 2020, figure 1b); MLPs are four times as wide."""
    if data.targets.ndim != 2:
        raise UsageFault(f"the model transformer is for text, and {data.name} is pictures: take python-sources")
    if width % heads:
        raise UsageFault(f"transformer: a width of {width} cannot be shared by {heads} heads")
    start = Embedding("embedding", data.classes, data.inputs.shape[1], width)
    blocks = [each for number in range(1, layers + 1) for each in _block(f"block{number}", width, heads)]
    return (start, *blocks, LayerNorm("norm", width), Linear("output", width, data.classes))


def _block(name: str, width: int, heads: int) -> tuple[Layer, Layer]:
    attention = CausalAttention("heads", width, heads, width // heads)
    mlp = Linear("wide", width, 4 * width), Gelu("gelu"), Linear("narrow", 4 * width, width)
    return (
        Residual(f"{name}.attention", (LayerNorm("norm", width), attention)),
        Residual(f"{name}.mlp", (LayerNorm("norm", width), *mlp)),
    )


def _after(layers: list[Layer], data: Dataset) -> int:
    """How many numbers these layers make of a sample."""
    shape: Shape = (1, *data.inputs.shape[1:])
    for layer in layers:
        shape, _ = layer.operations(shape)
    return math.prod(shape)


def _dots(data: Dataset, model: str) -> int:
    """How many numbers a picture has."""
    if not np.issubdtype(data.inputs.dtype, np.floating):
        raise UsageFault(f"the model {model} is for pictures, and {data.name} is text: take the transformer")
    return math.prod(data.inputs.shape[1:])


_KNOWN: Mapping[str, Callable[..., tuple[Layer, ...]]] = MappingProxyType(
    {"softmax": _softmax, "mlp": _mlp, "convnet": _convnet, "transformer": _transformer}
)
