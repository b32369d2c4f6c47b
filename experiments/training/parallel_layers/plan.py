"""Which layers of a model are cut how for a team of ranks.

Two linear layers (or convolutions) with nothing but layers that work on each unit alone between them are cut as a
pair: the first by its outputs, the second by its inputs, so the pair needs one sum each way (Megatron-LM, figure 3a).
Attention is cut by heads (figure 3b). A layer that stands alone is cut by whichever side is larger. All else
(embeddings, norms, biases after a sum) is whole at every rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from experiments.errors import UsageFault
from experiments.training.layer import Layer
from experiments.training.layers.activation import Gelu, Relu
from experiments.training.layers.attention import CausalAttention
from experiments.training.layers.convolution import Convolution, MaxPool
from experiments.training.layers.linear import Linear
from experiments.training.layers.residual import Residual
from experiments.training.layers.shape import Flatten
from experiments.training.parallel_layers.cuts import Cut
from experiments.training.parallel_layers.operators import Copied, Gathered, Partial, Scattered, Summed
from experiments.training.parallel_layers.team import Team
from experiments.training.torch_twin import Twin

__all__ = ["Shared", "share"]

_Product = Linear | Convolution
_EACH_UNIT_ALONE = Relu | Gelu | MaxPool | Flatten


@dataclass(frozen=True, slots=True)
class Shared:
    """This rank's ``layers``, with the tensors' names of the whole ones; ``cuts``: the tensors that are not whole."""

    layers: tuple[Layer, ...]
    cuts: Mapping[str, Cut]


def share(layers: Sequence[Layer], team: Team) -> Shared:
    """This rank's share of ``layers``.

    UsageFault where a layer has fewer units than the team has ranks, with the sizes that work.
    """
    if team.size == 1:
        return Shared(tuple(layers), {})
    if any(isinstance(layer, Twin) for layer in layers):
        raise UsageFault("layers of the backend torch cannot be cut among ranks: take the backend numpy")
    plan = _Plan(team)
    plan.walk(layers)
    units, name = min(plan.units, default=(team.size, ""))
    if units < team.size:
        raise UsageFault(
            f"{name} has {units} units, too few for {team.size} ranks: this model can be cut for up to {units}"
        )
    return Shared(tuple(plan.layers), plan.cuts)


@dataclass(slots=True)
class _Plan:
    team: Team
    layers: list[Layer] = field(default_factory=list[Layer])
    cuts: dict[str, Cut] = field(default_factory=dict[str, Cut])
    units: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def walk(self, layers: Sequence[Layer]) -> None:
        """Plan one layer, or one pair, after the other."""
        at = 0
        while at < len(layers):
            layer, last = layers[at], at
            if isinstance(layer, _Product):
                last = _partner(layers, at)
                self._products(layers[at : last + 1])
            elif isinstance(layer, CausalAttention):
                self._attention(layer)
            elif isinstance(layer, Residual):
                self._residual(layer)
            else:
                self.layers.append(layer)
            at = last + 1

    def _products(self, layers: Sequence[Layer]) -> None:
        first, last = layers[0], layers[-1]
        assert isinstance(first, _Product)
        assert isinstance(last, _Product)
        if len(layers) == 1 and first.outputs <= first.inputs:
            self.layers.append(Scattered(f"{first.name}.scattered", self.team, first.inputs))
            return self._by_inputs(first, first.inputs)
        self.layers.append(Copied(f"{first.name}.copied", self.team))
        self._by_outputs(first)
        if len(layers) == 1:
            return self.layers.append(Gathered(f"{first.name}.gathered", self.team, first.outputs))
        self.layers += layers[1:-1]
        return self._by_inputs(last, first.outputs)

    def _by_outputs(self, layer: _Product) -> None:
        lo, hi = self._share(layer.name, layer.outputs)
        self.layers.append(replace(layer, outputs=hi - lo))
        weight = layer.shapes()["weight"]
        self.cuts[f"{layer.name}.weight"] = Cut(weight, len(weight) - 1)
        self.cuts[f"{layer.name}.bias"] = Cut((layer.outputs,), 0)

    def _by_inputs(self, layer: _Product, units: int) -> None:
        """``units`` are the inputs, or after a Flatten the channels that each have some of them."""
        lo, hi = self._share(layer.name, units)
        part = replace(layer, inputs=layer.inputs // units * (hi - lo))
        self.layers += Partial(part, self.team), Summed(f"{layer.name}.summed", self.team)
        others = math.prod(layer.shapes()["weight"]) // (units * layer.outputs)
        self.cuts[f"{layer.name}.weight"] = Cut((others, units, layer.outputs), 1)

    def _attention(self, layer: CausalAttention) -> None:
        lo, hi = self._share(layer.name, layer.heads)
        self.layers.append(Copied(f"{layer.name}.copied", self.team))
        part = Partial(replace(layer, heads=hi - lo), self.team, added=("output_bias",))
        self.layers += part, Summed(f"{layer.name}.summed", self.team)
        self.cuts |= {
            f"{layer.name}.input": Cut(layer.shapes()["input"], 2),
            f"{layer.name}.input_bias": Cut(layer.shapes()["input_bias"], 1),
            f"{layer.name}.output": Cut((layer.heads, layer.size * layer.width), 0),
        }

    def _residual(self, layer: Residual) -> None:
        body = _Plan(self.team)
        body.walk(layer.body)
        self.layers.append(replace(layer, body=tuple(body.layers)))
        self.cuts |= {f"{layer.name}.{name}": cut for name, cut in body.cuts.items()}
        self.units += [(units, f"{layer.name}.{name}") for units, name in body.units]

    def _share(self, name: str, units: int) -> tuple[int, int]:
        self.units.append((units, name))
        return self.team.share(units)


def _partner(layers: Sequence[Layer], at: int) -> int:
    """Where the second of the pair is that begins here; the same place if there is none."""
    for place in range(at + 1, len(layers)):
        if isinstance(layers[place], _Product):
            return place
        if not isinstance(layers[place], _EACH_UNIT_ALONE):
            break
    return at
