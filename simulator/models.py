"""What a message costs beside the network it crosses: small pieces that compose into one model.

The links of a network give latency and bandwidth. What the ranks add, processor time, software latency, a half-duplex
stack, the speed of a reduction, is a ``Model``: one piece of each kind, and the kinds that are left out cost nothing.
Every piece says for arrays of messages what they cost, so the engine knows none of them by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.encodings import Encoding
from simulator.staging import Staging

__all__ = [
    "Busy",
    "Calibrated",
    "Cores",
    "Curve",
    "Duplex",
    "Hockney",
    "LogGOPS",
    "LogGP",
    "Message",
    "Model",
    "Reduction",
]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Message(Protocol):
    """How ranks send: what a message costs them beside the links it crosses. Seconds and bytes throughout."""

    @property
    def overhead(self) -> float:
        """Processor seconds that each end spends on a message."""
        ...

    @property
    def overhead_per_byte(self) -> float:
        """Processor seconds that each end spends on a byte."""
        ...

    @property
    def gapless(self) -> bool:
        """Whether no message leaves a gap behind."""
        ...

    @property
    def eager(self) -> float:
        """Messages of up to this many bytes go before their receiver is ready; below 0, none do."""
        ...

    @property
    def handshake(self) -> bool:
        """Whether a message that is not eager first asks, and waits for the answer: two latencies."""
        ...

    @property
    def least(self) -> tuple[float, float]:
        """The least latency of any message (s), and the least time for which a byte takes a port, gaps too (s/byte)."""
        ...

    def delay(self, nbytes: Ints) -> Floats:
        """Seconds of latency beside that of the links."""
        ...

    def gap(self, nbytes: Ints) -> Floats:
        """Seconds for which the ports stay taken after a message."""
        ...

    def seconds(self, nbytes: Ints) -> Floats:
        """Seconds for which the bytes take a port of the ranks at least, however fast the links are."""
        ...

    def longest_gap(self, nbytes: int) -> float:
        """The longest gap (s) that a message of up to ``nbytes`` bytes leaves."""
        ...


@dataclass(frozen=True, slots=True)
class Hockney:
    """α + mβ: ``alpha`` seconds of latency a message, and ports of 1/``beta`` bytes/s. Both ranks must be ready.

    Source: Hockney, "The communication challenge for MPP: Intel Paragon and Meiko CS-2" (1994).
    """

    alpha: float = 0.0
    beta: float = 0.0
    overhead = overhead_per_byte = 0.0
    gapless = True
    eager = -1.0
    handshake = False

    def __post_init__(self) -> None:
        _need(alpha=(self.alpha, "s"), beta=(self.beta, "s/byte"))

    @property
    def least(self) -> tuple[float, float]:
        """``alpha`` and ``beta``."""
        return self.alpha, self.beta

    def delay(self, nbytes: Ints) -> Floats:
        """``alpha`` each."""
        return np.full(len(nbytes), self.alpha)

    def longest_gap(self, nbytes: int) -> float:  # noqa: ARG002 - as the protocol has it
        """None."""
        return 0.0

    def gap(self, nbytes: Ints) -> Floats:
        """None."""
        return np.zeros(len(nbytes))

    def seconds(self, nbytes: Ints) -> Floats:
        """mβ."""
        return np.multiply(nbytes, self.beta, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class LogGOPS:
    """Processor and network apart: o + mO on each processor, ports taken for g + mG, L between them.

    Messages of up to ``S`` bytes are eager: they leave without their receiver, and their sender goes on after o + mO.
    Longer ones ask first, which costs two latencies, and hold their sender until they have arrived. A message counts
    m bytes where the paper counts m - 1, so that an empty one costs o + L + o and not G less.
    Source: Hoefler, Schneider and Lumsdaine, "LogGOPSim" (2010), section 2; LogGP: Alexandrov et al. (1995);
    LogP: Culler et al. (1993).
    """

    L: float = 0.0
    o: float = 0.0
    g: float = 0.0
    G: float = 0.0
    O: float = 0.0  # noqa: E741 - the model's own name
    S: float = math.inf
    handshake = True

    def __post_init__(self) -> None:
        _need(L=(self.L, "s"), o=(self.o, "s"), g=(self.g, "s"), G=(self.G, "s/byte"), O=(self.O, "s/byte"))
        if math.isnan(self.S) or self.S < -1:
            raise ValueError(f"S must be a number of bytes, or -1 for no eager messages, got {self.S}")

    @property
    def overhead(self) -> float:
        """``o``."""
        return self.o

    @property
    def overhead_per_byte(self) -> float:
        """``O``."""
        return self.O

    @property
    def gapless(self) -> bool:
        """Whether ``g`` is 0."""
        return self.g == 0

    @property
    def eager(self) -> float:
        """``S``."""
        return self.S

    @property
    def least(self) -> tuple[float, float]:
        """``L`` and ``G``."""
        return self.L, self.G

    def delay(self, nbytes: Ints) -> Floats:
        """``L`` each."""
        return np.full(len(nbytes), self.L)

    def longest_gap(self, nbytes: int) -> float:  # noqa: ARG002 - as the protocol has it
        """``g``."""
        return self.g

    def gap(self, nbytes: Ints) -> Floats:
        """``g`` each."""
        return np.full(len(nbytes), self.g)

    def seconds(self, nbytes: Ints) -> Floats:
        """mG."""
        return np.multiply(nbytes, self.G, dtype=np.float64)


def LogGP(L: float = 0.0, o: float = 0.0, g: float = 0.0, G: float = 0.0) -> LogGOPS:  # noqa: N802, N803 - a model's names
    """LogGOPS without processor time a byte and without rendezvous. Source: Alexandrov et al., "LogGP" (1995)."""
    return LogGOPS(L, o, g, G)


@dataclass(frozen=True, slots=True)
class Curve:
    """Message cost as measured: straight lines between ``points`` of (bytes, seconds), the last one going on.

    What the shortest message takes is latency, the rest takes the ports. Both ranks must be ready.
    """

    points: tuple[tuple[float, float], ...]
    overhead = overhead_per_byte = 0.0
    gapless = True
    eager = -1.0
    handshake = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple((float(size), float(seconds)) for size, seconds in self.points))
        sizes = [size for size, _ in self.points]
        if len(sizes) < 2 or sizes != sorted(set(sizes)) or sizes[0] < 0:
            raise ValueError(f"a curve needs at least two points of ascending bytes, got {sizes}")
        for size, seconds in self.points:
            _need(**{f"the seconds of {size:g} bytes": (seconds, "s")})
        if self.points[-1][1] < self.points[-2][1]:
            raise ValueError("the last two points of a curve must rise: their line is what long messages cost")

    @property
    def least(self) -> tuple[float, float]:
        """The lowest point, and the least that a byte beyond the first point takes there or on the last line."""
        (_, first), (last, high), (before, low) = self.points[0], self.points[-1], self.points[-2]
        rates = [max(0.0, time - first) / size for size, time in self.points[1:]]
        return min(time for _, time in self.points), min(*rates, (high - low) / (last - before))

    def _total(self, nbytes: Ints) -> Floats:
        sizes, seconds = np.array(self.points, dtype=np.float64).T
        slope = (seconds[-1] - seconds[-2]) / (sizes[-1] - sizes[-2])
        return np.asarray(
            np.interp(nbytes, sizes, seconds) + np.maximum(nbytes - sizes[-1], 0) * slope, dtype=np.float64
        )

    def longest_gap(self, nbytes: int) -> float:  # noqa: ARG002 - as the protocol has it
        """None."""
        return 0.0

    def gap(self, nbytes: Ints) -> Floats:
        """None."""
        return np.zeros(len(nbytes))

    def delay(self, nbytes: Ints) -> Floats:
        """What the first point takes, or the message itself where that is less."""
        return np.minimum(self._total(nbytes), self.points[0][1])

    def seconds(self, nbytes: Ints) -> Floats:
        """The rest of the curve."""
        return self._total(nbytes) - self.delay(nbytes)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Message cost as calibration finds it: one way alone, and following each other.

    ``curve``: (bytes, seconds) of one message one way. ``period``: (bytes, seconds) from one message of a train to the
    next, which is what a message takes of the ports; without it the curve beyond its first point does. A message of up
    to ``eager`` bytes leaves its sender before its receiver is ready. What a port is taken for longer than the message
    itself shows (a shaped link passes a burst at once and is short of it afterwards) is a gap; what the message shows
    longer than the port is taken is latency. Straight between points, the last line goes on.
    """

    curve: tuple[tuple[float, float], ...]
    period: tuple[tuple[float, float], ...] = ()
    eager: float = -1.0
    overhead = overhead_per_byte = 0.0
    handshake = False

    def __post_init__(self) -> None:
        for name, points in (("curve", self.curve), ("period", self.period)):
            sizes = [size for size, _ in points]
            if sizes != sorted(set(sizes)) or (name == "curve" and len(sizes) < 2):
                raise ValueError(f"a {name} needs at least two points of ascending bytes, got {sizes}")
            for size, seconds in points:
                _need(**{f"the seconds of {size:g} bytes": (seconds, "s")})

    @property
    def gapless(self) -> bool:
        """Whether ports are free again as soon as a message has passed, at all sizes that have a point."""
        return not self.gap(self._points).any()

    @property
    def least(self) -> tuple[float, float]:
        """The lowest point of the curve, and the least time in a port for a byte: at a point, or beyond the last."""
        sizes = np.append(self._points, 1 << 40)
        taken = self.seconds(sizes) + self.gap(sizes)  # straight between points, so no byte between takes less
        return min(time for _, time in self.curve), float((taken / np.maximum(sizes, 1)).min())

    def longest_gap(self, nbytes: int) -> float:
        """Of ``nbytes``, or of a point below."""
        return float(self.gap(np.append(self._points[self._points < nbytes], nbytes)).max())

    @property
    def _points(self) -> Ints:
        return np.array(sorted({size for size, _ in (*self.curve, *self.period)}), dtype=np.int64)

    def delay(self, nbytes: Ints) -> Floats:
        """What the curve says beyond the time in the ports."""
        return _along(self.curve, nbytes) - self.seconds(nbytes)

    def gap(self, nbytes: Ints) -> Floats:
        """What the period says beyond the time that the message shows in the ports."""
        if not self.period:
            return np.zeros(len(nbytes))
        return np.maximum(0.0, _along(self.period, nbytes) - self.seconds(nbytes))

    def seconds(self, nbytes: Ints) -> Floats:
        """What the curve says beyond its first point, but no more than the period."""
        shown = np.maximum(0.0, _along(self.curve, nbytes) - self.curve[0][1])
        return np.minimum(shown, _along(self.period, nbytes)) if self.period else shown


@dataclass(frozen=True, slots=True)
class Duplex:
    """An exchange with one partner takes ``factor`` times as long as one way, from ``from_bytes`` bytes on.

    1 is full duplex, 2 half duplex. It concerns two ranks that send to each other in one round, and no others.
    ``points`` of (bytes, factor) say it by size instead, straight between them.
    Source: measured between Open MPI ranks over TCP (docs/simulator.md).
    """

    factor: float = 1.0
    from_bytes: float = 0.0
    points: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        for factor in (self.factor, *(factor for _, factor in self.points)):
            if not (math.isfinite(factor) and factor >= 1):
                raise ValueError(f"a duplex factor is 1 (full duplex) or more, got {factor}")
        _need(from_bytes=(self.from_bytes, "bytes"))

    @property
    def full(self) -> bool:
        """Whether exchanges cost nothing extra at any size."""
        return self.factor == 1 and all(factor == 1 for _, factor in self.points)

    def factors(self, nbytes: Ints) -> Floats:
        """The factor of each of ``nbytes``."""
        if self.points:
            sizes, factors = np.array(self.points, dtype=np.float64).T
            return np.asarray(np.interp(nbytes, sizes, factors), dtype=np.float64)
        return np.where(nbytes >= self.from_bytes, self.factor, 1.0)


@dataclass(frozen=True, slots=True)
class Reduction:
    """Seconds per reduced byte by the size of the buffer: ``levels`` of (largest bytes, seconds per byte).

    The last level holds for all larger buffers. A level is a cache: what fits into it is reduced at its speed.
    ``launch``: seconds beside that for each reduction that has anything to reduce, as a device's kernel takes to start.
    Source: the roofline of Williams, Waterman and Patterson (2009), with one bandwidth for each cache.
    """

    levels: tuple[tuple[float, float], ...] = ((math.inf, 0.0),)
    launch: float = 0.0

    def __post_init__(self) -> None:
        _need(launch=(self.launch, "s"))
        object.__setattr__(self, "levels", tuple((float(size), float(gamma)) for size, gamma in self.levels))
        sizes = [size for size, _ in self.levels]
        if not sizes or sizes != sorted(set(sizes)) or math.isnan(sum(sizes)):
            raise ValueError(f"reduction levels need ascending sizes, got {sizes}")
        for size, gamma in self.levels:
            _need(**{f"gamma of buffers up to {size:g} bytes": (gamma, "s/byte")})

    def seconds(self, nbytes: Ints) -> Floats:
        """Seconds to fold each of ``nbytes`` into a buffer of as many bytes."""
        largest, gammas = np.array([list(column) for column in zip(*self.levels, strict=True)], dtype=np.float64)
        level = np.minimum(np.searchsorted(largest, nbytes), len(gammas) - 1)
        seconds = np.multiply(nbytes, gammas[level], dtype=np.float64)
        return seconds + np.where(nbytes > 0, self.launch, 0.0) if self.launch else seconds


@dataclass(frozen=True, slots=True)
class Cores:
    """``count`` cores for all ranks of a machine: processor work (o, mO and reductions) shares them evenly.

    ``waiting``: ``"yields"`` leaves a waiting rank's share to the others, ``"spins"`` does not, so that p ranks on c
    cores each get c/p of a core all the time. Time slices of the operating system are not modelled.
    """

    count: int
    waiting: Literal["yields", "spins"] = "yields"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"a machine has at least one core, got {self.count}")
        if self.waiting not in ("yields", "spins"):
            raise ValueError(f"a waiting rank 'yields' or 'spins', got {self.waiting!r}")


@dataclass(frozen=True, slots=True)
class Busy:
    """A message between two ranks that both send and receive in its round is later than one way: both are at work.

    ``points``: (bytes, seconds later), straight between them, level outside. It is what ranks that share cores show.
    """

    points: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        sizes = [size for size, _ in self.points]
        if sizes != sorted(set(sizes)):
            raise ValueError(f"what busy ranks cost needs ascending bytes, got {sizes}")
        for size, seconds in self.points:
            _need(**{f"the seconds of {size:g} bytes": (seconds, "s")})

    def seconds(self, nbytes: Ints) -> Floats:
        """How much later each message of ``nbytes`` is."""
        sizes, seconds = np.array(self.points, dtype=np.float64).T
        return np.asarray(np.interp(nbytes, sizes, seconds), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Model:
    """One piece of each kind: how ranks send, reduce, exchange, share cores, and do two things at once.

    ``start``: seconds that every rank needs before it begins, as after a pause. ``encoding``: how vectors travel, if
    not as they are. ``staging``: how messages pass the relays of the network, where it has any. ``synchronise``:
    seconds for which a sender's processor waits for its device before each message.
    """

    message: Message = field(default_factory=Hockney)
    reduction: Reduction = field(default_factory=Reduction)
    duplex: Duplex = field(default_factory=Duplex)
    cores: Cores | None = None
    busy: Busy = field(default_factory=Busy)
    start: float = 0.0
    encoding: Encoding | None = None
    staging: Staging = field(default_factory=Staging)
    synchronise: float = 0.0

    def __post_init__(self) -> None:
        _need(start=(self.start, "s"), synchronise=(self.synchronise, "s"))

    @property
    def alpha(self) -> float:
        """Seconds that it adds to an empty message: latency, and the processors at both ends."""
        return float(self.message.delay(_NOTHING)[0]) + 2 * self.message.overhead + self.synchronise

    @property
    def beta(self) -> float:
        """Seconds per byte of a long message where the links are infinitely fast: the slowest of port and processor."""
        return max(float(self.message.seconds(_LONG)[0]) / float(_LONG[0]), self.message.overhead_per_byte)

    @property
    def gamma(self) -> float:
        """Seconds per reduced byte of a vector that fits no cache."""
        return self.reduction.levels[-1][1]


def _along(points: tuple[tuple[float, float], ...], nbytes: Ints) -> Floats:
    """Straight between ``points``, level before the first, and on along the last line, which never falls."""
    sizes, seconds = np.array(points, dtype=np.float64).T
    slope = max(0.0, (seconds[-1] - seconds[-2]) / (sizes[-1] - sizes[-2])) if len(sizes) > 1 else 0.0
    return np.asarray(np.interp(nbytes, sizes, seconds) + np.maximum(nbytes - sizes[-1], 0) * slope, dtype=np.float64)


_NOTHING, _LONG = np.array([0]), np.array([1 << 40])


def _need(**quantities: tuple[float, str]) -> None:
    for name, (value, unit) in quantities.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and at least 0 {unit}, got {value}")
