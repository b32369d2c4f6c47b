"""The environment object: complete, plain JSON, and silent on whose machine it is."""

import getpass
import json
import socket
from pathlib import Path

import pytest

from experiments import environment
from experiments.job import library_name
from experiments.machine import cores


def test_it_says_what_matters_and_is_plain_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_MCA_btl", "tcp,self")
    monkeypatch.setenv("CIRANDA_PROFILE", "/home/somebody/profile.json")
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    found = environment.collect()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["cores"] == cores()
    assert found["packages"]["mpi4py"]
    assert found["variables"]["OMPI_MCA_btl"] == "tcp,self"
    assert found["load_average"] >= 0
    text = json.dumps(found)
    assert "hunter2" not in text
    assert "somebody" not in text
    assert str(Path.home()) not in json.dumps({key: value for key, value in found.items() if key != "cpu"})
    for name in (socket.gethostname(), getpass.getuser()):
        assert f'"{name}"' not in text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Open MPI v5.0.11, package: Open MPI root@buildhost Distribution, ident: 5.0.11", "Open MPI 5.0.11"),
        ("MPICH Version:      4.3.0\nMPICH Release date: Mon Feb  3 2025", "MPICH 4.3.0"),
        ("Intel(R) MPI Library 2021.14 for Linux* OS", "Intel(R) MPI 2021.14"),
        ("MVAPICH2 Version      :\t2.3.7\n", "MVAPICH2 2.3.7"),
        ("Somebody's MPI\nwith details", "Somebody's MPI"),
        ("", "an unknown MPI"),
    ],
)
def test_library_names(text: str, name: str) -> None:
    assert library_name(text) == name
