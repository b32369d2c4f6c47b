"""Encodings in the PTX interpreter: the CPU's wires, values and residuals, bit for bit, at any place and length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import compress
from kernels.compress.powersgd import Powersgd
from kernels.compress.sign import Sign
from kernels.cuda.device import using
from tests.kernels.compress_cases import SPECS, decoded, message, some
from tests.ptx.device import Emulated
from tests.ptx.harness import empty, identical

PLACES = [(257, 1, 4, 3), (700, 0, 0, 0)]
"""Numbers of elements, and how many elements the values, bytes the wire, and elements the residual lie off a line."""

TILED = 4101, 0, 0, 0
"""More than a tile of those encodings that go by tiles, and than a segment of rows."""

LEAN = [text for text in SPECS if text != "topk:share=1/3"]
"""The interpreter takes a second for a selection, and the share changes no instruction."""


class Twice:
    """An encoding's work here and there; ``check`` compares what came of it."""

    def __init__(self, text: str, values: NDArray[Any], residual: NDArray[Any], offsets: tuple[int, ...]) -> None:
        self.encoding, self.count = compress.get(text), values.size
        device, size = Emulated(), self.encoding.nbytes(values.size)
        self.here = values.copy(), np.zeros(size, np.uint8), residual.copy()
        self.there = (
            device.array(values, offset=4 * offsets[0]), empty(device, size, np.uint8, offsets[1]),
            device.array(residual, offset=4 * offsets[2]),
        )  # fmt: skip
        self._device = device

    def check(self) -> None:
        """Bit for bit, any NaN being as good as another: messages with NaN are compared by what they say."""
        values, wire, residual = (self._device.values(array) for array in self.there)
        identical(values, self.here[0])
        identical(residual, self.here[2])
        ours, theirs = decoded(self.encoding, self.here[1], self.count), decoded(self.encoding, wire, self.count)
        identical(theirs, ours)
        if not np.isnan(ours).any():
            identical(wire, self.here[1])

    def all_of_it(self) -> None:
        encoding = self.encoding
        for values, wire, residual in (self.here, self.there):
            encoding.encode_feedback(values, wire, residual, counter=2**63 + 6)
        self.check()
        for values, wire, _ in (self.here, self.there):
            encoding.encode(values, wire, counter=5)
            encoding.decode(wire, values)
            encoding.decode_add(wire, values)
        self.check()
        if isinstance(encoding, compress.Summable):
            for _, wire, _ in (self.here, self.there):
                encoding.reduce(wire, wire, wire, count=self.count, counter=7)
            self.check()


@pytest.mark.parametrize("text", LEAN)
def test_a_card_computes_what_the_host_does(text: str) -> None:
    for count, *offsets in [*PLACES, *[TILED] * text.startswith(("sign", "topk", "powersgd"))]:
        Twice(text, some(count), some(count, 1) / 8, tuple(offsets)).all_of_it()


@pytest.mark.parametrize("text", ["float16", "bfloat16", "int8", "sign", "topk"])
@pytest.mark.parametrize("bad", [np.nan, 3e38])
def test_what_is_no_number_and_what_overflows_is_treated_alike(text: str, bad: float) -> None:
    values = some(310)
    values[[3, 300]] = bad
    with np.errstate(all="ignore"):
        Twice(text, values, np.zeros(310, np.float32), (0, 0, 0)).all_of_it()


@pytest.mark.parametrize("voters", [1, 2, 5, 255])
def test_votes_are_counted_alike(voters: int) -> None:
    device, sign, count = Emulated(), Sign(), 77
    wires = np.concatenate([message(sign, some(count, voter)) for voter in range(voters)])
    out, there = np.empty(sign.nbytes(count), np.uint8), empty(device, sign.nbytes(count), np.uint8, 1)
    sign.majority(wires, out, count=count)
    sign.majority(device.array(wires, offset=3), there, count=count)
    identical(device.values(there), out)


def test_factors_are_computed_alike() -> None:
    device, encoding, values = Emulated(), Powersgd(rank=3), some(1601)
    q, p = np.empty(3 * 40, np.float32), np.empty(3 * 41, np.float32)
    for array in (far := device.array(values), (q_there := device.array(q)), (p_there := device.array(p))):
        assert array.device is device
    for v, a, b in ((values, q, p), (far, q_there, p_there)):
        encoding.start(a, count=1601, counter=3)
        encoding.project(v, a, b)
        encoding.orthonormalise(b, count=1601)
        encoding.project_back(v, b, a)
        encoding.expand(b, a, v)
    identical(device.values(q_there), q)
    identical(device.values(p_there), p)
    identical(device.values(far), values)


@pytest.mark.parametrize("text", ["int8", "topk", "powersgd"])
def test_the_host_waits_for_nothing_and_all_work_is_on_the_stream_of_the_values(text: str) -> None:
    device, encoding = Emulated(delayed=True), compress.get(text)
    stream = device.stream()
    values, wire = device.array(some(300), stream=stream), empty(device, encoding.nbytes(300), np.uint8)
    encoding.encode(values, wire)
    assert {where for _, where in device.trace} == {stream}
    assert not any(what.startswith(("synchronize", "copy")) for what, _ in device.trace)
    device.synchronize(stream)
    identical(device.values(wire), message(encoding, some(300)))


def test_messages_of_other_places_become_nan() -> None:
    device, encoding = Emulated(), compress.get("randomk:share=1/7")
    assert isinstance(encoding, compress.Summable)
    one, other = (device.array(message(encoding, some(300), counter)) for counter in (1, 2))
    encoding.reduce(one, other, one, count=300)
    assert np.isnan(device.values(one)[:-8].view(np.float32)).all()


def test_what_only_shows_its_address_is_taken_too() -> None:
    class Shown:
        def __init__(self, array: Any) -> None:
            self.__cuda_array_interface__ = array.__cuda_array_interface__

    device, encoding, values = Emulated(), compress.get("int8"), some(300)
    there, wire = device.array(values), empty(device, encoding.nbytes(300), np.uint8)
    with using(device):
        encoding.encode(Shown(there), Shown(wire))
        assert encoding.bound(Shown(there)) == encoding.bound(values)
    identical(device.values(wire), message(encoding, values))
    with pytest.raises(BufferError, match="neither a NumPy array nor on a device that is here"):
        encoding.encode(Shown(there), Shown(wire))


def test_arrays_that_a_card_cannot_reach_are_refused() -> None:
    device, encoding = Emulated(), compress.get("float16")
    with pytest.raises(ValueError, match="no multiple of 2"):
        encoding.encode(device.array(some(10)), empty(device, 20, np.uint8, 1))
    with pytest.raises(BufferError, match="put all arrays in one place"):
        encoding.encode(some(10), empty(device, 20, np.uint8))
