"""`ciranda kernels`: records whose figures agree with each other, tables, refusals, and every kernel on the list."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from experiments import cli, kernel_places
from experiments.kernel_cases import FAMILIES, Case
from experiments.kernel_timing import measure
from kernels import checksum, compress, optimise, reduce
from kernels.cuda.device import using
from tests.ptx.device import Emulated

TINY = ("--sizes", "1KiB", "--samples", "1", "--json")
QUICK = ("--sizes", "4KiB", "--samples", "7")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["kernels", *arguments]) == 0
    return capsys.readouterr().out


def test_the_figures_of_a_record_agree(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(capsys, "sum", "crc32c", "--dtype", "float32,uint8", *QUICK, "--json"))
    records = found["records"]
    kernels = [(record["kernel"], record["dtype"], record["in_place"]) for record in records]
    assert kernels == [
        ("sum", "float32", True), ("sum", "float32", False), ("sum", "uint8", True), ("sum", "uint8", False),
        ("crc32c", "uint8", False),
    ]  # fmt: skip
    for record in records:
        assert record["device"] == "cpu"
        assert record["nbytes"] == 4096
        assert record["samples"] == 7
        assert record["measured_low"] <= record["measured_seconds"] <= record["measured_high"]
        assert record["moved"] == 4096 * (3 if record["family"] == "reduce" else 1)
        assert record["bytes_per_second"] == pytest.approx(record["moved"] / record["measured_seconds"])
        assert record["copy_bytes_per_second"] == pytest.approx(2 * 4096 / record["copy_seconds"])
        share = record["bytes_per_second"] / record["copy_bytes_per_second"]
        assert record["copy_share"] == pytest.approx(share)
        assert record["copy_share_low"] <= record["copy_share"] <= record["copy_share_high"]
        if record["numpy_seconds"] is not None:
            assert record["numpy_ratio"] == pytest.approx(record["numpy_seconds"] / record["measured_seconds"])
    assert [record["numpy_seconds"] is None for record in records] == [False] * 4 + [True]
    assert found["environment"]["cores"] >= 1


def test_the_table_fits(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "sum", "--dtype", "float32", *QUICK).splitlines()
    assert lines[0].strip() == "reduce on cpu"
    assert [line[:14].strip() for line in lines if line.startswith("sum")] == ["sum, in place", "sum"]
    assert all(len(line) <= 80 for line in lines[:6])


def test_what_takes_half_of_the_time_is_twice_as_fast() -> None:
    case = Case("x", "x", "uint8", 1 << 16, False, 4 << 16, lambda: time.sleep(0.002), lambda: time.sleep(0.004))
    timing = measure(case, kernel_places.named("cpu"), 7)
    assert timing.numpy_ratio is not None
    assert 1.2 < timing.numpy_ratio.value < 3
    assert timing.copy_share.value == pytest.approx(2 * timing.copy.value / timing.kernel.value)
    assert timing.copied_by in ("memcpy", "stores past caches")


def test_every_kernel_that_a_module_lists_is_measured() -> None:
    place = kernel_places.named("cpu")
    found: dict[str, set[str]] = {}
    for family, makers in FAMILIES.items():
        for dtype in ("float32", "float64", "int32", "uint8"):
            cases = [case for maker in makers for case in maker(place, np.dtype(dtype), 64)]
            found.setdefault(family, set()).update(case.kernel for case in cases)
    elementwise = [name for name in reduce.names() if not name.endswith("loc")]  # pairs are NumPy's
    assert found["reduce"] == {*elementwise, "sum of 4", "sum of 8", "average of 4", "scale_add"}
    assert found["compress"] == {f"{name} {way}" for name in compress.names() for way in ("encode", "decode")}
    assert found["optimise"] == set(optimise.names())
    assert found["checksum"] == set(checksum.names())


def test_a_device_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    device = Emulated(delayed=True)
    with using(device):
        out = shown(
            capsys, "sum", "--device", "cuda", "--dtype", "float32", "--sizes", "1KiB", "--samples", "1", "--json"
        )
    (in_place, apart) = json.loads(out)["records"]
    assert in_place["device"] == apart["device"] == "cuda"
    assert in_place["copied_by"] == "device copy"
    assert in_place["numpy_seconds"] is None
    launches = [place for place, (word, _) in enumerate(device.trace) if word.startswith("launch sum")]
    assert launches
    assert all("synchronize" in [word for word, _ in device.trace[place:]] for place in launches)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--device", "cuda"], "there is no CUDA device here"),
        (["--device", "tpu"], "device 'tpu' is not known; use cpu or cuda"),
        (["--dtype", "float31"], "dtype 'float31' is not known"),
        (["average", "--dtype", "float32", "--sizes", "64"], "no kernel is called average for float32"),
        (["--sizes", "big"], "'big'"),
        (["--samples", "0"], "'--samples'"),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    monkeypatch.setattr("kernels.cuda.presence.count", lambda: 0)
    assert cli.run(["kernels", *arguments]) == cli.BAD_USE
    error = capsys.readouterr().err
    assert complaint in error
    assert len(error.splitlines()) == 1
