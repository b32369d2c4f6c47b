"""Arrays of other libraries, read by protocol: DLPack, and the CUDA interface over memory that the host can reach."""

# ruff: noqa: N802, ARG002 - the fake driver has the names and arguments of CUDA's

import ctypes
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
    views = [dlpack.view(Exporter(array)), devices.stage(Device(array), writable=True).octets.view(np.float64)]
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
    staged = devices.stage(Device(array), writable=True)
    assert (staged.dtype, staged.octets.size) == (array.dtype, array.nbytes)
    staged.octets.view(array.dtype)[:] = 1
    staged.store()
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
        devices.stage(Device(np.zeros(4), **changes), writable=True)


def test_fortran_order_is_contiguous_too() -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    staged = devices.stage(Device(array, strides=array.strides), writable=False)
    assert staged.octets.view(np.float64).tolist() == [0, 3, 1, 4, 2, 5]


class Driver:
    """A CUDA driver with one device, whose memory is a dictionary that the processor can't see."""

    def __init__(self) -> None:
        self.memory: dict[int, bytearray] = {0x1000: bytearray(32)}
        self.calls: list[str] = []

    def cuPointerGetAttribute(self, result: object, attribute: int, pointer: ctypes.c_uint64) -> int:
        if pointer.value not in self.memory:
            return 1  # CUDA_ERROR_INVALID_VALUE: ordinary host memory
        if attribute == 2:
            ctypes.cast(result, ctypes.POINTER(ctypes.c_uint)).contents.value = 2
        return 0

    def cuStreamSynchronize(self, stream: ctypes.c_void_p) -> int:
        self.calls.append(f"synchronize {stream.value}")
        return 0

    def cuCtxPushCurrent_v2(self, context: ctypes.c_void_p) -> int:
        return 0

    def cuCtxPopCurrent_v2(self, context: object) -> int:
        return 0

    def cuMemcpyDtoH_v2(self, to: ctypes.c_void_p, source: ctypes.c_uint64, size: ctypes.c_size_t) -> int:
        ctypes.memmove(to, bytes(self.memory[source.value]), size.value)
        self.calls.append("to host")
        return 0

    def cuMemcpyHtoD_v2(self, to: ctypes.c_uint64, source: ctypes.c_void_p, size: ctypes.c_size_t) -> int:
        self.memory[to.value][:] = ctypes.string_at(source.value, size.value)
        self.calls.append("to device")
        return 0


def test_device_memory_is_copied_after_its_stream_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    driver.memory[0x1000][:] = np.arange(4.0).tobytes()
    monkeypatch.setattr(devices, "_driver", lambda: driver)
    staged = devices.stage(Device(np.zeros(4), data=(0x1000, False), stream=7), writable=True)
    values = staged.octets.view(np.float64)
    assert values.tolist() == [0, 1, 2, 3]
    values += 10
    assert driver.memory[0x1000] == np.arange(4.0).tobytes()
    staged.store()
    assert driver.memory[0x1000] == np.arange(10.0, 14.0).tobytes()
    assert driver.calls == ["synchronize 7", "to host", "to device", "synchronize 1"]


def test_what_is_only_read_is_not_copied_back(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    monkeypatch.setattr(devices, "_driver", lambda: driver)
    devices.stage(Device(np.zeros(4), data=(0x1000, False)), writable=False).store()
    assert driver.calls == ["to host"]


def test_a_driver_that_fails_is_an_error_and_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    monkeypatch.setattr(driver, "cuMemcpyDtoH_v2", lambda *arguments: 700)
    monkeypatch.setattr(devices, "_driver", lambda: driver)
    with pytest.raises(RuntimeError, match="cuMemcpyDtoH failed with status 700"):
        devices.stage(Device(np.zeros(4), data=(0x1000, False)), writable=False)


def test_counting_devices_never_fails() -> None:
    assert devices.count() >= 0


def test_bfloat16_by_dlpack() -> None:
    capsule_of = Exporter(np.array([1.5, 2.5], np.float16))
    tensor, _ = dlpack._unpacked(capsule_of.__dlpack__())
    tensor.code = 4  # kDLBfloat; the bits stay as they are
    assert dlpack._dtype(tensor) == np.dtype(ml_dtypes.bfloat16)
