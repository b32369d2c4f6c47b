"""Data sets as they are read: what is in them, how they are parted, and what is said where they are missing."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from experiments.errors import UsageFault
from experiments.training import datasets
from experiments.training.datasets import digits
from experiments.training.datasets.fashion_mnist import FashionMnist
from experiments.training.datasets.python_sources import PythonSources


def test_digits_are_all_there() -> None:
    """How many of each class there are, and the sum of all shades, as scikit-learn's ``load_digits`` has them."""
    data = datasets.get("digits")
    assert data.inputs.shape == (1437, 8, 8, 1)
    assert data.test_inputs.shape == (360, 8, 8, 1)
    assert (data.inputs.dtype, data.targets.dtype, data.classes) == (np.float32, np.int64, 10)
    labels = np.concatenate([data.targets, data.test_targets])
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    dots = np.concatenate([data.inputs, data.test_inputs])
    assert (dots.min(), dots.max(), dots.sum(dtype=np.float64) * 16) == (0, 1, 561718)
    assert np.bincount(data.test_targets).min() > 25  # the draw leaves no class out


def test_without_scikit_learn_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(UsageFault, match="pip install scikit-learn"):
        datasets.get("digits")


def _written(path: Path, array: np.ndarray, magic: int) -> None:
    octets = struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(octets, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight pictures of 3 by 2 dots, and five to test by."""
    chance = np.random.default_rng(0)
    for part, count in (("train", 8), ("t10k", 5)):
        dots = chance.integers(256, size=(count, 3, 2), dtype=np.uint8)
        _written(tmp_path / f"{part}-images-idx3-ubyte.gz", dots, 0x803)
        _written(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8), 0x801)
    return tmp_path


def test_idx_files_are_read(folder: Path) -> None:
    source = FashionMnist(samples=6, tests=5, folder=folder)
    data = source.dataset(source.read())
    dots = np.random.default_rng(0).integers(256, size=(8, 3, 2), dtype=np.uint8)
    np.testing.assert_allclose(data.inputs[..., 0], dots[:6] / np.float32(255), rtol=1e-6)
    assert data.targets.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.test_inputs.shape == (5, 3, 2, 1)


@pytest.mark.parametrize("fault", ["truncated", "no-gzip", "magic", "fewer", "labels", "none"])
def test_bad_idx_files_are_refused(folder: Path, fault: str) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    dots = np.zeros((8, 3, 2), np.uint8)
    if fault == "truncated":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:30]))
    elif fault == "no-gzip":
        path.write_bytes(b"pictures")
    elif fault == "magic":
        _written(path, dots, 0x903)
    elif fault == "fewer":
        _written(path, dots[:4], 0x803)
    elif fault == "labels":
        _written(folder / "train-labels-idx1-ubyte.gz", np.full(8, 10, np.uint8), 0x801)
    else:
        path.unlink()
    with pytest.raises(UsageFault) as refused:
        FashionMnist(samples=6, tests=5, folder=folder).read()
    assert str(folder) in str(refused.value)
    assert "sudo apt reinstall dataset-fashion-mnist" in str(refused.value)
    assert fault != "fewer" or "it has 4 items, and 6 are wanted" in str(refused.value)


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="sudo apt install dataset-fashion-mnist"):
        FashionMnist(folder=tmp_path / "none").read()


def test_text_goes_on_from_window_to_window() -> None:
    data = datasets.get("python-sources:length=5000,context=48")
    text = PythonSources(length=5000).read().arrays[0]
    assert (data.inputs.dtype, data.targets.dtype, data.classes) == (np.uint8, np.int64, 256)
    assert (len(data.inputs), len(data.test_inputs)) == (94, 10)  # 104 windows fit into 4,999 bytes
    whole = np.concatenate([data.inputs[:9], data.test_inputs[:1], data.inputs[9:18]])
    aims = np.concatenate([data.targets[:9], data.test_targets[:1], data.targets[9:18]])
    assert (whole.ravel() == text[: 19 * 48]).all()
    assert (aims.ravel() == text[1 : 19 * 48 + 1]).all()


def test_text_begins_with_the_first_module() -> None:
    text = bytes(PythonSources(length=3000).read().arrays[0])
    assert text.startswith(Path(gzip.__file__).with_name("abc.py").read_bytes()[:3000])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("digit", "no data set is called 'digit'; known: digits, "),
        ("digits:samples=3", "digits has no parameter 'samples'; known: none"),
        ("fashion-mnist:folder=3", "has no parameter 'folder'; known: samples, tests"),
        ("python-sources:length=1000000000", "are wanted"),
        ("python-sources:length=100", "fewer than 10 windows of 64"),
    ],
)
def test_what_cannot_be_is_said(text: str, words: str) -> None:
    with pytest.raises(UsageFault) as fault:
        datasets.get(text)
    assert words in str(fault.value)
