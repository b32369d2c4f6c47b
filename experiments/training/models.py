"""The models, by name, in the sizes that a data set asks for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from experiments.errors import UsageFault
from experiments.training.dataset import Dataset
from experiments.training.layer import Layer
from experiments.training.layers.activation import Relu
from experiments.training.layers.linear import Linear
from experiments.training.layers.shape import Flatten
from experiments.training.losses import SoftmaxCrossEntropy
from experiments.training.model import Model
from experiments.training.spelling import spelled

__all__ = ["get", "names"]


def names() -> list[str]:
    """All models, the smallest first."""
    return list(_KNOWN)


def get(text: str, data: Dataset) -> Model:
    """The model that ``text`` spells, for this data: "softmax", "mlp:hidden=256x128".

    UsageFault for what is unknown, and where the model does not suit the data.
    """
    return Model(text, spelled("model", text, _KNOWN)(data), SoftmaxCrossEntropy())


def _softmax(data: Dataset) -> tuple[Layer, ...]:
    """Softmax regression."""
    return (Flatten("flatten"), Linear("output", _dots(data, "softmax"), data.classes))


def _mlp(data: Dataset, hidden: tuple[int, ...] = (256, 128)) -> tuple[Layer, ...]:
    """Linear layers with a ReLU between each two."""
    layers: list[Layer] = [Flatten("flatten")]
    for number, (inputs, outputs) in enumerate(pairwise((_dots(data, "mlp"), *hidden)), 1):
        layers += Linear(f"hidden{number}", inputs, outputs, relu=True), Relu(f"relu{number}")
    return (*layers, Linear("output", hidden[-1], data.classes))


def _dots(data: Dataset, model: str) -> int:
    """How many numbers a picture has."""
    if not np.issubdtype(data.inputs.dtype, np.floating):
        raise UsageFault(f"the model {model} is for pictures, and {data.name} is text: take the transformer")
    return math.prod(data.inputs.shape[1:])


_KNOWN: Mapping[str, Callable[..., tuple[Layer, ...]]] = MappingProxyType({"softmax": _softmax, "mlp": _mlp})
