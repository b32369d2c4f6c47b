"""What holds for every encoding: sizes, bounds, error feedback, and what is said of infinities and NaN."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kernels import compress
from kernels.compress import Summable, sizes
from tests.kernels.compress_cases import COUNTS, SPECS, Floats, decoded, message, some, there_and_back

FINITE = hnp.arrays(
    np.float32,
    st.integers(0, 600),
    elements=st.floats(-(2.0**120), 2.0**120, width=32),
    fill=st.floats(-4, 4, width=32),
)


@pytest.mark.parametrize("name", compress.names())
def test_the_wire_is_as_long_as_the_simulator_says(name: str) -> None:
    for count in COUNTS:
        assert compress.get(name).nbytes(count) == sizes.SIZES[name](count)


@pytest.mark.parametrize("text", SPECS)
def test_a_name_spells_its_encoding(text: str) -> None:
    encoding = compress.get(text)
    assert compress.get(encoding.name) == encoding
    assert encoding.name == text


@pytest.mark.parametrize("text", SPECS)
@given(values=FINITE)
@settings(max_examples=12)
def test_no_element_is_further_off_than_the_bound(text: str, values: Floats) -> None:
    off = np.abs(there_and_back(text, values).astype(np.float64) - values)
    assert not values.size or off.max() <= compress.get(text).bound(values)


@pytest.mark.parametrize("text", SPECS)
@pytest.mark.parametrize("count", COUNTS)
def test_decoding_adds_what_it_would_overwrite(text: str, count: int) -> None:
    encoding, values, sums = compress.get(text), some(count), some(count, 1)
    wire = message(encoding, values)
    expected = sums + decoded(encoding, wire, count)
    encoding.decode_add(wire, sums)
    np.testing.assert_array_equal(sums, expected)


@pytest.mark.parametrize("text", SPECS)
@pytest.mark.parametrize("count", COUNTS)
def test_feedback_is_encoding_the_sum_and_keeping_the_rest(text: str, count: int) -> None:
    encoding, values, residual = compress.get(text), some(count), some(count, 1) / 8
    wanted, wire = residual + values, np.empty(encoding.nbytes(count), np.uint8)
    encoding.encode_feedback(values, wire, residual, counter=5)
    np.testing.assert_array_equal(wire, message(encoding, wanted, counter=5))
    np.testing.assert_array_equal(values, decoded(encoding, wire, count))
    np.testing.assert_array_equal(residual, wanted - values)


@pytest.mark.parametrize("text", SPECS)
def test_nothing_is_lost_but_put_off(text: str) -> None:
    """The sum of all that was decoded and of the last residual is the sum of all inputs, to rounding."""
    encoding, residual = compress.get(text), np.zeros(700, np.float32)
    given_all, got = np.zeros(700), np.zeros(700)
    for step in range(20):
        values = np.random.default_rng(step).normal(size=700).astype(np.float32)
        given_all += values
        encoding.encode_feedback(values, np.empty(encoding.nbytes(700), np.uint8), residual, counter=step)
        got += values
    scale = max(float(np.abs(residual).max()), 20.0)
    assert np.abs(got + residual - given_all).max() < 20 * scale * 2.0**-24 * 8


@pytest.mark.parametrize("text", SPECS)
def test_one_bad_step_does_not_spoil_the_next(text: str) -> None:
    encoding, residual = compress.get(text), np.zeros(300, np.float32)
    values, wire = some(300), np.empty(encoding.nbytes(300), np.uint8)
    values[:] = np.nan
    encoding.encode_feedback(values, wire, residual)
    assert np.isnan(values).any()
    assert not np.isnan(residual[np.isnan(values)]).any()


@pytest.mark.parametrize(
    ("text", "spoilt"),
    [
        ("float16", slice(300, 301)), ("bfloat16", slice(300, 301)), ("int8", slice(256, 512)), ("sign", slice(0, 700)),
        ("topk", slice(300, 301)), ("powersgd", slice(0, 700)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_never_lost_and_spoils_what_is_said(text: str, spoilt: slice, bad: float) -> None:
    values = np.random.default_rng(4).normal(size=700).astype(np.float32)
    values[300] = bad
    got = there_and_back(text, values)
    expected = np.zeros(700, bool)
    expected[spoilt] = True
    np.testing.assert_array_equal(np.isfinite(got), ~expected)
    assert not np.isfinite(compress.get(text).bound(values)) or text == "topk"


@pytest.mark.parametrize("text", ["float16", "bfloat16", "topk", "randomk:share=1/7"])
def test_what_was_decoded_is_encoded_to_the_same_wire(text: str) -> None:
    encoding, values = compress.get(text), np.random.default_rng(1).normal(size=1000).astype(np.float32)
    wire = message(encoding, values, counter=3)
    np.testing.assert_array_equal(message(encoding, decoded(encoding, wire, 1000), counter=3), wire)


@pytest.mark.parametrize("text", ["float16", "bfloat16", "int8", "int8:rounding=nearest", "randomk:share=1/7"])
@pytest.mark.parametrize("count", COUNTS)
def test_a_sum_of_messages_is_a_message_of_the_sum(text: str, count: int) -> None:
    encoding, left, right = compress.get(text), some(count), some(count, 1)
    assert isinstance(encoding, Summable)
    first, second = message(encoding, left, 2), message(encoding, right, 2)
    total = decoded(encoding, first, count) + decoded(encoding, second, count)
    for out in (np.empty_like(first), first, second):
        mine, other = first.copy(), second.copy()
        encoding.reduce(
            mine if out is first else first, other if out is second else second,
            mine if out is first else other if out is second else out, count=count, counter=2,
        )  # fmt: skip
        result = mine if out is first else other if out is second else out
        np.testing.assert_array_equal(result, message(encoding, total, 2))


def test_what_cannot_be_added_does_not_say_so() -> None:
    assert not any(isinstance(compress.get(name), Summable) for name in ("sign", "topk", "powersgd"))


def test_values_that_do_not_fit_are_named() -> None:
    encoding, wire = compress.get("int8"), np.empty(104, np.uint8)
    with pytest.raises(TypeError, match="values must be float32, got float64"):
        encoding.encode(np.zeros(100), wire)
    with pytest.raises(ValueError, match="the wire of 99 elements has 103 bytes, got 104"):
        encoding.encode(np.zeros(99, np.float32), wire)
    with pytest.raises(ValueError, match="values must be contiguous"):
        encoding.encode(np.zeros(200, np.float32)[::2], wire)
    with pytest.raises(ValueError, match="values and residual must be of one length"):
        encoding.encode_feedback(np.zeros(100, np.float32), wire, np.zeros(99, np.float32))
    with pytest.raises(ValueError, match="values must be writable"):
        encoding.decode(wire, np.frombuffer(bytes(400), np.float32))
    with pytest.raises(BufferError, match="a list is neither a NumPy array nor on a device"):
        encoding.encode([0.0] * 100, wire)
    with pytest.raises(ValueError, match="counter=-1 must be from 0"):
        encoding.encode(np.zeros(100, np.float32), wire, counter=-1)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("int9", KeyError, "no encoding is called 'int9'; known: int8"),
        ("int8:blocks=3", ValueError, "int8 has no parameter 'blocks'; known: block, rounding, seed"),
        ("int8:block=100", ValueError, "block=100 must be one of 64, 128, 256, 512"),
        ("int8:rounding=up", ValueError, "must be nearest or stochastic"),
        ("topk:share=2", ValueError, "share=2 must be above 0 and at most 1"),
        ("powersgd:rank=0", ValueError, "rank=0 must be from 1 to 64"),
        ("float16:block=3", ValueError, "float16 has no parameter 'block'; known: none"),
        ("randomk:unbiased=maybe", ValueError, "expected true or false"),
    ],
)
def test_what_cannot_be_got_is_told(text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        compress.get(text)


def test_looking_an_encoding_up_compiles_nothing() -> None:
    program = "import sys; from kernels import compress; compress.get('int8'); assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
