"""Real data that needs no download, by name; and the same data on all ranks, read by one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.errors import Failure, UsageFault
from experiments.training.dataset import Dataset
from experiments.training.datasets.digits import Digits
from experiments.training.datasets.fashion_mnist import FashionMnist
from experiments.training.datasets.python_sources import PythonSources
from experiments.training.datasets.raw import Raw, Source
from experiments.training.spelling import spelled

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["get", "names", "shared"]


def names() -> list[str]:
    """All data sets, the smallest first."""
    return list(_KNOWN)


def get(text: str) -> Dataset:
    """The data set that ``text`` spells: "digits", "fashion-mnist:samples=6000", "python-sources:context=128".

    UsageFault where the name or a parameter is unknown, or where this host has no such data.
    """
    source = _source(text)
    return source.dataset(source.read())


def shared(text: str, comm: MPI.Intracomm) -> Dataset:
    """The same for all ranks of ``comm``: rank 0 reads it, the others need not have it. Collective.

    A broadcast of the data as stored (digits 117 kB, Fashion-MNIST up to 55 MB), and two small ones. What fails on
    rank 0 is raised on all ranks: UsageFault as it was, and anything else as a Failure.
    """
    source = _source(text)  # wrong text is wrong on all ranks alike
    header, raw = _read(source) if comm.rank == 0 else ({}, None)
    header = _broadcast_header(header, comm)
    if "usage" in header:
        raise UsageFault(header["usage"])
    if "failure" in header:
        raise Failure(f"rank 0 could not read the data set {text}: {header['failure']}")
    arrays = raw.arrays if raw else tuple(np.empty(shape, np.uint8) for shape in header["shapes"])
    for array in arrays:
        comm.Bcast(array, root=0)
    return source.dataset(raw or Raw(arrays, header["origin"]))


def _source(text: str) -> Source:
    return spelled("data set", text, _KNOWN)()


def _read(source: Source) -> tuple[dict[str, Any], Raw | None]:
    """What rank 0 tells the others: the arrays that come, or why none do."""
    try:
        raw = source.read()
    except UsageFault as fault:
        return {"usage": str(fault)}, None
    except Exception as fault:  # noqa: BLE001 - whatever it is, the other ranks wait for word of it
        return {"failure": f"{type(fault).__name__}: {fault}"}, None
    return {"shapes": [array.shape for array in raw.arrays], "origin": raw.origin}, raw


def _broadcast_header(header: Mapping[str, Any], comm: MPI.Intracomm) -> dict[str, Any]:
    text = json.dumps(header).encode()
    length = np.array([len(text)], np.int64)
    comm.Bcast(length, root=0)
    letters = np.frombuffer(text, np.uint8).copy() if comm.rank == 0 else np.empty(length[0], np.uint8)
    comm.Bcast(letters, root=0)
    return json.loads(letters.tobytes())


_KNOWN: Mapping[str, Callable[..., Source]] = MappingProxyType(
    {"digits": Digits, "fashion-mnist": FashionMnist, "python-sources": PythonSources}
)
