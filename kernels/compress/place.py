"""Where arrays live, and which form of an encoding works there; arrays that do not fit are named with what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from kernels import norms
from kernels.compress.encoding import Buffer

if TYPE_CHECKING:
    from kernels.device_array import DeviceArray

__all__ = ["checked_counter", "checked_share", "fitting", "form", "largest", "on_host", "writable"]

FLOAT, BYTE = np.dtype(np.float32), np.dtype(np.uint8)

Flat = Any  # a one-dimensional NDArray, or a DeviceArray


def fitting(
    nbytes: Callable[[int], int], floats: Sequence[Buffer], wires: Sequence[Buffer], count: int | None = None
) -> tuple[list[Flat], list[Flat]]:
    """The arrays flat, once they are of the right dtypes and lengths and in one place; no copies."""
    place = _flat_here if isinstance((*floats, *wires)[0], np.ndarray) else _flat_there
    numbers = [place(array, FLOAT, "values") for array in floats]
    messages = [place(array, BYTE, "wire") for array in wires]
    count = len(numbers[0]) if count is None else count
    for array in numbers:
        if len(array) != count:
            raise ValueError(f"values and residual must be of one length, got {count} and {len(array)} elements")
    for array in messages:
        if len(array) != nbytes(count):
            raise ValueError(f"the wire of {count} elements has {nbytes(count)} bytes, got {len(array)}")
    return numbers, messages


def form(name: str, flat: Flat) -> Any:
    """The module of ``kernels.cpu`` or ``kernels.cuda`` for an array that ``fitting`` gave."""
    return import_module(f"kernels.{'cpu' if isinstance(flat, np.ndarray) else 'cuda'}.{name}")


def writable(*arrays: Flat) -> None:
    """Raise ValueError for an array that must not be written."""
    for array in arrays:
        flags = getattr(array, "flags", None)
        if array.read_only if flags is None else not flags.writeable:
            raise ValueError(f"{'wire' if array.dtype == BYTE else 'values'} must be writable: pass a copy")


def checked_counter(counter: int) -> None:
    """Raise ValueError unless it is a uint64."""
    if not 0 <= counter < 2**64:
        raise ValueError(f"counter={counter} must be from 0 to 2**64 - 1")


def largest(values: Buffer) -> float:
    """The largest magnitude; 0 of nothing, NaN where there is one. One pass over memory; waits for a device."""
    return norms.number(norms.absmax([values]))


def on_host(values: Buffer) -> NDArray[np.float32]:
    """The values flat; from a device a copy, once its stream has come so far."""
    if isinstance(values, np.ndarray):
        return _flat_here(values, FLOAT, "values")
    there = _flat_there(values, FLOAT, "values")
    host = np.empty(len(there), FLOAT)
    there.device.copy_out(host, there, there.stream)
    there.device.synchronize(there.stream)
    return host


def checked_share(name: str, share: Fraction) -> None:
    """Raise ValueError unless ``share`` is a part of the whole."""
    if not 0 < share <= 1:
        raise ValueError(f"{name}: share={share} must be above 0 and at most 1")


def _flat_here(array: Buffer, dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    if not isinstance(array, np.ndarray):
        raise BufferError(f"{what}: a {type(array).__name__} beside NumPy arrays; put all arrays in one place")
    given = cast("NDArray[Any]", array)
    _expect(given.dtype, dtype, what)
    if not given.flags.c_contiguous:
        raise ValueError(f"{what} must be contiguous: pass a contiguous copy")
    return given.reshape(-1)


def _flat_there(array: Buffer, dtype: np.dtype[Any], what: str) -> DeviceArray:
    from kernels.cuda.device import current
    from kernels.device_array import DeviceArray

    if isinstance(array, DeviceArray):
        _expect(array.dtype, dtype, what)
        return array
    device = current()
    if device is None or not hasattr(array, "__cuda_array_interface__"):
        raise BufferError(f"{what}: a {type(array).__name__} is neither a NumPy array nor on a device that is here")
    shown = DeviceArray.shown(array, device)
    _expect(shown.dtype, dtype, what)
    return shown


def _expect(found: np.dtype[Any], wanted: np.dtype[Any], what: str) -> None:
    if found != wanted:
        raise TypeError(f"{what} must be {wanted.name}, got {found.name}: convert them first")
