"""Neural networks as a training step sees them: parameters and work, layer group by layer group.

Sizes follow from the published shapes by arithmetic, and tests hold their sums against the published totals.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

__all__ = ["Architecture", "Group", "get", "names"]


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that get their gradients together. ``operations``: multiply-adds of one sample's forward pass."""

    name: str
    parameters: int
    operations: float


@dataclass(frozen=True, slots=True)
class Architecture:
    """``groups`` in the order of the forward pass. ``sample``: what one sample is. ``source``: who published it."""

    name: str
    groups: tuple[Group, ...]
    sample: str
    source: str

    @property
    def parameters(self) -> int:
        """How many there are in all."""
        return sum(group.parameters for group in self.groups)

    @property
    def operations(self) -> float:
        """Multiply-adds of one sample's forward pass."""
        return sum(group.operations for group in self.groups)

    def forward_seconds(self, samples: int, flops: float) -> float:
        """Seconds of a forward pass at ``flops`` floating-point operations per second, two to a multiply-add.

        A backward pass takes twice as long, since it has two matrix products for each one of the forward pass.
        """
        if samples < 1 or not flops > 0:
            raise ValueError(f"a step needs at least 1 sample and more than 0 FLOP/s, got {samples} and {flops}")
        return 2 * self.operations * samples / flops


def names() -> list[str]:
    """The architectures that are known."""
    return list(_register())


def get(name: str) -> Architecture:
    """The architecture called ``name``; a KeyError lists the known ones, nearest first."""
    if name not in _register():
        known = sorted(_register(), key=lambda other: -difflib.SequenceMatcher(None, name, other).ratio())
        raise KeyError(f"no architecture is called {name!r}; known: {', '.join(known)}")
    return _register()[name]()


# --- convolutions -------------------------------------------------------------------------------------------------


def _resnet50() -> Architecture:
    stages = ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7))  # channels inside, blocks, pixels a side
    groups = [Group("conv1", 7 * 7 * 3 * 64 + 2 * 64, 7 * 7 * 3 * 64 * 112**2)]
    entering = 64
    for stage, (inside, blocks, side) in enumerate(stages, start=2):
        for block in range(blocks):
            groups.append(_bottleneck(f"conv{stage}_{block + 1}", entering, inside, side, first=not block))
            entering = 4 * inside
    groups.append(Group("fc", 2048 * 1000 + 1000, 2048 * 1000))
    return Architecture(
        "resnet50", tuple(groups), "an image of 224 x 224 pixels",
        "He, Zhang, Ren and Sun, Deep residual learning for image recognition (2016), table 1",
    )  # fmt: skip


def _bottleneck(name: str, entering: int, inside: int, side: int, *, first: bool) -> Group:
    """1x1, 3x3 and 1x1 convolutions with batch normalisation (two parameters a channel); the first block projects."""
    leaving = 4 * inside
    weights = entering * inside + 9 * inside**2 + inside * leaving + (entering * leaving if first else 0)
    normalisation = 2 * (2 * inside + leaving + (leaving if first else 0))
    return Group(name, weights + normalisation, weights * side**2)


# --- transformers -------------------------------------------------------------------------------------------------


def _transformer(width: int, blocks: int, tokens: int) -> list[Group]:
    """Blocks of attention (4d² weights) and a perceptron (8d²), with biases and two normalisations.

    Besides the weights each token meets all others twice: 2·tokens·d multiply-adds (Narayanan et al., "Efficient
    large-scale language model training on GPU clusters", 2021, appendix).
    """
    attention = 4 * width**2, 4 * width + 2 * width
    perceptron = 8 * width**2, 5 * width + 2 * width
    groups: list[Group] = []
    for block in range(1, blocks + 1):
        meeting = 2 * tokens * width * tokens
        groups.append(Group(f"attention {block}", sum(attention), attention[0] * tokens + meeting))
        groups.append(Group(f"perceptron {block}", sum(perceptron), perceptron[0] * tokens))
    return groups


def _bert_large() -> Architecture:
    width, tokens = 1024, 512
    embeddings = Group("embeddings", (30522 + 512 + 2) * width + 2 * width, 0.0)
    pooler = Group("pooler", width**2 + width, width**2)
    return Architecture(
        "bert-large", (embeddings, *_transformer(width, 24, tokens), pooler), "a sequence of 512 tokens",
        "Devlin, Chang, Lee and Toutanova, BERT (2019), section 3",
    )  # fmt: skip


def _gpt2_xl() -> Architecture:
    width, tokens, words = 1600, 1024, 50257
    embeddings = Group("embeddings", (words + tokens) * width, 0.0)
    # The output layer's weights are those of the embeddings, whose gradients are complete only at the very end.
    output = Group("output", 2 * width, words * width * tokens)
    return Architecture(
        "gpt2-xl", (embeddings, *_transformer(width, 48, tokens), output), "a sequence of 1024 tokens",
        "Radford et al., Language models are unsupervised multitask learners (2019), table 2",
    )  # fmt: skip


@cache
def _register() -> Mapping[str, Callable[[], Architecture]]:
    return MappingProxyType({"resnet50": _resnet50, "bert-large": _bert_large, "gpt2-xl": _gpt2_xl})
