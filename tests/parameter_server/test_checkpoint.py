import os
import random
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from collectives.parameter_server.checkpoint import CheckpointError, Checkpoints, Interval

ARRAYS = {
    "weights": np.linspace(-1, 1, 1000, dtype=np.float32),
    "clocks": np.arange(6, dtype=np.int64).reshape(2, 3),
    "nothing": np.empty(0, np.float64),
    "flag": np.array(True),
}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "new", "server0")
    assert checkpoints.newest() is None
    path = checkpoints.write(3, ARRAYS, {"workers": [1, 2], "run": "café"})
    found = checkpoints.newest()
    assert (found.path, found.number, found.passed_over) == (path, 3, ())
    assert found.facts == {"workers": [1, 2], "run": "café"}
    assert list(found.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert (found.arrays[name] == array).all()


def test_two_are_kept_and_other_names_left_alone(tmp_path: Path) -> None:
    other = Checkpoints(tmp_path, "server1").write(1, ARRAYS)
    checkpoints = Checkpoints(tmp_path, "server0")
    paths = [checkpoints.write(number, ARRAYS) for number in (1, 2, 3)]
    assert set(tmp_path.iterdir()) == {other, *paths[1:]}


def test_a_line_that_was_given_up_is_not_taken_later(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "server0")
    for number in (1, 5, 9, 6):
        checkpoints.write(number, ARRAYS)
    assert checkpoints.newest().number == 6


def test_a_damaged_one_is_named_and_the_one_before_is_taken(tmp_path: Path) -> None:
    rng = random.Random(1)
    checkpoints = Checkpoints(tmp_path, "server0")
    checkpoints.write(1, {"weights": ARRAYS["weights"]})
    path = checkpoints.write(2, ARRAYS, {"step": 2})
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        if rng.random() < 0.3:
            del damaged[rng.randrange(len(whole)) :]
        else:
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        found = checkpoints.newest()
        assert found.number == 1
        assert str(path) in found.passed_over[0]


def test_where_all_are_damaged_nothing_is_made_up(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "server0")
    path = checkpoints.write(1, ARRAYS)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(CheckpointError, match=r"server0-000000000001\.checkpoint: bytes after its end"):
        checkpoints.newest()


def test_objects_are_refused_before_anything_is_renamed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "server0")
    with pytest.raises(ValueError, match="words is neither"):
        checkpoints.write(1, {"words": np.array([object()])})
    assert checkpoints.newest() is None


def test_a_killed_writer_always_leaves_a_whole_one(tmp_path: Path) -> None:
    """SIGKILL at random moments: what is found is whole, no older than what was reported, and consistent in itself."""
    rng = random.Random(7)
    checkpoints = Checkpoints(tmp_path, "server0")
    checkpoints.write(0, {"a": np.zeros(1), "b": np.zeros(1)})  # loads the checksum's code before the forks
    last = partials = 0
    for _ in range(25):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _write_without_end(checkpoints, last, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            reported = [pipe.read(8)]
            time.sleep(rng.uniform(0, 0.01))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            reported += iter(partial(pipe.read, 8), b"")
        partials += any(tmp_path.glob("*.partial"))
        found = checkpoints.newest()
        assert not found.passed_over
        assert found.number >= int.from_bytes(reported[-1], "little") > last
        for array in found.arrays.values():
            assert (array == found.number).all()
        last = found.number
    assert partials  # some were hit in the middle


def _write_without_end(checkpoints: Checkpoints, number: int, pipe: int) -> None:
    try:
        while True:
            number += 1
            checkpoints.write(number, {"a": np.full(20_000, number), "b": np.full(20_000, number, np.float32)})
            os.write(pipe, number.to_bytes(8, "little"))
    finally:
        os._exit(1)


def test_an_interval_is_in_seconds_or_updates() -> None:
    interval = Interval(seconds=10, updates=100)
    assert not interval.due(1000, 0)  # nothing happened
    assert interval.due(5, 100)
    interval.written(5, 100)
    assert not interval.due(14, 199)
    assert interval.due(14, 200)
    assert interval.due(15, 101)
    with pytest.raises(ValueError, match="above 0"):
        Interval(seconds=0)
