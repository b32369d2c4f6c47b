"""A smoke test in Numba's CUDA simulator, which runs a kernel's Python with a thread for each thread of a block.

Run it in a process of its own, where ``NUMBA_ENABLE_CUDASIM=1`` is set before Numba is imported. The kernels'
intrinsics are LLVM code, of which the simulator knows nothing, and it has no shuffles: here each has a reading in plain
Python. What is shown is the kernels' indexing and flow, by an interpreter that has nothing in common with the one for
PTX. ``WITHOUT`` lists the families that are left out.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numba import cuda
from numba.cuda import extending
from numba.cuda.simulator.kernelapi import FakeCUDAModule

from kernels.cuda.kernel import Kernel
from kernels.device_array import LEGACY
from tests.kernels.cuda_cases import CASES
from tests.ptx.device import Emulated
from tests.ptx.harness import identical

__all__ = ["WITHOUT"]

WITHOUT = frozenset({"norms", "powersgd", "topk"})
"""Norms are made within intrinsics; the shuffles of the other two would take thirteen seconds here."""

Reading = Callable[..., Any]
TURN = threading.Lock()
PATIENCE = 200.0
"""Seconds that a thread waits for the others of its warp."""


class Simulated(Emulated):
    """Launches in the simulator; memory, copies and streams as there."""

    def launch(self, kernel: Kernel, blocks: int, arguments: Sequence[int | float], stream: int = LEGACY) -> None:
        self.trace.append((f"launch {kernel.name}", stream))
        given = [getattr(np, name)(value) for name, value in zip(kernel.signature, arguments, strict=True)]
        cuda.jit(kernel.function)[blocks, kernel.threads](*given)


def _dtype(element: Any) -> np.dtype[Any]:
    return np.dtype(element.name)


def _load(address: int, *, element: Any, count: int, **_: Any) -> Any:
    dtype = _dtype(element)
    values = np.frombuffer(ctypes.string_at(int(address), dtype.itemsize * count), dtype)
    return values[0] if count == 1 else tuple(values)


def _store(address: int, values: Any, *, value: Any, count: int) -> None:
    dtype = _dtype(value if count == 1 else value.dtype)
    octets = np.array([values] if count == 1 else values).astype(dtype).tobytes()
    ctypes.memmove(int(address), octets, len(octets))


def _halves(name: str) -> Reading:
    """``float16x2_to_float32`` and its like."""
    origin, target = name.split("_to_")
    kinds = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16), "float32": np.dtype(np.float32)}
    if origin == "float32":
        dtype = kinds[target.removesuffix("x2")]
        pattern = np.uint32 if target.endswith("x2") else np.uint16
        return lambda *values: np.array(values, np.float32).astype(dtype).view(pattern)[0]
    dtype = kinds[origin.removesuffix("x2")]
    if origin.endswith("x2"):
        return lambda bits: tuple(np.array([bits], np.uint32).view(dtype).astype(np.float32))
    return lambda bits: np.array([bits], np.uint16).view(dtype).astype(np.float32)[0]


def _add_at(address: int, number: int) -> None:
    with TURN:
        place = ctypes.c_uint32.from_address(int(address))
        place.value += int(number)


def _reduction(
    sources: Any, out: int, offset: int, jump: int, scale: float, *, form: Any, vectors: int, **_: Any
) -> None:
    """The one operation that the cases ask for."""
    assert (form.operation, form.kind.name) == ("sum", "float32")
    for number in range(max(vectors, 1)):
        at, count = int(offset + number * jump), 4 if vectors else 1
        parts = [
            np.frombuffer(ctypes.string_at(int(base) + at, 4 * count), np.float32) for base in sources[: form.inputs]
        ]
        ctypes.memmove(int(out) + at, sum(parts[1:], parts[0]).tobytes(), 4 * count)


READINGS: dict[str, Reading] = {
    "vector._loader.<locals>.load": _load,
    "vector._storer.<locals>.store": _store,
    "exact.times": lambda left, right: left * right,
    "loops.onward": lambda place, stride: place + stride,
    "patterns.bits_of": lambda value: np.array([value], np.float32).view(np.uint32)[0],
    "patterns.float_of": lambda bits: np.array([bits], np.uint32).view(np.float32)[0],
    "patterns.nearest_whole": np.rint,
    "patterns.lower_whole": np.floor,
    "patterns.add_at": _add_at,
    "strided._step.<locals>.step": _reduction,
}


class Meeting:
    """Where the threads of a warp bring a value each, and take another's."""

    def __init__(self) -> None:
        self._values: list[Any] = [None] * 32
        self._all = threading.Barrier(32)

    def exchanged(self, lane: int, value: Any, other: int) -> Any:
        """What lane ``other`` brings; the own value if there is no such lane."""
        self._values[lane] = value
        self._all.wait(PATIENCE)
        found = self._values[other] if 0 <= other < 32 else value
        self._all.wait(PATIENCE)
        return found


def _shuffle(other: Callable[[int, int], int]) -> Reading:
    def shuffled(_: Any, mask: int, value: Any, distance: int) -> Any:
        thread: Any = threading.current_thread()
        warp, lane = divmod(thread.thread_id, 32)
        with TURN:
            meetings = vars(thread._manager).setdefault("meetings", {})
            meeting = meetings.setdefault(warp, Meeting())
        return meeting.exchanged(lane, value, other(lane, int(distance)))

    return shuffled


SHUFFLES = {
    "shfl_down_sync": _shuffle(lambda lane, distance: lane + distance),
    "shfl_up_sync": _shuffle(lambda lane, distance: lane - distance),
    "shfl_xor_sync": _shuffle(lambda lane, distance: lane ^ distance),
}


def _read(intrinsic: Any, *arguments: Any) -> Any:
    """Do in Python what the intrinsic does on a card."""
    defined = intrinsic.__wrapped__
    module = defined.__module__.removeprefix("kernels.cuda.")
    if module == "halves":
        return _halves(defined.__name__)(*arguments)
    name = f"{module}.{defined.__qualname__}"
    if name not in READINGS:
        raise NotImplementedError(f"{name} has no reading in Python")
    bound = inspect.getclosurevars(defined).nonlocals if "<locals>" in name else {}
    return READINGS[name](*arguments, **bound)


def main(arguments: list[str]) -> int:
    """Run the cases, and print which were run as JSON; ``--wrong`` has reductions do nothing."""
    warnings.simplefilter("ignore", RuntimeWarning)  # whole numbers wrap, here one by one
    extending._Intrinsic.__call__ = _read
    for name, shuffle in SHUFFLES.items():
        setattr(FakeCUDAModule, name, shuffle)
    if arguments == ["--wrong"]:
        READINGS["strided._step.<locals>.step"] = lambda *_, **__: None
    done = []
    for family, case in CASES.items():
        if family not in WITHOUT:
            for got, expected in case(Simulated(watched=False)):
                identical(got, expected)
            done.append(family)
    print(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
