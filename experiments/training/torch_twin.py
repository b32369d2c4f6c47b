"""The same model with PyTorch's forward passes and automatic differentiation, where PyTorch is installed.

A twin is a ``Model`` too: the same tensors in the same flat vector, so every strategy drives it as it is. Arrays of
the host are lent to PyTorch and back without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from experiments.errors import UsageFault
from experiments.training.arrays import namespace
from experiments.training.flat import Array, Shape
from experiments.training.layer import Layer, Tensors, tensors
from experiments.training.layers.activation import Gelu, Relu
from experiments.training.layers.attention import CausalAttention
from experiments.training.layers.convolution import Convolution, MaxPool
from experiments.training.layers.embedding import Embedding
from experiments.training.layers.linear import Linear
from experiments.training.layers.normalisation import LEAST_VARIANCE, LayerNorm
from experiments.training.layers.residual import Residual
from experiments.training.layers.shape import Flatten
from experiments.training.losses import SoftmaxCrossEntropy
from experiments.training.model import Model

__all__ = ["Twin", "twin"]

Tensor = Any
"""A torch.Tensor: PyTorch is no requirement, so its types may be missing."""


def twin(model: Model) -> Model:
    """The same model by PyTorch. UsageFault where that is not installed, or has no twin for a layer."""
    try:
        import torch  # noqa: F401 # pyright: ignore[reportMissingImports, reportUnusedImport]
    except ImportError:
        raise UsageFault("the backend torch needs PyTorch, which is not installed: pip install torch") from None
    strangers = sorted({type(layer).__name__ for layer in _inner(model.layers)} - {kind.__name__ for kind in _FORWARD})
    if strangers or not isinstance(model.loss, SoftmaxCrossEntropy):
        raise UsageFault(f"the backend torch has no twin for {', '.join(strangers) or type(model.loss).__name__}")
    return replace(model, layers=tuple(map(Twin, model.layers)), loss=_Loss())


def _inner(layers: tuple[Layer, ...]) -> list[Layer]:
    """All layers, and those within residuals."""
    return [each for layer in layers for each in (layer, *_inner(getattr(layer, "body", ())))]


class _Kept(NamedTuple):
    x: Tensor
    weights: Mapping[str, Tensor]
    y: Tensor


@dataclass(frozen=True, slots=True)
class Twin:
    """One layer: forward by PyTorch, backward by what that has recorded."""

    layer: Layer

    @property
    def name(self) -> str:
        """The layer's."""
        return self.layer.name

    def shapes(self) -> Mapping[str, Shape]:
        """The layer's."""
        return self.layer.shapes()

    def initial(self, chance: np.random.Generator) -> Mapping[str, Array]:
        """The layer's, so that twins begin alike."""
        return self.layer.initial(chance)

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """The layer's."""
        return self.layer.operations(x)

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, _Kept]:
        """Keeps the graph."""
        lent = {key: _lent(array).requires_grad_() for key, array in weights.items()}
        into = _lent(x)
        into.requires_grad_(into.is_floating_point() and not getattr(self.layer, "first", False))
        y = _forward(self.layer, lent, into)
        return _returned(y, x), _Kept(into, lent, y)

    def backward(self, weights: Tensors, kept: _Kept, dy: Array, gradients: Tensors) -> Array:  # noqa: ARG002 - a layer's signature
        """Automatic differentiation through this layer alone."""
        if dy is None:
            return None
        wanted = {**kept.weights, "": kept.x} if kept.x.requires_grad else dict(kept.weights)
        found = dict(zip(wanted, _gradients(kept.y, list(wanted.values()), _lent(dy)), strict=True))
        for key in kept.weights:
            sums = gradients[key]
            sums += _returned(found[key], dy)
        return _returned(found[""], dy) if "" in found else None


@dataclass(frozen=True, slots=True)
class _Loss:
    """Softmax cross entropy by PyTorch."""

    def __call__(self, outputs: Array, targets: Array) -> tuple[float, int, Array]:
        """As ``SoftmaxCrossEntropy``."""
        functional: Any = _torch().nn.functional
        rows, wanted = _lent(outputs.reshape(-1, outputs.shape[-1])).requires_grad_(), _lent(targets.reshape(-1))
        loss = functional.cross_entropy(rows, wanted, reduction="sum")
        (slopes,) = _gradients(loss, [rows], None)
        right = (rows.detach().argmax(1) == wanted).sum()
        return float(loss.detach()), int(right), _returned(slopes, outputs).reshape(outputs.shape)


def _torch() -> Any:
    import torch  # pyright: ignore[reportMissingImports]

    return torch  # pyright: ignore[reportUnknownVariableType]


def _lent(array: Array) -> Tensor:
    """The array's memory as a tensor, on the host or on a card."""
    return _torch().as_tensor(array)


def _returned(tensor: Tensor, like: Array) -> Array:
    """The tensor's memory as an array of the kind of ``like``."""
    plain = tensor.detach()
    return plain.numpy() if isinstance(like, np.ndarray) else namespace(like).asarray(plain)


def _gradients(of: Tensor, wanted: list[Tensor], slopes: Tensor | None) -> tuple[Tensor, ...]:
    return _torch().autograd.grad(of, wanted, slopes) if wanted else ()


# --- one forward pass for each kind of layer ----------------------------------------------------------------------


def _forward(layer: Layer, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return _FORWARD[type(layer)](_torch().nn.functional, layer, weights, x)


def _linear(functional: Any, layer: Linear, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return functional.linear(x, weights["weight"].T, weights["bias"])


def _relu(functional: Any, layer: Relu, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return functional.relu(x)


def _gelu(functional: Any, layer: Gelu, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


def _flatten(functional: Any, layer: Flatten, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return x.reshape(len(x), -1)


def _convolution(functional: Any, layer: Convolution, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    kernel = weights["weight"].permute(3, 2, 0, 1)
    y = functional.conv2d(x.permute(0, 3, 1, 2), kernel, weights["bias"], layer.stride, layer.padding)
    return y.permute(0, 2, 3, 1).contiguous()


def _pool(functional: Any, layer: MaxPool, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return functional.max_pool2d(x.permute(0, 3, 1, 2), layer.size).permute(0, 2, 3, 1).contiguous()


def _norm(functional: Any, layer: LayerNorm, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return functional.layer_norm(x, (layer.width,), weights["scale"], weights["shift"], LEAST_VARIANCE)


def _embedding(functional: Any, layer: Embedding, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return functional.embedding(x.long(), weights["codes"]) + weights["positions"][: x.shape[1]]


def _attention(functional: Any, layer: CausalAttention, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    samples, length, width = x.shape
    rows = x @ weights["input"].reshape(width, -1) + weights["input_bias"].reshape(-1)
    thirds = rows.reshape(samples, length, 3, layer.heads, layer.size).permute(2, 0, 3, 1, 4)
    mixed = functional.scaled_dot_product_attention(*thirds, is_causal=True)
    return mixed.transpose(1, 2).reshape(samples, length, -1) @ weights["output"] + weights["output_bias"]


def _residual(functional: Any, layer: Residual, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    y = x
    for each in layer.body:
        y = _forward(each, tensors(each, weights), y)
    return x + y


_FORWARD: Mapping[type, Callable[..., Tensor]] = MappingProxyType(
    {
        Linear: _linear, Relu: _relu, Gelu: _gelu, Flatten: _flatten, Convolution: _convolution, MaxPool: _pool,
        LayerNorm: _norm, Embedding: _embedding, CausalAttention: _attention, Residual: _residual,
    }
)  # fmt: skip
