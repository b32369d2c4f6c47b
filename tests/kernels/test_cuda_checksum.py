"""Checksums of device memory in the PTX interpreter: the numbers of the CPU forms."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import checksum
from kernels.cuda import checksum as kernels
from tests.ptx.device import Emulated


def octets(count: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.random.default_rng(count).integers(0, 256, count, np.uint8)


@pytest.mark.parametrize(("count", "offset"), [(0, 0), (5, 3), (16, 0), (64, 16), (2048, 0), (2049, 7), (70_001, 13)])
def test_crc32c_is_that_of_the_cpu_at_any_address(count: int, offset: int) -> None:
    data = octets(count)
    assert checksum.get("crc32c")(Emulated().array(data, offset=offset)) == checksum.get("crc32c")(data)


def test_longer_pieces_give_the_same_crc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MANY", 16)
    data = octets(5000)
    assert kernels._piece(data.size) == 512
    assert checksum.get("crc32c")(Emulated().array(data, offset=1)) == checksum.get("crc32c")(data)


@pytest.mark.parametrize(("count", "offset"), [(0, 0), (4095, 0), (4096, 16), (20_487, 4)])
def test_the_tree_is_that_of_the_cpu_at_any_address(count: int, offset: int) -> None:
    data = octets(count)
    assert checksum.get("xxh64_tree")(Emulated().array(data, offset=offset)) == checksum.get("xxh64_tree")(data)


def test_any_dtype_counts_as_its_bytes_and_late_streams_are_waited_for() -> None:
    device = Emulated(delayed=True)
    values = np.arange(3000, dtype=np.float32)
    there = device.array(np.zeros_like(values)).on(device.stream())
    device.copy_in(there, values, there.stream)
    assert checksum.get("crc32c")(there) == checksum.get("crc32c")(values)
    assert checksum.get("xxh64_tree")(there) == checksum.get("xxh64_tree")(values)


def test_one_long_chain_is_not_for_devices() -> None:
    with pytest.raises(ValueError, match="use xxh64_tree or crc32c on a device"):
        checksum.get("xxh64")(Emulated().array(octets(8)))
