"""Messages that are whole come back as they were; damaged ones never do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives.parameter_server.consistency import Reception
from collectives.parameter_server.messages import HEADER, Coding, Kind, Message, Refused, packed, parsed

RUN = 0x1234567890ABCDEF
MESSAGE = Message(
    Kind.PUSH_PULL, worker=3, part=7, clock=5, payload=np.arange(40, dtype=np.uint8), coding=Coding.ENCODED, samples=32,
    learning_rate=0.0, request=9, reception=Reception.LATE, staleness=2, version=11,
)  # fmt: skip


@given(
    st.sampled_from(Kind), st.sampled_from(Coding), st.sampled_from(Reception), st.integers(0, 2**31 - 1),
    st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1), st.none() | st.floats(0, 1e6), st.binary(max_size=60),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_what_is_packed_is_parsed(kind, coding, reception, worker, part, clock, rate, payload) -> None:
    sent = Message(kind, worker, part, clock, np.frombuffer(payload, np.uint8), coding, 4, rate, 6, reception, 8, clock)
    got = parsed(packed(sent, RUN), RUN, "rank 1")
    for name in Message.__slots__:
        assert np.array_equal(getattr(got, name), getattr(sent, name)), name


def test_every_flipped_bit_is_refused() -> None:
    whole = packed(MESSAGE, RUN)
    for bit in range(8 * whole.size):
        damaged = whole.copy()
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refused, match="rank 4"):
            parsed(damaged, RUN, "rank 4")


def test_every_cut_and_every_addition_is_refused() -> None:
    whole = packed(MESSAGE, RUN)
    for length in range(whole.size):
        with pytest.raises(Refused, match=f"{length} bytes|header"):
            parsed(whole[:length], RUN, "rank 4")
    with pytest.raises(Refused, match="rank 4"):
        parsed(np.append(whole, whole[-1:]), RUN, "rank 4")


@pytest.mark.parametrize(
    ("place", "number", "said"),
    [("protocol", 9, "protocol 9"), ("kind", 99, "no known kind"), ("coding", 77, "no known kind"),
     ("reception", 12, "no known kind"), ("worker", -5, "worker -5"), ("length", 3, "announces")],
)  # fmt: skip
def test_what_is_whole_and_wrong_is_refused_by_name(place: str, number: int, said: str) -> None:
    from kernels import checksum

    names = ["magic", "crc", "protocol", "kind", "coding", "reception", "worker", "run", "part", "samples", "clock",
             "version", "rate", "request", "staleness", "length"]  # fmt: skip
    buffer = packed(MESSAGE, RUN)
    fields = list(HEADER.unpack_from(buffer.data))
    fields[names.index(place)] = number
    HEADER.pack_into(buffer.data, 0, *fields)
    fields[1] = checksum.get("crc32c")(buffer[8:])
    HEADER.pack_into(buffer.data, 0, *fields)
    with pytest.raises(Refused, match=said):
        parsed(buffer, RUN, "rank 4")


def test_another_run_s_message_is_refused() -> None:
    with pytest.raises(Refused, match="belongs to run"):
        parsed(packed(MESSAGE, RUN), RUN + 1, "rank 4")
