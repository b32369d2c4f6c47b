"""Arrays of other libraries, read by protocol: DLPack, and the CUDA interface over memory that the host can reach."""

import gc
import weakref

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives import devices, dlpack


class Exporter:
    """An array that shows only DLPack, as of version 1 or before."""

    def __init__(self, array: np.ndarray, *, versioned: bool = True) -> None:
        self.array, self.versioned = array, versioned

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __dlpack__(self, **options: object) -> object:
        if options and not self.versioned:
            raise TypeError("before 1.0")
        return self.array.__dlpack__(**options)


class Device:
    """An array that shows only ``__cuda_array_interface__``."""

    def __init__(self, array: np.ndarray, **changes: object) -> None:
        self.array = array
        shown = {**array.__array_interface__, "data": (array.ctypes.data, False), "version": 3, "stream": None}
        self.__cuda_array_interface__ = {**shown, **changes}


codes = st.sampled_from("?bhilBHILefdFD")
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@given(codes, shapes, st.booleans(), st.booleans())
def test_dlpack_shows_the_exporter_s_own_memory(
    code: str, shape: tuple[int, ...], versioned: bool, fortran: bool
) -> None:
    array = np.zeros(shape, code, order="F" if fortran else "C")
    view = dlpack.view(Exporter(array, versioned=versioned))
    assert (view.dtype, view.size, view.ndim) == (array.dtype, array.size, 1)
    view[:] = 1
    assert (array == 1).all()


def test_dlpack_refuses_what_has_holes_and_keeps_read_only_memory_so() -> None:
    with pytest.raises(BufferError, match="not contiguous"):
        dlpack.view(Exporter(np.zeros((4, 4))[:, ::2]))
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    assert not dlpack.view(Exporter(frozen)).flags.writeable
    with pytest.raises(BufferError, match="no tensor"):
        dlpack.view(type("Odd", (), {"__dlpack__": lambda self, **options: object()})())


def test_the_view_keeps_the_memory_alive_and_lets_it_go() -> None:
    class Owned(np.ndarray):
        pass

    array = np.arange(5.0).view(Owned)
    watch = weakref.ref(array)
    views = [dlpack.view(Exporter(array)), devices.seen(Device(array), writable=True).octets.view(np.float64)]
    del array
    while views:
        gc.collect()
        assert watch() is not None
        assert views.pop().tolist() == [0, 1, 2, 3, 4]
    gc.collect()
    assert watch() is None


@given(codes, shapes)
def test_the_cuda_interface_over_host_memory_is_read_and_written_in_place(code: str, shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, code)
    seen = devices.seen(Device(array), writable=True)
    assert (seen.dtype, seen.octets.size) == (array.dtype, array.nbytes)
    seen.octets.view(array.dtype)[:] = 1
    seen.store()
    assert (array == 1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": np.zeros(4)}, "masked"),
        ({"data": (1, True)}, "not writable"),
        ({"strides": (16,)}, "not contiguous"),
    ],
)
def test_the_cuda_interface_refuses(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BufferError, match=message):
        devices.seen(Device(np.zeros(4), **changes), writable=True)


def test_fortran_order_is_contiguous_too() -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    seen = devices.seen(Device(array, strides=array.strides), writable=False)
    assert seen.octets.view(np.float64).tolist() == [0, 3, 1, 4, 2, 5]


def test_counting_devices_never_fails() -> None:
    assert devices.count() >= 0


def test_bfloat16_by_dlpack() -> None:
    capsule_of = Exporter(np.array([1.5, 2.5], np.float16))
    tensor, _ = dlpack._unpacked(capsule_of.__dlpack__())
    tensor.code = 4  # kDLBfloat; the bits stay as they are
    assert dlpack._dtype(tensor) == np.dtype(ml_dtypes.bfloat16)
