import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import units
from experiments.errors import UsageFault

positive = st.floats(min_value=1e-12, max_value=1e15)


@given(st.integers(0, 2**62))
def test_a_size_survives_printing_and_reading_exactly(nbytes: int) -> None:
    assert units.parse_bytes(units.format_bytes(nbytes)) == nbytes


@given(positive, st.integers(2, 12))
def test_a_time_survives_to_the_printed_digits(seconds: float, digits: int) -> None:
    again = units.parse_seconds(units.format_seconds(seconds, digits=digits))
    assert math.isclose(again, seconds, rel_tol=0.6 * 10.0 ** (1 - digits))


@given(positive, st.integers(2, 12), st.booleans())
def test_a_rate_survives_to_the_printed_digits(rate: float, digits: int, bits: bool) -> None:
    again = units.parse_rate(units.format_rate(rate, bits=bits, digits=digits))
    assert math.isclose(again, rate, rel_tol=0.6 * 10.0 ** (1 - digits))


@given(st.integers(1, 2**10), st.integers(0, 20), st.integers(2, 5))
def test_a_range_is_every_power_times_its_first_up_to_its_last(first: int, steps: int, factor: int) -> None:
    last = first * factor**steps
    sizes = units.parse_sizes(f"{first}:{last}:{factor}")
    assert sizes == [first * factor**step for step in range(steps + 1)]
    assert units.parse_sizes(f"{first}:{last * factor - 1}:{factor}") == sizes


@given(st.lists(st.integers(1, 999), min_size=1))
def test_a_list_keeps_its_order_and_drops_repeats(ranks: list[int]) -> None:
    assert units.parse_ranks(",".join(map(str, ranks))) == list(dict.fromkeys(ranks))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8", 8),
        ("64KiB", 65536),
        ("64K", 65536),
        ("64kib", 65536),
        ("64KB", 64000),
        ("1.5 MiB", 3 * 2**19),
        ("1e3", 1000),
    ],
)
def test_sizes_as_people_write_them(text: str, expected: int) -> None:
    assert units.parse_bytes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10Gbit/s", 1.25e9),
        ("10Gbps", 1.25e9),
        ("1.25GB/s", 1.25e9),
        ("8 Kbit/s", 1000.0),
        ("5", 5.0),
        ("1MiB/s", 2.0**20),
    ],
)
def test_rates_tell_bits_from_bytes(text: str, expected: float) -> None:
    assert units.parse_rate(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("5us", 5e-6), ("5µs", 5e-6), ("1.5ms", 1.5e-3), ("2", 2.0), ("1min", 60.0)]
)
def test_times_as_people_write_them(text: str, expected: float) -> None:
    assert units.parse_seconds(text) == expected


def test_ranks_and_sizes_mix_lists_and_ranges() -> None:
    assert units.parse_ranks("1-4,8:32") == [1, 2, 3, 4, 8, 16, 32]
    assert units.parse_sizes("8:64,1KiB") == [8, 16, 32, 64, 1024]


@pytest.mark.parametrize(
    "text", ["", "-3", "3x", "0.3", "1e99", "1e9999999", "0x10", "1_000", "8:4", "0:8", "1:2:3:4", "8:64:1", "8,,9"]
)
def test_what_is_no_size_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageFault, match=r"^(size|factor)[^\n]+$"):
        units.parse_sizes(text)


@pytest.mark.parametrize("text", ["", "0", "3-2", "a", "-1", "1-99999999999", "1.5"])
def test_what_is_no_rank_count_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageFault, match=r"^rank count[^\n]+$"):
        units.parse_ranks(text)


@pytest.mark.parametrize("parse", [units.parse_rate, units.parse_seconds])
@pytest.mark.parametrize("text", ["", "fast", "-1", "3 parsecs", "1e999"])
def test_what_is_no_rate_or_time_is_refused_in_one_line(parse, text: str) -> None:
    with pytest.raises(UsageFault, match=r"^(rate|time)[^\n]+$"):
        parse(text)
