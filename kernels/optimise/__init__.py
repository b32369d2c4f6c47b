"""Optimiser steps, each one fused pass over memory, with what goes around them: clipping and loss scaling.

    adam = optimise.get("adamw", learning_rate=1e-3, weight_decay=0.01)
    state = adam.state(weights)
    adam.step(weights, gradient, state, 1)  # then 2, 3, ...

An optimiser is a frozen value: a schedule of learning rates is ``dataclasses.replace(adam, learning_rate=...)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType

from kernels.optimise.clipping import clip_by_global_norm, clip_factor
from kernels.optimise.large_batch import LAMB, LARS
from kernels.optimise.loss_scale import LossScale
from kernels.optimise.methods import SGD, Adagrad, Adam, AdamW, Momentum, Nesterov
from kernels.optimise.optimiser import Optimiser

__all__ = ["LAMB", "LARS", "SGD", "Adagrad", "Adam", "AdamW", "LossScale", "Momentum", "Nesterov", "Optimiser",
           "clip_by_global_norm", "clip_factor", "get", "names"]  # fmt: skip

_METHODS: Mapping[str, type[Optimiser]] = MappingProxyType(
    {method.name: method for method in (SGD, Momentum, Nesterov, Adagrad, Adam, AdamW, LARS, LAMB)}
)


def get(name: str, **parameters: float) -> Optimiser:
    """The optimiser called ``name``; ``learning_rate`` is wanted by all, the rest have the defaults of their sources.

    A KeyError lists the known names, a ValueError the parameters that the optimiser has.
    """
    if name not in _METHODS:
        raise KeyError(f"no optimiser is called {name!r}; known: {', '.join(_METHODS)}")
    known = [field.name for field in fields(_METHODS[name])]
    for key in parameters:
        if key not in known:
            raise ValueError(f"{name} has no parameter {key!r}; it takes {', '.join(known)}")
    if "learning_rate" not in parameters:
        raise ValueError(f"{name} needs a learning_rate, and takes {', '.join(known)}")
    return _METHODS[name](**parameters)


def names() -> list[str]:
    """All names, the simplest first."""
    return list(_METHODS)
