"""Processes on a network: what depends on data or on timing and so is no schedule, such as a parameter server.

A process is a generator that yields signals and goes on when they happen:

    def pinger(world):
        yield world.sleep(1e-3)
        yield world.send(0, 1, 1000)

Messages cost what they cost in a schedule: o + mO on the sender's processor, one message at a time through each port
(or with ``sharing`` all at once, a port's bandwidth shared like a link's, as connections of TCP do), the links'
bandwidth shared max-min fairly, latency, o + mO on the receiver's processor. The receiver is always ready,
since nothing here is a round; for the same reason the duplex term, which is about exchanges in one round, is not
applied. Simultaneous events happen in the order in which they were caused, so a run is the same every time.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Hashable
from itertools import count
from typing import Any, Generic, TypeVar

import numpy as np

from simulator.carriers import SAME, Carrier, carrier_of_cores, carrier_of_links, carrier_of_ports, port_rate, ports_of
from simulator.networks import Network
from simulator.parcels import Parcel, Ports

__all__ = ["Deadlock", "Delivery", "Process", "Signal", "World"]

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Nothing can happen any more and processes still wait; the message says which, and for what."""


class Signal(Generic[T]):
    """Something that happens once. A process that yields it goes on when it has happened, and gets its ``value``."""

    __slots__ = ("happened", "value", "waiting", "what")

    def __init__(self, *what: object) -> None:
        self.what = what
        self.happened = False
        self.value: T | None = None
        self.waiting: list[Callable[[Any], None]] = []

    def __repr__(self) -> str:
        return " ".join(map(str, self.what))


class Delivery(Signal[None]):
    """A message on its way: happens when it is there. ``sent``: when its last byte has left its sender's port."""

    __slots__ = ("sent",)

    def __init__(self, *what: object) -> None:
        super().__init__(*what)
        self.sent: Signal[None] = Signal("the sending of", self)


Process = Generator[Signal[Any], Any, T]


class World:
    """``network`` with a clock. ``contention=False`` gives each message the links to itself.

    ``sharing``: messages do not take turns at ports but share them; then what the model calls a gap is part of the time
    that a byte takes. It needs ``contention``.
    ``now``: seconds. ``random``: a generator seeded with ``seed``. ``working``, ``sending`` and ``receiving``: seconds
    for which each rank's processor and ports were busy so far, float64 of shape (size,).
    Raises ValueError for a network whose messages are encoded, staged or sent from devices.
    """

    def __init__(self, network: Network, contention: bool = True, seed: int = 0, *, sharing: bool = False) -> None:
        if network.model.encoding is not None or network.model.synchronise or network.topology.relays:
            raise ValueError(f"{network.name}: processes send bytes as they are, and know no encoding and no device")
        if sharing and not contention:
            raise ValueError("ports that are shared are contended for: sharing needs contention")
        self.network, self._sharing, self._port_rate = network, sharing, port_rate(network)
        self._rates: dict[int, float] = {}
        self.now = 0.0
        self.random = np.random.default_rng(seed)
        self.working, self.sending, self.receiving = (np.zeros(network.size) for _ in range(3))
        self._busy: dict[tuple[int, int], tuple[int, float]] = {}
        self._links = carrier_of_ports(network) if sharing else carrier_of_links(network, contention)
        self._cores, self._pace = carrier_of_cores(network)
        self._machine: list[int] = network.topology.machine[network.place].tolist()
        self._ports = Ports(network)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._turn = count()
        self._queues: defaultdict[Hashable, deque[Any]] = defaultdict(deque)
        self._takers: defaultdict[Hashable, deque[Signal[Any]]] = defaultdict(deque)
        self._jobs: list[deque[tuple[float, float, Signal[float]]]] = [deque() for _ in range(network.size)]
        self._alive: dict[int, tuple[str, Signal[Any] | None]] = {}

    # --- what processes ask for ---------------------------------------------------------------------------------

    def spawn(self, process: Process[T], name: str = "", *, serves: bool = False) -> Signal[T]:
        """Start a process; the signal happens when it returns, with what it returns.

        ``serves``: it may wait for ever, as a server does, without being a deadlock.
        """
        label = name or getattr(process, "__name__", "process")
        done: Signal[T] = Signal("the end of", label)
        number = next(self._turn)

        def go_on(value: Any) -> None:
            self._alive.pop(number, None)
            try:
                signal = process.send(value)
            except StopIteration as end:
                self.happen(done, end.value)
                return
            if not isinstance(signal, Signal):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
                raise TypeError(f"{label} yielded {signal!r}: a process yields what sleep, work, send or get return")
            if not serves:
                self._alive[number] = (label, signal)
            self._await(signal, go_on)

        self._at(self.now, lambda: go_on(None))
        return done

    def sleep(self, seconds: float) -> Signal[None]:
        """Happens ``seconds`` from now: time that takes no processor, such as computing on an accelerator."""
        signal: Signal[None] = Signal("the clock")
        self._at(self.now + _duration(seconds), lambda: self.happen(signal, None))
        return signal

    def work(self, rank: int, seconds: float) -> Signal[float]:
        """Happens when the processor of ``rank`` has done this and all it was asked before; value: seconds it waited.

        Where the model has ``Cores``, the ranks of a machine share them.
        """
        signal: Signal[float] = Signal("the processor of rank", self._rank(rank))
        jobs = self._jobs[rank]
        jobs.append((_duration(seconds), self.now, signal))
        if len(jobs) == 1:
            self._process(rank)
        return signal

    def send(self, source: int, dest: int, nbytes: int, *, queue: Hashable = None, item: object = None) -> Delivery:
        """A message sets out now; happens when it is there, and ``item`` then lies in ``queue``, if one is named.

        Between a rank and itself it takes no time.
        """
        delivery = Delivery("a message of", nbytes, "bytes from rank", source, "to rank", dest)
        parcel = self._ports.parcel(self._rank(source), self._rank(dest), nbytes)

        def delivered() -> None:
            if queue is not None:
                self.put(queue, item)
            self.happen(delivery, None)

        parcel.sent, parcel.delivered = lambda: self.happen(delivery.sent, None), delivered
        if source == dest:
            self._at(self.now, parcel.sent)
            self._at(self.now, delivered)
        else:
            self._overhead(parcel, source, lambda: self._injected(parcel))
        return delivery

    def put(self, queue: Hashable, item: object) -> None:
        """Lay ``item`` at the end of ``queue``; any hashable value names a queue."""
        if self._takers[queue]:
            self.happen(self._takers[queue].popleft(), item)
        else:
            self._queues[queue].append(item)

    def get(self, queue: Hashable) -> Signal[Any]:
        """Happens when ``queue`` has an item for this taker; value: the item. First come, first served."""
        signal: Signal[Any] = Signal("an item in queue", queue)
        if self._queues[queue]:
            self.happen(signal, self._queues[queue].popleft())
        else:
            self._takers[queue].append(signal)
        return signal

    def happen(self, signal: Signal[T], value: T) -> None:
        """Let ``signal`` happen now; those who wait for it go on with ``value``. It does so once: else a ValueError."""
        if signal.happened:
            raise ValueError(f"{signal!r} has happened already")
        signal.happened, signal.value = True, value
        for go_on in signal.waiting:
            self._at(self.now, lambda go_on=go_on: go_on(value))
        signal.waiting.clear()

    def run(self, until: Signal[Any] | None = None) -> float:
        """Let things happen until ``until`` has, or until nothing is left; returns ``now``.

        Raises Deadlock if ``until`` can no longer happen, or if processes that are no servers wait for ever.
        """
        while not (until and until.happened):
            moment = min(self._agenda[0][0] if self._agenda else math.inf, self._links.next(), self._cores.next())
            if moment == math.inf:
                break
            self.now = max(self.now, moment)
            for carrier in (self._links, self._cores):
                carrier.advance(self.now)
            while self._agenda and self._agenda[0][0] <= self.now * (1 + SAME) and not (until and until.happened):
                heapq.heappop(self._agenda)[-1]()
            # Ports are given away when all else of this moment has happened, so that its order does not matter.
            for parcel in self._ports.starting():
                self._start(parcel)
        if self._alive and not (until and until.happened):
            raise Deadlock(f"nothing can happen any more at {self.now:.9g} s, but {self._waiting()}")
        if until is not None and not until.happened:
            raise Deadlock(f"nothing can happen any more at {self.now:.9g} s, and {until!r} has not come")
        return self.now

    # --- how it happens -----------------------------------------------------------------------------------------

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (moment, next(self._turn), action))

    def _await(self, signal: Signal[Any], go_on: Callable[[Any], None]) -> None:
        if signal.happened:
            self._at(self.now, lambda: go_on(signal.value))
        else:
            signal.waiting.append(go_on)

    def _rank(self, rank: int) -> int:
        if not 0 <= rank < self.network.size:
            raise ValueError(f"rank {rank} is not one of the {self.network.size} ranks 0..{self.network.size - 1}")
        return rank

    def _waiting(self) -> str:
        shown = [f"{label} waits for {signal!r}" for label, signal in self._alive.values()]
        more = f" (and {len(shown) - 8} others wait)" if len(shown) > 8 else ""
        return "; ".join(shown[:8]) + more

    def _carry(
        self, carrier: Carrier, links: tuple[int, ...], amount: float, rate: float, after: Callable[[], None]
    ) -> None:
        if amount and amount / rate:
            carrier.start(links, amount, rate, self.now, after)
        else:
            self._at(self.now, after)

    def _process(self, rank: int) -> None:
        seconds, asked, signal = self._jobs[rank][0]
        began = self.now

        def done() -> None:
            self.working[rank] += self.now - began
            self._jobs[rank].popleft()
            self.happen(signal, began - asked)
            if self._jobs[rank]:
                self._process(rank)

        self._carry(self._cores, (self._machine[rank],), seconds, self._pace[rank], done)

    def _overhead(self, parcel: Parcel, rank: int, then: Callable[[], None]) -> None:
        if parcel.overhead:
            self._await(self.work(rank, parcel.overhead), lambda _: then())
        else:
            then()

    def _injected(self, parcel: Parcel) -> None:
        ready = self._start if self._sharing else self._ports.ready
        self._at(self.now + parcel.handshake, lambda: ready(parcel))

    def _start(self, parcel: Parcel) -> None:
        out, into = (0, parcel.source), (1, parcel.dest)
        self._taken(out, self.sending, 1)
        self._taken(into, self.receiving, 1)

        def sent() -> None:
            self._taken(out, self.sending, -1)
            self._taken(into, self.receiving, -1)
            parcel.sent()
            if not self._sharing:
                self._at(self.now + parcel.gap, lambda: self._ports.released(parcel))
            self._at(self.now + parcel.latency, lambda: self._overhead(parcel, parcel.dest, parcel.delivered))

        if not self._sharing:
            self._carry(self._links, parcel.links, parcel.nbytes, parcel.rate, sent)
            return
        links = (*parcel.links, *ports_of(self.network, parcel.source, parcel.dest))
        # As many bytes of a usual message as would take a port as long as these do.
        taken, rate = float(parcel.nbytes), parcel.rate
        if self._port_rate < math.inf:
            own = self._rates.setdefault(parcel.nbytes, port_rate(self.network, parcel.nbytes))
            taken, rate = taken * self._port_rate / own, self._port_rate
        self._carry(self._links, links, taken, rate, sent)

    def _taken(self, port: tuple[int, int], busy: np.ndarray[tuple[int], np.dtype[np.float64]], change: int) -> None:
        """A message begins (1) or ends (-1) at a port, which is busy while there is any."""
        before, since = self._busy.get(port, (0, self.now))
        if before:
            busy[port[1]] += self.now - since
        self._busy[port] = before + change, self.now


def _duration(seconds: float) -> float:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"a duration must be finite and at least 0 s, got {seconds}")
    return seconds
