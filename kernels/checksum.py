"""Checksums for integrity from end to end: sum up a buffer before it is sent and after, where it lives.

    crc = checksum.get("crc32c")
    crc(buffer)                                       # an int
    combined(crc(first), crc(second), second.nbytes)  # of both together, without another pass

A buffer is a contiguous NumPy array or anything with Python's buffer protocol, or lies on a device (DeviceArray,
``__cuda_array_interface__``): then kernels read it there, and little more than the result crosses to the host, for
which the call waits. Bytes are taken as they lie in memory, so little-endian machines agree with each other.
None of these is of use against an attacker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from kernels.device_array import DeviceArray

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["PIECE", "Checksum", "combined", "get", "names"]

PIECE = 4096
"""Bytes of which xxh64_tree makes one digest: enough to hide its end, few enough for a device to have many at once."""

ONES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Checksum:
    """``checksum(buffer)`` is a number of ``bits`` bits. Cost: the buffer read once."""

    name: str
    bits: int
    _on_host: Callable[[NDArray[np.uint8]], int]
    _on_device: Callable[[DeviceArray], int]

    def __call__(self, buffer: Any) -> int:
        """The checksum of the buffer's bytes. BufferError or ValueError for what is not contiguous."""
        if hasattr(buffer, "__cuda_array_interface__") and not isinstance(buffer, np.ndarray):
            return self._on_device(DeviceArray.here(buffer).view(np.uint8))
        return self._on_host(_octets(buffer))


def get(name: str) -> Checksum:
    """``crc32c``, ``xxh64`` or ``xxh64_tree``; a KeyError lists them.

    crc32c: Castagnoli's polynomial, as in iSCSI and ext4 (RFC 3720, section 12.1): finds every burst of up to 32 bits.
    xxh64: xxHash's 64 bits with seed 0; one chain of steps, and so not for devices.
    xxh64_tree: xxh64 of the little-endian xxh64 of each 4,096 bytes (the last may be fewer); a format of our own.
    """
    if name not in _CHECKSUMS:
        raise KeyError(f"no checksum is called {name!r}; known: {', '.join(_CHECKSUMS)}")
    return _CHECKSUMS[name]


def names() -> list[str]:
    """All names."""
    return list(_CHECKSUMS)


def combined(first: int, second: int, second_nbytes: int) -> int:
    """The crc32c of two buffers one after the other, from their own. Takes about log2(second_nbytes) products."""
    if second_nbytes < 0:
        raise ValueError(f"a buffer cannot have {second_nbytes} bytes")
    form = _cpu()
    return int(form.folded(np.array([first, second], np.uint32), np.uint64(form.power(second_nbytes))))


def _octets(buffer: Any) -> NDArray[np.uint8]:
    """The bytes of a buffer, without a copy."""
    if isinstance(buffer, np.ndarray):
        array = cast("NDArray[Any]", buffer)
        if not array.flags.c_contiguous:
            raise ValueError(f"a checksum wants a contiguous array, not strides {array.strides}: pass a copy")
        octets = array.reshape(-1).view(np.uint8)
    else:
        octets = np.frombuffer(buffer, np.uint8)
    octets.flags.writeable = False  # of this view alone: to Numba, arrays to read and to write are of two types
    return octets


def _crc32c(data: NDArray[np.uint8]) -> int:
    return _cpu().crc32c(data, ONES) ^ ONES


def _xxh64(data: NDArray[np.uint8]) -> int:
    return int(_cpu().xxh64(_octets(data)))


def _xxh64_tree(data: NDArray[np.uint8]) -> int:
    digests = np.empty(-(-data.size // PIECE), np.uint64)
    _cpu().xxh64_pieces(data, PIECE, digests)
    return _xxh64(digests.view(np.uint8))


def _crc32c_there(data: DeviceArray) -> int:
    return _cuda().crc32c(data, ONES) ^ ONES


def _no_chain(data: DeviceArray) -> int:
    raise ValueError("xxh64 is one chain from the first byte to the last: use xxh64_tree or crc32c on a device")


def _xxh64_tree_there(data: DeviceArray) -> int:
    return _xxh64(_cuda().xxh64_pieces(data, PIECE).view(np.uint8))


def _cpu() -> ModuleType:
    from kernels.cpu import checksum

    return checksum


def _cuda() -> ModuleType:
    from kernels.cuda import checksum

    return checksum


_CHECKSUMS: Mapping[str, Checksum] = MappingProxyType(
    {
        checksum.name: checksum
        for checksum in (
            Checksum("crc32c", 32, _crc32c, _crc32c_there),
            Checksum("xxh64", 64, _xxh64, _no_chain),
            Checksum("xxh64_tree", 64, _xxh64_tree, _xxh64_tree_there),
        )
    }
)
