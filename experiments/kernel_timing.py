"""How long a kernel takes beside a copy and beside NumPy: calls in turns, so that all see the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from experiments.kernel_cases import Case
from experiments.kernel_places import Place
from experiments.statistics import Estimate, median, median_ratio

__all__ = ["Timing", "measure"]

SHORTEST = 2e-4
"""Seconds that a sample lasts at least: as many calls as fit are timed together, and the clock does not matter."""

LONGEST = 1.0
"""Seconds after which a side takes no more samples, once it has the fewest that an interval of a ratio needs."""

FEWEST = 7


@dataclass(frozen=True, slots=True)
class Timing:
    """A kernel's time by call with its 95 % interval; what the fastest copy of one of its arrays took, and NumPy.

    ``copy_share``: bytes that the kernel moves in a second over those of the copy, which reads and writes each once.
    ``numpy_ratio``: NumPy's time over the kernel's, above 1 where the kernel is faster. Ends of intervals are None
    where there are too few samples.
    """

    kernel: Estimate
    samples: int
    copy: Estimate
    copied_by: str
    copy_share: Estimate
    numpy: Estimate | None
    numpy_ratio: Estimate | None

    def record(self, case: Case, place: Place) -> dict[str, Any]:
        """The flat record that ``--json`` prints."""
        about = {name: value for name, value in asdict(case).items() if name not in ("run", "numpy")}
        return about | {
            "device": place.name,
            **_flat("measured", self.kernel, "_seconds"),
            "samples": self.samples,
            "bytes_per_second": case.moved / self.kernel.value,
            **_flat("copy", self.copy, "_seconds"),
            "copied_by": self.copied_by,
            "copy_bytes_per_second": 2 * case.nbytes / self.copy.value,
            **_flat("copy_share", self.copy_share),
            **_flat("numpy", self.numpy, "_seconds"),
            **_flat("numpy_ratio", self.numpy_ratio),
        }


def measure(case: Case, place: Place, samples: int) -> Timing:
    """Time a case. Each side is called once before, which compiles it and touches its memory."""
    source, target = (place.array(np.zeros(case.nbytes, np.uint8)) for _ in range(2))
    copies = place.copies(source, target)
    sides = {"kernel": case.run, **({"numpy": case.numpy} if case.numpy else {}), **copies}
    with np.errstate(all="ignore"):  # sums in place grow from call to call
        times = _in_turns({name: _Side(call, place.wait) for name, call in sides.items()}, samples)
    best = min(copies, key=lambda name: float(np.median(times[name])))
    share = median_ratio(times[best], times["kernel"])
    return Timing(
        median(times["kernel"]), len(times["kernel"]), median(times[best]), best,
        _times(share, case.moved / (2 * case.nbytes)),
        median(times["numpy"]) if case.numpy else None,
        median_ratio(times["numpy"], times["kernel"]) if case.numpy else None,
    )  # fmt: skip


class _Side:
    """One of the calls that are compared, with how many of them make a sample."""

    def __init__(self, call: Callable[[], object], wait: Callable[[], None]) -> None:
        self._call, self._wait, self._calls = call, wait, 1
        self.seconds()
        while (took := self.seconds() * self._calls) < SHORTEST:
            self._calls *= max(2, min(10, round(SHORTEST / took)))

    def seconds(self) -> float:
        """The time by call of one sample."""
        call, calls = self._call, range(self._calls)
        begin = time.perf_counter()
        for _ in calls:
            call()
        self._wait()
        return (time.perf_counter() - begin) / self._calls

    def whole(self, seconds: float) -> float:
        """How long a sample of calls of so many seconds is."""
        return seconds * self._calls


def _in_turns(sides: dict[str, _Side], samples: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in sides}
    spent = dict.fromkeys(sides, 0.0)
    for done in range(samples):
        for name, side in sides.items():
            if done < FEWEST or spent[name] < LONGEST:
                times[name].append(side.seconds())
                spent[name] += side.whole(times[name][-1])
    return times


def _times(estimate: Estimate, factor: float) -> Estimate:
    low, high = (None if end is None else end * factor for end in (estimate.low, estimate.high))
    return Estimate(estimate.value * factor, low, high)


def _flat(name: str, estimate: Estimate | None, unit: str = "") -> dict[str, float | None]:
    if estimate is None:
        estimate_value = low = high = None
    else:
        estimate_value, low, high = estimate.value, estimate.low, estimate.high
    return {f"{name}{unit}": estimate_value, f"{name}_low": low, f"{name}_high": high}
