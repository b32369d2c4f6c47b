"""The arrays of one step, checked against each other, and the form of the kernels that works where they live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
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
    named = {"weights": weights, "gradient": gradient, **{f"state[{i}]": array for i, array in enumerate(state)}}
    if copy is not None:
        named["copy"] = copy
    if isinstance(weights, np.ndarray):
        found, form = {name: _hosted(name, array) for name, array in named.items()}, _cpu()
    else:
        found, form = {name: _shown(name, array) for name, array in named.items()}, _cuda()
    _check_dtypes(found)
    _check_places(found)
    kept = tuple(found[f"state[{i}]"] for i in range(len(state)))
    return Operands(form, found["weights"], found["gradient"], kept, found.get("copy"))


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
    from kernels.cuda.device import current

    if isinstance(array, DeviceArray):
        found = array
    else:
        device = current()
        if device is None or not hasattr(array, "__cuda_array_interface__"):
            raise TypeError(
                f"{name} is a {type(array).__name__}: pass NumPy arrays, or arrays of a device that is here"
            )
        found = DeviceArray.shown(array, device)
    if name != "gradient" and found.read_only:
        raise BufferError(f"{name} is read-only, and a step writes to it")
    return found


def _check_dtypes(arrays: dict[str, Any]) -> None:
    master = arrays["weights"].dtype
    if master.name not in MASTERS:
        raise ValueError(f"weights must be float32 or float64, not {master.name}; keep a float32 master of halves")
    halves = HALVES if master.name == "float32" else ()
    allowed = {"gradient": (master.name, *halves), "copy": halves}
    for name, array in arrays.items():
        fitting = allowed.get(name, (master.name,))
        if array.dtype.name not in fitting:
            wanted = " or ".join(fitting) or "left out"
            raise ValueError(f"{name} must be {wanted} beside weights of {master.name}, not {array.dtype.name}")


def _check_places(arrays: dict[str, Any]) -> None:
    size = arrays["weights"].size
    for name, array in arrays.items():
        if array.size != size:
            raise ValueError(f"{name} has {array.size} elements and the weights have {size}")
    spans = sorted((_address(array), _address(array) + array.nbytes, name) for name, array in arrays.items())
    for (_, stop, one), (start, _, other) in pairwise(spans):
        if start < stop and size:
            raise ValueError(f"{one} and {other} overlap in memory: a step wants arrays of their own")


def _address(array: Any) -> int:
    return array.address if isinstance(array, DeviceArray) else array.__array_interface__["data"][0]


def _cpu() -> Form:
    from kernels.cpu import optimise

    return cast("Form", optimise)


def _cuda() -> Form:
    from kernels.cuda import optimise

    return cast("Form", optimise)
