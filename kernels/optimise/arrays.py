"""The arrays of one step, checked against each other, and the form of the kernels that works where they live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from kernels.device_array import DeviceArray

__all__ = ["Array", "Form", "Operands", "operands", "zeros_like"]

Array = Any
"""A NumPy array, a DeviceArray, or what shows itself by ``__cuda_array_interface__``."""

HALVES = "float16", "bfloat16"
MASTERS = "float32", "float64"


class Form(Protocol):
    """What kernels/cpu/optimise.py and kernels/cuda/optimise.py both offer."""

    def sweep(
        self, formula: Callable[..., Any], weights: Any, gradient: Any, state: tuple[Any, ...],
        coefficients: tuple[float, ...], *, scale: float, trust: Any, update: Any, copy: Any,
    ) -> None:  # fmt: skip
        """Apply a formula to all elements; the first coefficient is multiplied by ``trust`` if that is given."""
        ...

    def trust(self, weights: Any, other: Any, coefficients: tuple[float, float, float]) -> Any:
        """‖weights‖ against ‖other‖, as ``kernels.formulas.optimise.trust`` has it."""
        ...


@dataclass(frozen=True, slots=True)
class Operands:
    """Arrays that fit each other, in one place."""

    form: Form
    weights: Array
    gradient: Array
    state: tuple[Array, ...]
    copy: Array | None


def operands(weights: Array, gradient: Array, state: tuple[Array, ...], copy: Array | None) -> Operands:
    """The arrays with their form; ValueError says which of them does not fit, BufferError which cannot be used."""
    names = _names(len(state), copied=copy is not None)
    given = (weights, gradient, *state) if copy is None else (weights, gradient, *state, copy)
    hosted = isinstance(weights, np.ndarray)
    placed = _hosted if hosted else _shown
    found = [placed(name, array) for name, array in zip(names, given, strict=True)]
    _check_dtypes(names, tuple(array.dtype for array in found))
    _check_places(names, found)
    kept = tuple(found[2 : 2 + len(state)])
    return Operands(_cpu() if hosted else _cuda(), found[0], found[1], kept, None if copy is None else found[-1])


@cache
def _names(states: int, *, copied: bool) -> tuple[str, ...]:
    """What the arrays are called where one does not fit."""
    return ("weights", "gradient", *(f"state[{i}]" for i in range(states)), *["copy"] * copied)


def zeros_like(weights: Array) -> Array:
    """New zeros of the same length and dtype, in the same place."""
    if isinstance(weights, np.ndarray):
        return np.zeros_like(cast("NDArray[Any]", weights))
    like = _shown("weights", weights)
    zeros = np.zeros(like.size, like.dtype)
    array = like.device.allocate(like.nbytes, like.stream).view(like.dtype)
    like.device.copy_in(array, zeros, like.stream)
    like.device.synchronize(like.stream)  # the zeros on this side are needed until then
    return array


def _hosted(name: str, array: Array) -> NDArray[Any]:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__} and the weights are a NumPy array: keep all in one place")
    found = cast("NDArray[Any]", array)
    if found.ndim != 1 or not found.flags.c_contiguous:
        raise ValueError(f"{name} must be 1-D and contiguous, not of shape {found.shape} and strides {found.strides}")
    if name != "gradient" and not found.flags.writeable:
        raise BufferError(f"{name} is read-only, and a step writes to it")
    return found


def _shown(name: str, array: Array) -> DeviceArray:
    found = DeviceArray.here(array, name)
    if name != "gradient" and found.read_only:
        raise BufferError(f"{name} is read-only, and a step writes to it")
    return found


@cache
def _check_dtypes(names: tuple[str, ...], dtypes: tuple[np.dtype[Any], ...]) -> None:
    """Once for every mix of dtypes that passes."""
    master = dtypes[0].name
    if master not in MASTERS:
        raise ValueError(f"weights must be float32 or float64, not {master}; keep a float32 master of halves")
    halves = HALVES if master == "float32" else ()
    allowed = {"gradient": (master, *halves), "copy": halves}
    for name, dtype in zip(names, dtypes, strict=True):
        fitting = allowed.get(name, (master,))
        if dtype.name not in fitting:
            wanted = " or ".join(fitting) or "left out"
            raise ValueError(f"{name} must be {wanted} beside weights of {master}, not {dtype.name}")


def _check_places(names: tuple[str, ...], arrays: list[Any]) -> None:
    size = arrays[0].size
    for name, array in zip(names, arrays, strict=True):
        if array.size != size:
            raise ValueError(f"{name} has {array.size} elements and the weights have {size}")
    for (one, array), (other, beside) in combinations(zip(names, arrays, strict=True), 2):
        if _overlap(array, beside):
            raise ValueError(f"{one} and {other} overlap in memory: a step wants arrays of their own")


def _overlap(array: Any, other: Any) -> bool:
    if isinstance(array, DeviceArray):
        return array.address < other.address + other.nbytes and other.address < array.address + array.nbytes
    return np.may_share_memory(array, other)  # a tenth of the time that it takes to ask for an address


@cache
def _cpu() -> Form:
    from kernels.cpu import optimise

    return cast("Form", optimise)


@cache
def _cuda() -> Form:
    from kernels.cuda import optimise

    return cast("Form", optimise)
