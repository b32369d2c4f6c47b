"""From samples to records: medians over launches, warm-up left out, faults kept, half a line passed over."""

import json
from pathlib import Path

import numpy as np
import pytest

from collectives.profile import Profile
from experiments.predict import predictions
from experiments.records import read_document
from experiments.samples import read, summarise, write_folder
from simulator import theory


def line(algorithm: str, seconds: float, **more: object) -> dict[str, object]:
    end = round(seconds * 1e9)
    return {
        "launch": 0, "visit": 0, "algorithm": algorithm, "ranks": 2, "nbytes": 1024, "dtype": "float32", "op": "sum",
        "in_place": False, "sample": 0, "warmup": False, "seconds": seconds, "enter_ns": [0, end // 4],
        "exit_ns": [end // 2, end], "cpu_ns": [end // 8, end // 4],
        "at": 0.0, "wrong": 0, "correct": True, "oversubscribed": False, "clock": "shared",
    } | more  # fmt: skip


def test_known_samples() -> None:
    times = [float(number) for number in range(1, 11)]
    lines = [line("ring", 1e-6 * t, launch=int(t) % 2) for t in times]
    lines += [line("native", 2e-6 * t) for t in times]
    lines += [line("ring", 1.0, warmup=True), line("native", 1.0, warmup=True)]
    native, ring = summarise(lines, "Open MPI 5.0.11")
    assert (native.algorithm, native.executor, native.is_native) == ("native", "native", True)
    assert (ring.algorithm, ring.executor, ring.collective) == ("ring", "interpreted", "allreduce")
    assert (ring.samples, ring.launches, ring.library) == (10, 2, "Open MPI 5.0.11")
    assert (ring.measured_seconds, ring.measured_low, ring.measured_high) == pytest.approx((5.5e-6, 2e-6, 9e-6))
    assert ring.native_seconds == pytest.approx(11e-6)
    assert ring.native_ratio == pytest.approx(2.0)
    assert ring.native_ratio_low is not None
    assert ring.native_ratio_low <= 2.0 <= (ring.native_ratio_high or 0)
    assert native.native_ratio is None
    assert ring.algbw == pytest.approx(1024 / 5.5e-6)
    assert ring.busbw == pytest.approx(1024 / 5.5e-6)  # 2(p-1)/p is 1 for two ranks
    # Rank 0 spends 1/2 of each call in it, rank 1 from 1/4 to the end.
    mean = np.mean(times) * 1e-6
    assert (ring.rank_min_seconds, ring.rank_max_seconds) == pytest.approx((mean / 2, mean * 3 / 4), rel=1e-3)
    assert ring.rank_mean_seconds == pytest.approx(mean * 5 / 8, rel=1e-3)
    # Of the median call, rank 0 spends 1/8 on its processor and rank 1 1/4.
    assert (ring.cpu_seconds, ring.cpu_max_seconds) == pytest.approx((5.5e-6 * 3 / 16, 5.5e-6 / 4), rel=1e-3)
    assert ring.place == "local"


def test_few_samples_have_no_interval() -> None:
    (record,) = summarise([line("ring", 1e-6)] * 5, "")
    assert (record.measured_seconds, record.measured_low, record.measured_high) == (1e-6, None, None)
    assert (record.native_seconds, record.native_ratio) == (None, None)


def test_samples_of_the_first_schema_have_no_cpu_time() -> None:
    old = [{key: value for key, value in line("ring", 1e-6).items() if key != "cpu_ns"} for _ in range(3)]
    (record,) = summarise(old, "", "cluster")
    assert (record.cpu_seconds, record.cpu_max_seconds, record.place) == (None, None, "cluster")


def test_wrong_elements_are_counted_once_a_visit() -> None:
    lines = [line("ring", 1e-6, wrong=3, correct=False, visit=visit) for visit in (0, 1) for _ in range(4)]
    lines += [line("ring", 1e-6, launch=1)]
    (record,) = summarise(lines, "")
    assert (record.correct, record.wrong) == (False, 6)


def test_cells_do_not_mix() -> None:
    lines = [
        line("ring", 1e-6 * (1 + number), **{key: value})
        for number, (key, value) in enumerate(
            [("ranks", 4), ("nbytes", 8), ("dtype", "int32"), ("op", "max"), ("in_place", True), ("ranks", 2)]
        )
    ]
    for entry in lines:
        entry["enter_ns"] = entry["exit_ns"] = entry["cpu_ns"] = [0] * int(str(entry["ranks"]))
    records = summarise(lines, "")
    assert len(records) == 6
    assert len({record.cell for record in records}) == 6


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text(json.dumps(line("ring", 1e-6)) + "\n" + json.dumps(line("ring", 2e-6))[:40])
    assert [entry["seconds"] for entry in read(file)] == [1e-6]


def test_a_folder_holds_what_was_put_in(tmp_path: Path) -> None:
    profile = Profile(1e-6, 1e-9, 1e-10, ranks=2)
    records = predictions(summarise([line("ring", 1e-6)] * 7 + [line("native", 1e-6)] * 7, "M"), {2: profile})
    write_folder(tmp_path, records, {"cores": 2}, {2: profile})
    stored, environment = read_document(json.loads((tmp_path / "results.json").read_text()))
    assert stored == records
    assert environment == {"cores": 2, "samples_schema": 2} == json.loads((tmp_path / "environment.json").read_text())
    assert (tmp_path / "results.parquet").is_file()
    assert Profile.load(tmp_path / "profile-2.json") == profile


def test_predictions_come_from_the_profile_of_that_many_ranks() -> None:
    lines = [line("ring", 1e-5)] * 7 + [line("native", 1e-5)] * 7
    other = [dict(entry, ranks=4, enter_ns=[0] * 4, exit_ns=[1] * 4, cpu_ns=[0] * 4) for entry in lines]
    records = predictions(summarise(lines + other, "M"), {2: Profile(1e-6, 1e-9, 1e-10)})
    by = {(record.ranks, record.algorithm): record for record in records}
    ring, native = by[2, "ring"], by[2, "native"]
    assert ring.theory_seconds == pytest.approx(2e-6 + 1024 * 1e-9 + 512 * 1e-10)
    assert ring.simulated_seconds == pytest.approx(ring.theory_seconds)
    assert ring.bound_seconds == native.bound_seconds == theory.bound("allreduce", 2, 1024, 1e-6, 1e-9, 1e-10)
    assert native.theory_seconds is native.simulated_seconds is None
    assert by[4, "ring"].bound_seconds is None
