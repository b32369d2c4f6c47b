"""Layers cut among ranks against whole ones, in float64: outputs, and gradients of the input and of every tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from collectives import Communicator
from experiments.errors import UsageFault
from experiments.training.flat import Flat
from experiments.training.layer import Layer
from experiments.training.layers.activation import Gelu, Relu
from experiments.training.layers.attention import CausalAttention
from experiments.training.layers.convolution import Convolution, MaxPool
from experiments.training.layers.linear import Linear
from experiments.training.layers.normalisation import LayerNorm
from experiments.training.layers.residual import Residual
from experiments.training.layers.shape import Flatten
from experiments.training.model import tensors
from experiments.training.parallel_layers.cuts import gather, scatter
from experiments.training.parallel_layers.plan import share
from experiments.training.parallel_layers.team import Team
from experiments.training.stage import shapes_between

SIZE, RANK = MPI.COMM_WORLD.size, MPI.COMM_WORLD.rank
Array = np.ndarray[Any, np.dtype[Any]]
WIDTH = 18

CASES: dict[str, tuple[tuple[int, ...], tuple[Layer, ...]]] = {
    "pair": ((3, 7), (Linear("one", 7, 11), Gelu("gelu"), Linear("two", 11, 4))),
    "more-outputs-than-inputs": ((3, 7), (LayerNorm("norm", 7), Linear("one", 7, 13))),
    "fewer-outputs-than-inputs": ((3, 13), (Linear("one", 13, 5), LayerNorm("norm", 5))),
    "pictures": (
        (2, 6, 6, 2),
        (
            Convolution("one", 2, 10), Relu("relu"), MaxPool("pool"), Flatten("flatten"), Linear("two", 90, 12),
            Relu("relu2"), Linear("three", 12, 10), Relu("relu3"), Linear("four", 10, 9),
        ),
    ),
    "convolutions": ((2, 5, 5, 2), (Convolution("one", 2, 9), Relu("relu"), Convolution("two", 9, 2, stride=2))),
    "transformer": (
        (2, 5, WIDTH),
        (
            Residual("attention", (LayerNorm("norm", WIDTH), CausalAttention("heads", WIDTH, 9, 2))),
            Residual("mlp", (LayerNorm("norm", WIDTH), Linear("a", WIDTH, 20), Gelu("gelu"), Linear("b", 20, WIDTH))),
        ),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    comm = Communicator(MPI.COMM_WORLD).Dup()
    yield Team(comm)
    comm.Free()


def passes(layers: Sequence[Layer], weights: Flat, x: Array, dy: Array) -> tuple[Array, Array, Flat]:
    """Output, gradient of the input, and those of the parameters."""
    gradients, kept = weights.like(), []
    for layer in layers:
        x, keep = layer.forward(tensors(layer, weights), x)
        kept.append(keep)
    for layer in reversed(layers):
        dy = layer.backward(tensors(layer, weights), kept.pop(), dy, tensors(layer, gradients))
    return x, dy, gradients


def shapes(layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
    return {f"{layer.name}.{key}": shape for layer in layers for key, shape in layer.shapes().items()}


@pytest.mark.parametrize("name", CASES)
def test_shares_compute_what_whole_layers_do(name: str, team: Team) -> None:
    shape, layers = CASES[name]
    chance = np.random.default_rng(7)
    weights = Flat.zeros(shapes(layers), np.float64)
    weights.vector[:] = chance.standard_normal(weights.vector.size) / 4
    x = chance.standard_normal(shape)
    dy = chance.standard_normal(shapes_between(layers, shape)[-1])
    shared = share(layers, team)
    part = Flat.zeros(shapes(shared.layers), np.float64)
    scatter(weights, part, shared.cuts, team)
    whole, mine = passes(layers, weights, x, dy), passes(shared.layers, part, x, dy)
    found = gather(mine[2], weights.shapes, shared.cuts, team)
    for wanted, got in ((whole[0], mine[0]), (whole[1], mine[1]), (whole[2].vector, found.vector)):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)
    if SIZE > 1:
        assert part.vector.size < weights.vector.size
        agree_on_whole_tensors(mine[2], shared.cuts)


def agree_on_whole_tensors(gradients: Flat, cuts: Any) -> None:
    """What every rank keeps whole must stay the same everywhere, to the last bit, or ranks drift apart."""
    mine = np.concatenate([np.zeros(1), *(gradients[name].ravel() for name in gradients if name not in cuts)])
    first = mine.copy()
    MPI.COMM_WORLD.Bcast(first)
    assert mine.tobytes() == first.tobytes()


def test_what_nothing_before_learns_from_is_not_summed(team: Team) -> None:
    layers = (Linear("one", 7, 11, first=True), Linear("two", 11, 4))
    before = team.nbytes
    shared = share(layers, team)
    part = Flat.zeros(shapes(shared.layers))
    passes(shared.layers, part, np.ones((3, 7), np.float32), np.ones((3, 4), np.float32))
    assert team.nbytes - before == (0 if SIZE == 1 else team._sums.sent(12)), "one sum, forward"


def test_too_few_units_are_told_with_the_sizes_that_work(team: Team) -> None:
    if SIZE > 2:
        with pytest.raises(UsageFault, match=rf"block.heads has 2 units, too few for {SIZE} ranks: .* for up to 2"):
            share((Residual("block", (CausalAttention("heads", 4, 2, 2),)),), team)
