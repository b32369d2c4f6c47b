"""Arrays that show themselves by DLPack, read without taking them over: the exporter keeps its memory.

Layout: dlpack.h, versions 0.8 and 1.x (https://dmlc.github.io/dlpack/latest/c_api.html).
"""

from __future__ import annotations

import ctypes
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from collectives import memory
from collectives.foreign import Foreign

__all__ = ["foreign", "is_cuda", "is_host", "view"]

_HOST = (1, 3, 11, 13)  # kDLCPU, kDLCUDAHost, kDLROCMHost, kDLCUDAManaged: the processor can reach it
_CUDA = 2  # kDLCUDA
_READ_ONLY = 1
_CODES = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}
_FLOAT, _BFLOAT = 2, 4


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


def is_host(buffer: object) -> bool:
    """Whether the object shows memory that the processor can reach by DLPack."""
    return _where(buffer) in _HOST


def is_cuda(buffer: object) -> bool:
    """Whether the object shows memory of a CUDA device by DLPack."""
    return _where(buffer) == _CUDA


def foreign(buffer: object, stream: int) -> Foreign:
    """An array on a device; the exporter makes ``stream`` wait for what it has queued."""
    capsule = _exported(buffer, stream)
    tensor, read_only = _unpacked(capsule)
    dtype = _dtype(tensor)
    strides = None
    if tensor.strides:
        strides = tuple(step * dtype.itemsize for step in tensor.strides[: tensor.ndim])
    address = (tensor.data or 0) + tensor.byte_offset
    return Foreign(capsule, address, tuple(tensor.shape[: tensor.ndim]), strides, dtype, read_only, None)


def view(buffer: object) -> NDArray[Any]:
    """The array's memory, flat, read-only where the exporter says so; BufferError where NumPy can't show it."""
    capsule = _exported(buffer)
    tensor, read_only = _unpacked(capsule)
    dtype = _dtype(tensor)
    shape = tensor.shape[: tensor.ndim]
    count = int(np.prod(shape, dtype=np.int64))
    strides = tensor.strides[: tensor.ndim] if tensor.strides and count else None  # NULL: row by row
    if strides is not None and not _contiguous(shape, strides) and not _contiguous(shape[::-1], strides[::-1]):
        raise BufferError("dlpack: the array is not contiguous")
    address = (tensor.data or 0) + tensor.byte_offset
    return memory.at(address, count * dtype.itemsize, capsule, read_only=read_only).view(dtype)


def _where(buffer: object) -> int | None:
    """DLPack's number for the kind of device; None for what shows no DLPack."""
    where = getattr(buffer, "__dlpack_device__", None)
    return int(where()[0]) if where is not None and hasattr(buffer, "__dlpack__") else None


def _exported(buffer: object, stream: int | None = None) -> object:
    export = cast("Any", buffer).__dlpack__
    ordered = {} if stream is None else {"stream": stream}
    try:
        return export(max_version=(1, 0), copy=False, **ordered)
    except TypeError:  # an exporter from before DLPack 1.0 takes neither
        return export(**ordered)


def _unpacked(capsule: object) -> tuple[_Tensor, bool]:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    valid = ctypes.pythonapi.PyCapsule_IsValid
    valid.restype, valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
    if valid(capsule, b"dltensor_versioned"):
        managed = _Versioned.from_address(pointer(capsule, b"dltensor_versioned"))
        if managed.major != 1:
            raise BufferError(f"dlpack: version {managed.major} is not known")
        return managed.tensor, bool(managed.flags & _READ_ONLY)
    if valid(capsule, b"dltensor"):
        return _Tensor.from_address(pointer(capsule, b"dltensor")), False
    raise BufferError("dlpack: no tensor in the capsule")


def _dtype(tensor: _Tensor) -> np.dtype[Any]:
    if tensor.code == _FLOAT and tensor.lanes == 2:  # how some exporters spell complex
        return np.dtype(f"c{tensor.bits // 4}")
    if tensor.lanes != 1 or tensor.bits % 8:
        raise BufferError(f"dlpack: elements of {tensor.bits} bits in {tensor.lanes} lanes are not supported")
    if tensor.code == _BFLOAT and tensor.bits == 16:
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    try:
        return np.dtype(f"{_CODES[tensor.code]}{tensor.bits // 8}")
    except (KeyError, TypeError):
        raise BufferError(f"dlpack: type code {tensor.code} with {tensor.bits} bits is not supported") from None


def _contiguous(shape: list[int], strides: list[int]) -> bool:
    step = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length > 1 and stride != step:
            return False
        step *= length
    return True
