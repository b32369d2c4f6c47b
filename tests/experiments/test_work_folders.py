"""Work folders are gone afterwards, also after kill -9, and nobody else's goes with them."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from experiments.work_folders import sweep, work_folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_private_and_gone_on_leaving(elsewhere: Path) -> None:
    def work() -> None:
        with work_folder() as folder:
            assert folder.stat().st_mode & 0o077 == 0
            assert sweep() == 0  # its process lives
            (folder / "file").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert list(elsewhere.iterdir()) == []


def test_what_a_killed_process_has_left_goes_with_the_next_one(elsewhere: Path) -> None:
    code = "import time; from experiments.work_folders import work_folder\nwith work_folder(): print(flush=True); "
    code += "time.sleep(60)"
    environment = {**os.environ, "TMPDIR": str(elsewhere)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert len(list(elsewhere.iterdir())) == 1
    with work_folder() as folder:
        assert list(elsewhere.iterdir()) == [folder]


def test_what_is_not_ours_stays(elsewhere: Path) -> None:
    space = os.stat("/proc/self/ns/pid").st_ino
    kept = {"ciranda-notes", f"ciranda-{space + 1}-1-1-x", "ciranda-x"}
    for name in kept:
        (elsewhere / name).mkdir()
    target = elsewhere / "target"
    target.mkdir()
    (elsewhere / f"ciranda-{space}-1-1-link").symlink_to(target)
    assert sweep() == 0
    assert {entry.name for entry in elsewhere.iterdir()} == kept | {"target", f"ciranda-{space}-1-1-link"}
