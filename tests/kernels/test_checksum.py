"""Checksums against published answers, against plain Python, and against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import checksum
from kernels.cpu import checksum as compiled

crc32c, xxh64, tree = (checksum.get(name) for name in checksum.names())

RFC_3720 = [  # appendix B.4
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (
        bytes.fromhex(
            "01c00000 00000000 00000000 00000000 14000000 0000040000000014 00000018 28000000 00000000 02000000 00000000"
        ),
        0xD9963A56,
    ),
    (b"123456789", 0xE3069283),  # the check value that catalogues of CRCs give
    (b"", 0),
]


def sanity(count: int) -> bytes:
    """The bytes that xxHash's own sanity check sums up."""
    found, state = bytearray(), 2654435761
    for _ in range(count):
        found.append(state >> 56)
        state = state * 11400714785074694797 % 2**64
    return bytes(found)


@pytest.mark.parametrize(("data", "expected"), RFC_3720, ids=lambda value: hex(value) if isinstance(value, int) else "")
def test_crc32c_gives_the_published_answers(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (sanity(1), 0xE934A84ADB052768),
        (sanity(14), 0x8282DCC4994E35C8),
        (sanity(222), 0xB641AE8CB691C174),
    ],
    ids=lambda value: hex(value) if isinstance(value, int) else "",
)
def test_xxh64_gives_the_published_answers(data: bytes, expected: int) -> None:
    assert xxh64(data) == expected


def bit_by_bit(data: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def by_tables(data: Any) -> int:
    """What a processor without the instruction computes."""
    return int(compiled.by_tables(data, np.uint64(checksum.ONES), compiled.tables())) ^ checksum.ONES


@settings(max_examples=30)
@given(count=st.integers(0, 2000), seed=st.integers(0, 9))
def test_instruction_and_tables_are_the_definition(count: int, seed: int) -> None:
    data = np.random.default_rng(seed).integers(0, 256, count, np.uint8)
    expected = bit_by_bit(data.tobytes())
    assert crc32c(data) == expected
    assert by_tables(data) == expected


@pytest.mark.parametrize("count", [3 * 8192 - 1, 3 * 8192, 6 * 8192 + 3 * 256 + 9])
def test_three_streams_give_what_one_gives(count: int) -> None:
    data = np.random.default_rng(1).integers(0, 256, count, np.uint8)
    assert crc32c(data) == by_tables(data)


@settings(max_examples=30)
@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_crcs_of_parts_combine_to_the_crc_of_the_whole(data: bytes, cut: int) -> None:
    first, second = data[:cut], data[cut:]
    assert checksum.combined(crc32c(first), crc32c(second), len(second)) == crc32c(data)


@pytest.mark.parametrize("count", [0, 1, 4095, 4096, 4097, 20_000])
def test_the_tree_is_xxh64_of_the_pieces_xxh64(count: int) -> None:
    data = np.random.default_rng(1).integers(0, 256, count, np.uint8).tobytes()
    pieces = [data[start : start + checksum.PIECE] for start in range(0, count, checksum.PIECE)]
    assert tree(data) == xxh64(b"".join(xxh64(piece).to_bytes(8, "little") for piece in pieces))


@pytest.mark.parametrize("name", checksum.names())
@settings(max_examples=20)
@given(count=st.integers(1, 9000), data=st.data())
def test_every_flipped_bit_is_noticed(name: str, count: int, data: Any) -> None:
    values = np.random.default_rng(count).integers(0, 256, count, np.uint8)
    before = checksum.get(name)(values)
    values[data.draw(st.integers(0, count - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert checksum.get(name)(values) != before
    assert before.bit_length() <= checksum.get(name).bits


def test_any_dtype_shape_and_buffer_counts_as_its_bytes() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for one in checksum.names():
        answers = {
            checksum.get(one)(view) for view in (array, array.tobytes(), memoryview(array.tobytes()), array.ravel())
        }
        assert len(answers) == 1


def test_what_cannot_be_summed_up_is_refused() -> None:
    with pytest.raises(KeyError, match="no checksum is called 'md5'; known: crc32c, xxh64, xxh64_tree"):
        checksum.get("md5")
    with pytest.raises(ValueError, match="contiguous array"):
        crc32c(np.zeros((4, 4))[:, ::2])
    with pytest.raises(ValueError, match="cannot have -1 bytes"):
        checksum.combined(1, 2, -1)
