"""Does the emulated cluster carry what it promises? Measured with plain sockets, without MPI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from experiments.cluster.shape import Shape, address
from experiments.errors import Failure
from experiments.places import Cluster

__all__ = ["ENOUGH", "Finding", "Flow", "Pair", "Stations", "all_at_once", "check", "repeated", "stations"]

ENOUGH = 0.93
"""The part of its nominal rate that a stream must reach."""

Pair = tuple[int, int]
"""Sending and receiving host."""

_STATION = Path(__file__).with_name("station.py")
_LEAD = 0.05  # seconds for an order to reach all stations
_SETTLING = 0.15  # seconds until a stream flows evenly: TCP starts slowly, and the shaper's burst goes first
_ROUND_TRIPS = 30  # that TCP takes for it where messages are delayed
_MOST_REPEATS = 2
_PATIENCE = 30.0  # seconds for a station to answer


@dataclass(frozen=True, slots=True)
class Finding:
    """What streams that flowed at once had of their nominal rate, and what it cost.

    ``lowest`` and ``mean``: shares of ``nominal`` (bytes/s, of one stream) over ``streams`` streams at once; ``cpu``:
    the part of all cores' time that went into sending, shaping and receiving. ``repeats``: how often it was measured
    again because a stream had too little, which on a busy machine is a moment's disturbance: the best time counts.
    """

    what: str
    streams: int
    nominal: float
    lowest: float
    mean: float
    cpu: float
    repeats: int = 0

    @property
    def holds(self) -> bool:
        """Whether every stream had enough."""
        return self.lowest >= ENOUGH

    def to_json(self) -> dict[str, Any]:
        """Flat, in bytes/s and shares."""
        return asdict(self) | {"holds": self.holds}


@dataclass(frozen=True, slots=True)
class Flow:
    """Bytes/s of each pair that streamed at once, and the part of all cores' time that it took."""

    rates: Mapping[Pair, float]
    cpu: float


class Stations:
    """A process on each host of the cluster that sends and receives when told to."""

    def __init__(self, shape: Shape, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._shape = shape
        self._processes = processes

    def stream(self, pairs: Sequence[Pair], seconds: float) -> Flow:
        """Let all ``pairs`` stream at once, and measure for ``seconds`` after they have settled."""
        hosts = range(self._shape.hosts)
        for number in hosts:
            streams = sum(dest == number for _, dest in pairs)
            self._order(number, {"to": [address(b) for a, b in pairs if a == number], "streams": streams})
        self.wait()
        begin = time.monotonic() + _LEAD
        start = begin + _SETTLING + _ROUND_TRIPS * 2 * self._shape.delay
        for number in hosts:
            self._order(number, {"begin": begin, "start": start, "end": start + seconds})
        time.sleep(max(0.0, start - time.monotonic()))
        packets = _packet_seconds()
        time.sleep(seconds)
        packets = _packet_seconds() - packets
        answers = [self._answer(number) for number in hosts]
        rates = {(a, b): answers[b]["received"].get(address(a), 0) / seconds for a, b in pairs}
        cpu = packets + sum(answer["cpu"] for answer in answers)
        return Flow(rates, cpu / seconds / len(os.sched_getaffinity(0)))

    def wait(self) -> None:
        """Until all have answered."""
        for number in range(self._shape.hosts):
            self._answer(number)

    def _order(self, number: int, order: Mapping[str, Any]) -> None:
        stdin = self._processes[number].stdin
        assert stdin is not None
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()

    def _answer(self, number: int) -> dict[str, Any]:
        process = self._processes[number]
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            assert process.stderr is not None
            told = process.stderr.read().strip().splitlines()
            raise Failure(f"host {number} of the cluster measures nothing: {told[-1] if told else 'it ended'}")
        return json.loads(line)


@contextmanager
def stations(place: Cluster) -> Generator[Stations]:
    """Stations on all hosts, gone on leaving."""
    program = (sys.executable, "-I", "-S", str(_STATION))
    with ExitStack() as stack:
        processes: list[subprocess.Popen[str]] = []
        for number in range(place.shape.hosts):
            process = subprocess.Popen(
                [*place.entering(number, tied=True), *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, start_new_session=True,
            )  # fmt: skip
            stack.enter_context(process)  # which closes its pipes and waits for it
            stack.callback(process.kill)
            processes.append(process)
        found = Stations(place.shape, processes)
        found.wait()
        yield found


def check(place: Cluster, *, seconds: float = 0.3) -> list[Finding]:
    """Streams one way, both ways, and of all hosts at once, each measured for ``seconds`` after it has settled."""
    shape = place.shape
    neighbours = [(number, number + 1) for number in range(0, shape.hosts - 1, 2)]
    with stations(place) as ready:
        found = [
            _each("one way", [[pair] for pair in _circle(shape)], ready, shape, seconds),
            _each("both ways", [[(a, b), (b, a)] for a, b in neighbours], ready, shape, seconds),
            all_at_once(ready, shape, 3 * seconds),
        ]
        if shape.trunk:
            found.append(repeated(lambda: _trunk(ready, shape, 3 * seconds)))
    return found


def all_at_once(ready: Stations, shape: Shape, seconds: float) -> Finding:
    """Every host streams to the next one: the cores must carry the traffic of the whole cluster."""
    return _each("all hosts at once", [_circle(shape)], ready, shape, seconds)


def _circle(shape: Shape) -> list[Pair]:
    return [(number, (number + 1) % shape.hosts) for number in range(shape.hosts)]


def _each(what: str, groups: Sequence[Sequence[Pair]], ready: Stations, shape: Shape, seconds: float) -> Finding:
    """One group of pairs after the other, each streaming at once."""
    parts = [repeated(lambda group=group: _together(what, group, ready, shape, seconds)) for group in groups]
    return replace(
        parts[0],
        lowest=min(part.lowest for part in parts),
        mean=sum(part.mean for part in parts) / len(parts),
        cpu=sum(part.cpu for part in parts) / len(parts),
        repeats=sum(part.repeats for part in parts),
    )


def _together(what: str, pairs: Sequence[Pair], ready: Stations, shape: Shape, seconds: float) -> Finding:
    flow = ready.stream(pairs, seconds)
    shares = [rate / shape.share(*pair) for pair, rate in flow.rates.items()]
    return Finding(what, len(pairs), shape.rate, min(shares), sum(shares) / len(shares), flow.cpu)


def _trunk(ready: Stations, shape: Shape, seconds: float) -> Finding:
    """The hosts of one rack all stream to the other: together they have the link between the racks."""
    half = shape.racks.count(0)
    pairs = [(number, half + number) for number in range(shape.hosts - half)]
    flow = ready.stream(pairs, seconds)
    nominal = min(shape.trunk, len(pairs) * shape.rate)
    share = sum(flow.rates.values()) / nominal
    return Finding("rack to rack, sum", len(pairs), nominal, share, share, flow.cpu)


def repeated(measure: Callable[[], Finding]) -> Finding:
    """The first finding that holds, or the best of a few."""
    found = measure()
    for repeats in range(1, _MOST_REPEATS + 1):
        if found.holds:
            break
        found = replace(max(found, measure(), key=lambda finding: finding.lowest), repeats=repeats)
    return found


def _packet_seconds() -> float:
    """CPU seconds that the kernel has spent on packets (soft interrupts) outside of any process, on all cores."""
    with Path("/proc/stat").open(encoding="utf-8") as file:
        return int(file.readline().split()[7]) / os.sysconf("SC_CLK_TCK")
