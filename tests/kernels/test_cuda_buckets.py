"""Buckets and strided copies on a device, in the PTX interpreter: what NumPy does, at any address and stride."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels import buckets
from kernels.cuda.device import using
from kernels.device_array import DeviceArray
from tests.ptx.device import Emulated

SIZES = 3, 0, 40, 16_411, 1, 17
"""Elements: nothing, less than a vector, more than a piece of the copying kernel."""


def address(array: Any) -> int:
    return array.__array_interface__["data"][0]


class Strided:
    """A view of device memory as other libraries show theirs."""

    def __init__(self, whole: DeviceArray, like: np.ndarray[Any, Any], base: np.ndarray[Any, Any]) -> None:
        self.whole, first = whole, address(like) - address(base)
        self.__cuda_array_interface__ = {
            "version": 3, "shape": like.shape, "typestr": like.dtype.str, "strides": like.strides,
            "data": (whole.address + first, False), "stream": whole.stream,
        }  # fmt: skip


@pytest.mark.parametrize(("dtype", "offset"), [(np.float32, 0), (np.float32, 1), (np.float16, 1)])
def test_one_launch_packs_all_arrays_of_a_bucket_and_one_unpacks_them(dtype: Any, offset: int) -> None:
    device = Emulated()
    arrays = [np.arange(1, size + 1).astype(dtype) for size in SIZES]
    (bucket,) = buckets.plan([(size,) for size in SIZES], [dtype] * len(SIZES), limit_bytes=1 << 20)
    expected = np.empty(bucket.size, dtype)
    bucket.pack(arrays, expected)
    there = [device.array(array, offset=offset * array.itemsize) for array in arrays]
    buffer = device.array(np.full(bucket.size, np.nan, dtype))
    device.trace.clear()
    bucket.pack(there, buffer)
    np.testing.assert_array_equal(device.values(buffer), expected)
    back = [device.array(np.zeros_like(array)) for array in arrays]
    bucket.unpack(buffer, back)
    for array, returned in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(device.values(returned), array)
    assert [what for what, _ in device.trace if what.startswith("launch")] == ["launch copy_pieces"] * 2


def test_a_table_is_made_once_and_the_work_goes_to_the_buffers_stream() -> None:
    device = Emulated(delayed=True)
    (bucket,) = buckets.plan([(8,), (5,)], ["f4", "f4"], limit_bytes=1 << 20)
    arrays = [device.array(np.ones(8, np.float32)), device.array(np.ones(5, np.float32))]
    buffer = device.array(np.zeros(bucket.size, np.float32)).on(device.stream())
    bucket.pack(arrays, buffer)
    device.trace.clear()
    bucket.pack(arrays, buffer)
    assert device.trace == [("launch copy_pieces", buffer.stream)]
    assert not device.values(buffer).any()
    device.synchronize(buffer.stream)
    assert np.count_nonzero(device.values(buffer)) == 13


base = np.arange(6 * 10 * 16, dtype=np.int32).reshape(6, 10, 16)


@pytest.mark.parametrize(
    "view",
    [
        base,  # one loop over vectors
        base[:, 2:7],  # rows of vectors
        base[1:, ::3, 1:-2],  # rows of single words
        base.transpose(2, 0, 1),
        base[::-1, :, ::-2],
        base[:, :0],
        base[3, 4, 5:6],
        np.broadcast_to(base[0, 0], (3, 16)),
        base.view(np.int8)[:, :, ::3],
        base.view(np.complex128).T,  # words of 16 bytes
        base.reshape(3, 320).T,  # too narrow for tiles
        base.reshape(24, 40).T,  # two tiles, both cut
        base.reshape(2, 40, 12).transpose(0, 2, 1)[:, :, ::-1],
        base.view(np.uint8).reshape(2, 40, 48).transpose(2, 0, 1)[1:],
    ],
    ids=lambda view: f"{view.dtype}{view.strides}",
)
def test_strided_memory_is_packed_and_unpacked_as_numpy_does(view: Any) -> None:
    device = Emulated()
    whole = device.array(base)
    out = device.array(np.zeros(view.size, view.dtype))
    with using(device):
        buckets.pack_strided(Strided(whole, view, base), out)
        np.testing.assert_array_equal(device.values(out), view.ravel())
        if 0 in view.strides:
            return  # several elements in one place: there is no way back
        expected = base.copy()
        target = np.ndarray(
            view.shape, view.dtype, expected, view.__array_interface__["data"][0] - address(base), view.strides
        )
        np.copyto(target, np.ones_like(target))
        buckets.unpack_strided(device.array(np.ones(view.size, view.dtype)), Strided(whole, view, base))
        np.testing.assert_array_equal(device.values(whole), expected.ravel())


def test_sides_that_do_not_fit_are_refused() -> None:
    device = Emulated()
    whole = device.array(base)
    shown = Strided(whole, base, base)
    with using(device):
        with pytest.raises(ValueError, match="960 int32 elements on one side and 959 int32"):
            buckets.pack_strided(shown, whole[1:])
        with pytest.raises(ValueError, match="may overlap"):
            buckets.pack_strided(shown, whole)
        with pytest.raises(TypeError, match="a list beside memory on a device"):
            buckets.pack_strided([1, 2], whole)
        with pytest.raises(TypeError, match="a NumPy array beside a DeviceArray"):
            buckets.pack_strided(base, whole)
