"""Whether this MPI takes addresses of device memory: asked in every way there is, and tried where it matters.

A wrong "yes" is a crash in the middle of a program, so no answer of the library's own is believed before a message from
device memory to device memory has arrived, in a child process that may crash or hang in our place.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from mpi4py import MPI

from kernels.cuda import presence
from kernels.cuda.device import Device, current
from kernels.device_array import LEGACY

__all__ = ["VARIABLE", "Awareness", "Evidence", "examine", "round_trip", "tried"]

VARIABLE = "CIRANDA_CUDA_AWARE"
LIMIT = 60.0
"""Seconds that the trial may take: a context on a card and an MPI of one rank are made in a few."""

_NBYTES = 1 << 20  # beyond every eager limit, so that the library's way for large messages is tried too
_GPU_SUPPORT_CUDA = 0  # MPIX_GPU_SUPPORT_CUDA of MPICH's mpi.h
_NO_DEVICE, _WRONG_BYTES = 3, 4
_OF_THE_LAUNCH = ("PMIX_", "PMI_", "OMPI_COMM_", "OMPI_UNIVERSE_", "OMPI_APP_", "SLURM_", "HYDRA_", "MPI_LOCAL")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one way of asking said; ``answer`` is None where it says nothing."""

    asked: str
    answer: bool | None
    detail: str

    def __str__(self) -> str:
        """A line for people."""
        return f"{self.asked}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Awareness:
    """The verdict, the evidence that settled it, and all that was found."""

    aware: bool
    reason: str
    evidence: tuple[Evidence, ...]


def examine() -> Awareness:
    """Ask everyone, and try it if there is a card and nobody has said no.

    ``CIRANDA_CUDA_AWARE=yes`` or ``no`` settles it; ValueError for other words. Without a card this takes no time;
    with one, the trial takes some seconds, once in a process.
    """
    found = [_override(), _library(), _memory_kinds()]
    override, library, kinds = (one.answer for one in found)
    if override is not None:
        return _verdict(override, found, 0)
    if library is False and not kinds:
        return _verdict(False, found, 1)
    if not presence.count():
        found.append(Evidence("a card", False, "none here, so nothing could be tried"))
    else:
        found.append(_trial())
    return _verdict(bool(found[-1].answer), found, -1)


def _verdict(aware: bool, found: Sequence[Evidence], settled: int) -> Awareness:
    return Awareness(aware, str(found[settled]), tuple(found))


def _override() -> Evidence:
    word = os.environ.get(VARIABLE, "")
    if word not in ("", "yes", "no"):
        raise ValueError(f"{VARIABLE} must be 'yes' or 'no', or not be set; got {word!r}")
    return Evidence(VARIABLE, {"": None, "yes": True, "no": False}[word], word or "not set")


def _library() -> Evidence:
    """The loaded library's own answer: mpi4py's module is linked with it, so its symbols are found through that."""
    library = ctypes.CDLL(MPI.__file__)
    try:
        answer = bool(library.MPIX_Query_cuda_support())
        return Evidence("MPIX_Query_cuda_support", answer, "yes" if answer else "no")
    except AttributeError:
        pass
    supported = ctypes.c_int(0)
    try:
        failed = library.MPIX_GPU_query_support(_GPU_SUPPORT_CUDA, ctypes.byref(supported))
    except AttributeError:
        return Evidence("MPIX_Query_cuda_support", None, "this library has no such question")
    answer = not failed and bool(supported.value)
    return Evidence("MPIX_GPU_query_support", answer, "yes" if answer else "no")


def _memory_kinds() -> Evidence:
    """MPI 4.1, section 12.4.3: the kinds of memory that may be handed over; those not asked for need not be listed."""
    info = MPI.COMM_WORLD.Get_info()
    kinds = info.Get("mpi_memory_alloc_kinds")
    info.Free()
    asked = "mpi_memory_alloc_kinds"
    if kinds is None:
        return Evidence(asked, None, "not told by this library")
    return Evidence(asked, True if "cuda" in kinds else None, kinds)


# --- the trial --------------------------------------------------------------------------------------------------------


@cache
def _trial() -> Evidence:
    return tried([sys.executable, "-m", "collectives.cuda_aware"], LIMIT)


def tried(command: Sequence[str], limit: float) -> Evidence:
    """What came of the round trip in a process of its own, which is no rank of this launch."""
    asked = "a message from device memory to device memory, in a child process"
    alone = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_LAUNCH)}
    try:
        done = subprocess.run(command, env=alone, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return Evidence(asked, False, f"no answer within {limit:g} s")
    except OSError as problem:
        return Evidence(asked, False, f"the child did not start: {problem}")
    if done.returncode == 0:
        return Evidence(asked, True, "arrived as it was sent")
    told = {_NO_DEVICE: "no CUDA device there", _WRONG_BYTES: "other bytes arrived than were sent"}
    return Evidence(asked, False, told.get(done.returncode) or _death(done))


def _death(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"the child died of {signal.Signals(-done.returncode).name}"
    lines = done.stderr.strip().splitlines() or ["no message"]
    return f"the child ended with exit code {done.returncode}: {lines[-1][:120]}"


def round_trip(device: Device) -> bool:
    """Whether MPI carries bytes from one place on the device to another, right; a crash if it is not CUDA-aware."""
    sent = np.random.default_rng(0).integers(0, 256, _NBYTES, np.uint8)
    source, target = device.allocate(_NBYTES), device.allocate(_NBYTES)
    device.copy_in(source, sent, LEGACY)
    device.copy_in(target, np.zeros(_NBYTES, np.uint8), LEGACY)
    device.synchronize(LEGACY)
    messages = (MPI.memory.fromaddress(one.address, _NBYTES) for one in (source, target))
    out, into = ([message, MPI.BYTE] for message in messages)
    MPI.COMM_SELF.Sendrecv(out, 0, recvbuf=into, source=0)
    got = np.empty_like(sent)
    device.copy_out(got, target, LEGACY)
    device.synchronize(LEGACY)
    return bool((got == sent).all())


def main() -> int:
    """The child: 0 if the message arrived, otherwise a code that tells why not, or a crash."""
    device = current()
    if device is None:
        return _NO_DEVICE
    return 0 if round_trip(device) else _WRONG_BYTES


if __name__ == "__main__":
    sys.exit(main())
