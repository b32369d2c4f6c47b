"""The foreign formats go through small independent parsers, written from what users of those formats rely on."""

import io
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from experiments.errors import UsageFault
from experiments.formats import nccl_tests, osu, tables, text
from experiments.records import Record, bandwidths

# The layout of all_reduce_perf, version 2.13, without the blanks at the ends of its lines.
ALL_REDUCE_PERF = """\
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
        1024           256     float     sum      -1    75.18    0.01    0.02      0    78.30    0.01    0.02      0\
"""


def record(
    algorithm: str = "ring", nbytes: int = 1024, seconds: float = 10e-6, *, in_place: bool = False, wrong: int = 0
) -> Record:
    algbw, busbw = bandwidths("allreduce", 4, nbytes, seconds)
    return Record(
        algorithm=algorithm, collective="allreduce", executor="native" if algorithm == "native" else "interpreted",
        library="Open MPI 5.0.11", ranks=4, nbytes=nbytes, dtype="float32", op="sum", in_place=in_place,
        measured_seconds=seconds, measured_low=0.9 * seconds, measured_high=1.2 * seconds, samples=120, launches=3,
        rank_mean_seconds=1.1 * seconds, rank_min_seconds=seconds, rank_max_seconds=1.3 * seconds,
        algbw=algbw, busbw=busbw, native_ratio=1.5, native_ratio_low=1.25, native_ratio_high=1.75,
        wrong=wrong, correct=wrong == 0,
    )  # fmt: skip


RECORDS = st.lists(
    st.builds(record, st.sampled_from(["ring", "chain", "native"]), st.sampled_from([4, 1024, 1 << 20, 1 << 34]),
              st.floats(1e-7, 1e3), in_place=st.booleans(), wrong=st.integers(0, 3)),
    min_size=1, max_size=20, unique_by=lambda r: (r.algorithm, r.nbytes, r.in_place),
)  # fmt: skip


def parse_osu(output: str) -> list[tuple[int, list[float]]]:
    """As ReFrame's checks do: lines that begin with a number, columns between blanks."""
    return [(int(size), [float(column) for column in rest.split()])
            for size, rest in re.findall(r"^(\d+)\s+(\S.*)$", output, re.MULTILINE)]  # fmt: skip


def parse_nccl(output: str) -> list[dict[str, str]]:
    """By the header's column names, as they lie over the columns; the second group gets ``in_`` before the name."""
    rows = []
    names: list[str] = []
    for line in output.splitlines():
        if re.match(r"#\s+size\s+count", line):
            plain = line.lstrip("#").split()
            names = plain[:5] + plain[5:9] + ["in_" + name for name in plain[9:]]
        elif line.strip() and not line.startswith("#"):
            rows.append(dict(zip(names, line.split(), strict=True)))
    return rows


@given(RECORDS)
def test_osu_columns(records: list[Record]) -> None:
    outside = [r for r in records if not r.in_place]
    rows = parse_osu(osu(records))
    assert sorted(size for size, _ in rows) == sorted(r.nbytes for r in outside)
    for size, columns in rows:
        assert len(columns) == 4
        mean, least, greatest, iterations = columns
        assert least <= mean <= greatest
        assert iterations == 120
        assert any(mean == pytest.approx(r.rank_mean_seconds * 1e6, abs=0.006) for r in outside if r.nbytes == size)


def test_osu_text() -> None:
    lines = osu([record(nbytes=8), record(nbytes=1048576, seconds=1e-3)]).splitlines()
    assert any("OSU MPI Allreduce Latency Test" in line and "Ciranda" in line for line in lines)
    assert "# Datatype: MPI_FLOAT." in lines
    # The reference lines are the layout of osu_allreduce -f, version 7.
    assert lines[-3:] == [
        "# Size       Avg Latency(us)   Min Latency(us)   Max Latency(us)  Iterations",
        "8                      11.00             10.00             13.00         120",
        "1048576              1100.00           1000.00           1300.00         120",
    ]


@given(RECORDS)
def test_nccl_columns(records: list[Record]) -> None:
    rows = parse_nccl(nccl_tests(records))
    shown = 0
    for row in rows:
        assert int(row["count"]) * 4 == int(row["size"])
        assert (row["type"], row["redop"], row["root"]) == ("float", "sum", "-1")
        for before in ("", "in_"):
            if row[before + "time"] == "N/A":
                continue
            shown += 1
            time, algbw = float(row[before + "time"]), float(row[before + "algbw"])
            # GB/s is bytes / µs / 1000, and busbw is 2(p-1)/p of algbw; both up to the printed digits.
            assert algbw == pytest.approx(int(row["size"]) / time / 1000, rel=0.1, abs=0.006)
            assert float(row[before + "busbw"]) == pytest.approx(1.5 * algbw, abs=0.016)
    assert shown == len(records)


def test_nccl_text() -> None:
    lines = nccl_tests([record(seconds=75.18e-6), record(seconds=78.3e-6, in_place=True)]).splitlines()
    assert "\n".join(line.rstrip() for line in lines[3:7]) == ALL_REDUCE_PERF
    assert "# Out of bounds values : 0 OK" in lines
    average = next(line for line in lines if line.startswith("# Avg bus bandwidth"))
    assert float(average.split(":")[1]) == pytest.approx(0.02, rel=0.05)


def test_nccl_says_what_was_wrong() -> None:
    output = nccl_tests([record(wrong=7)])
    assert parse_nccl(output)[0]["#wrong"] == "7"
    assert "# Out of bounds values : 7 FAILED" in output


def test_foreign_formats_have_a_block_for_each_algorithm() -> None:
    records = [record("ring"), record("native"), record("ring", 8), record("native", 8)]
    assert osu(records).count("# Size ") == 2
    assert nccl_tests(records).count("Avg bus bandwidth") == 2
    assert [size for size, _ in parse_osu(osu(records))] == [8, 1024, 8, 1024]


def test_crowded_cores_are_said_in_every_format() -> None:
    crowded = [replace(record(), oversubscribed=True)]
    for output in (osu(crowded), nccl_tests(crowded), _shown(crowded)):
        assert "more ranks than cores" in " ".join(output.split())


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(UsageFault, match="table, osu, nccl-tests"):
        text("yaml")


def test_our_table_says_units_ratio_and_faults() -> None:
    shown = _shown([record("native"), record("ring", wrong=3)])
    assert "busbw" in shown
    assert "(GB/s)" in shown
    assert "(us)" in shown
    assert "9.00 .. 12.0" in shown
    assert "1.50 [1.25, 1.75]" in shown
    assert "3 wrong" in shown
    assert "1KiB" in shown


def test_our_table_says_when_samples_are_too_few() -> None:
    assert "too few" in _shown([replace(record(), measured_low=None, measured_high=None)])


def test_our_table_shows_predictions_where_there_are_any() -> None:
    assert "theory" not in _shown([record()])
    assert "12.0" in _shown([replace(record(), theory_seconds=12e-6, simulated_seconds=11e-6, bound_seconds=5e-6)])


def _shown(records: list[Record]) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    for table in tables(records):
        console.print(table)
    return console.export_text()
