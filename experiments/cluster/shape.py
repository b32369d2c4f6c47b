"""What a cluster looks like, and the commands that make it out of network namespaces: pure, nothing is run here."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from experiments.errors import UsageFault
from experiments.units import format_rate, format_seconds

__all__ = ["MOST_HOSTS", "TOPOLOGIES", "Shape", "address", "host", "script"]

TOPOLOGIES = ("star", "ring", "two-racks")
MOST_HOSTS = 64

NETWORK = "10.203.0"
"""The first three numbers of every host's address; it is private and leads out of no namespace."""

MTU = 9000
"""Bytes of a packet: with 1,500 two cores spend all their time on packets at 8 x 100 Mbit/s, with 9,000 a fifth."""

_FRAME = MTU + 14  # with the Ethernet header, which the shaper counts
_LATENESS = 250e-6  # seconds that the shaper's timer may be late without loss of rate
_LEAST_BURST = 2048  # bytes
_PACKETS = 100_000  # that wait at a shaper before it drops: all that 64 senders' TCP may have under way
_BUFFER = 1 << 17  # bytes of a message that the kernel takes from its sender ahead of the network
_NAP = 2e-3  # seconds for which a polite rank may leave the network alone, and the link must not run dry


@dataclass(frozen=True, slots=True)
class Shape:
    """``hosts`` joined by links of ``rate`` bytes/s in each direction, in one of ``TOPOLOGIES``.

    ``delay``: seconds that every link adds to a packet on its way out of a host. ``oversubscription``: how many times
    the rate of the hosts of one rack is larger than that of the link between the racks. Raises UsageFault.
    """

    hosts: int
    rate: float
    delay: float = 0.0
    topology: str = "star"
    oversubscription: float = 4.0

    def __post_init__(self) -> None:
        if not 2 <= self.hosts <= MOST_HOSTS:
            raise UsageFault(f"{self.hosts} hosts: a cluster here has 2 to {MOST_HOSTS}")
        if self.topology not in TOPOLOGIES:
            raise UsageFault(f"topology {self.topology!r} is not known; use one of {', '.join(TOPOLOGIES)}")
        if self.topology == "two-racks" and self.hosts < 4:
            raise UsageFault(f"{self.hosts} hosts make no two racks; ask for at least 4")
        if self.topology == "ring" and self.hosts < 3:
            raise UsageFault(f"{self.hosts} hosts make no ring; ask for at least 3")
        if not (math.isfinite(self.rate) and 125e3 <= self.rate <= 125e9):
            raise UsageFault(f"rate {format_rate(self.rate, bits=True)}: it lies between 1Mbit/s and 1000Gbit/s")
        if not 0 <= self.delay <= 10:
            raise UsageFault(f"delay {format_seconds(self.delay)}: it lies between 0 and 10s")
        if not (math.isfinite(self.oversubscription) and 0.1 <= self.oversubscription <= 1000):
            raise UsageFault(f"oversubscription {self.oversubscription:g}: it lies between 0.1 and 1000")

    @property
    def racks(self) -> tuple[int, ...]:
        """For each host the number of its rack; all 0 unless there are two."""
        first = (self.hosts + 1) // 2 if self.topology == "two-racks" else self.hosts
        return tuple(int(number >= first) for number in range(self.hosts))

    @property
    def trunk(self) -> float:
        """Bytes/s between the racks in each direction; 0 where there is one rack."""
        return self.racks.count(0) * self.rate / self.oversubscription if self.topology == "two-racks" else 0.0

    @property
    def burst(self) -> int:
        """Bytes that a shaper lets through at once, beside a packet: what the rate sends while its timer is late."""
        return _burst(self.rate)

    def share(self, source: int, dest: int) -> float:
        """Bytes/s that a stream has of its own where every host streams to the next one."""
        crossing = self.trunk and self.racks[source] != self.racks[dest]
        return min(self.rate, self.trunk) if crossing else self.rate

    def describe(self) -> dict[str, Any]:
        """JSON-able facts, in bytes/s and seconds."""
        facts: dict[str, Any] = {
            "hosts": self.hosts, "rate": self.rate, "delay": self.delay, "topology": self.topology,
            "mtu": MTU, "burst": self.burst,
        }  # fmt: skip
        if self.topology == "two-racks":
            facts |= {"oversubscription": self.oversubscription, "trunk": self.trunk, "racks": list(self.racks)}
        return facts

    def __str__(self) -> str:
        """Such as ``8 hosts in a star, 100Mbit/s each way``."""
        form = {"star": "in a star", "ring": "in a ring", "two-racks": "in two racks"}[self.topology]
        words = f"{self.hosts} hosts {form}, {format_rate(self.rate, bits=True)} each way"
        if self.trunk:
            words += f", {format_rate(self.trunk, bits=True)} between the racks"
        return words + (f", {format_seconds(self.delay)} delay" if self.delay else "")


def host(number: int) -> str:
    """The name of a host, which is also that of its network namespace."""
    return f"host{number}"


def address(number: int) -> str:
    """The address of a host."""
    return f"{NETWORK}.{number + 1}"


def script(shape: Shape) -> str:
    """What the first process of the cluster's namespaces runs (as ``sh -e``) to make bridges, hosts and links.

    All files that it makes lie in file systems in memory that no other process sees: ``/run/netns`` and ``/run/uts``
    hold the hosts, ``/run/agent HOST COMMAND...`` runs a command on one of them, and ``/run/tmp`` is for its files.
    """
    return "\n".join([_GROUND, *_names(shape), *_hosts(shape), *_joined(shape)]) + "\n"


_GROUND = r"""
mount -t tmpfs -o mode=755 ciranda /run
mkdir /run/netns /run/uts
mkdir -m 1777 /run/tmp
if [ -d /dev/shm ]; then mount -t tmpfs -o mode=1777 ciranda /dev/shm; fi
cat >/run/agent <<'END'
#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
exec nsenter --net="/run/netns/$host" --uts="/run/uts/$host" sh -c "$*"
END
chmod 755 /run/agent
ip link set lo up
"""


def _names(shape: Shape) -> Iterator[str]:
    yield "cat >/run/hosts <<'END'"
    yield "127.0.0.1 localhost"
    yield from (f"{address(number)} {host(number)}" for number in range(shape.hosts))
    yield "END"
    yield "if [ -f /etc/hosts ]; then mount --bind /run/hosts /etc/hosts; fi"


def _hosts(shape: Shape) -> Iterator[str]:
    for name in map(host, range(shape.hosts)):
        yield f"ip netns add {name}"
        yield f"ip -n {name} link set lo up"
        yield f"touch /run/uts/{name}"
        yield f"unshare --uts=/run/uts/{name} hostname {name}"
        yield f"ip netns exec {name} sh -c '{_stack(shape)}'"


def _joined(shape: Shape) -> Iterator[str]:
    if shape.topology == "ring":
        yield from _ring(shape)
        return
    yield from (
        f"ip link add name rack{rack} mtu {MTU} type bridge && ip link set rack{rack} up" for rack in {*shape.racks}
    )
    if shape.trunk:
        yield f"ip link add name trunk0 mtu {MTU} type veth peer name trunk1 mtu {MTU}"
        for rack in (0, 1):
            yield f"ip link set trunk{rack} master rack{rack} up"
            yield from _limited("tc", f"trunk{rack}", shape.trunk)
    for number, rack in enumerate(shape.racks):
        name = host(number)
        yield f"ip link add name port{number} mtu {MTU} type veth peer name data mtu {MTU} netns {name}"
        yield f"ip link set port{number} master rack{rack} up"
        yield f"ip -n {name} addr add {address(number)}/24 dev data"
        yield f"ip -n {name} link set data up"
        yield from _limited("tc", f"port{number}", shape.rate)  # what the host receives
        yield from _shaped(name, "data", shape)


def _ring(shape: Shape) -> Iterator[str]:
    """Each host passes on what is not for it, the shorter way round; its address is on an interface of its own."""
    for number in range(shape.hosts):
        after, name = (number + 1) % shape.hosts, host(number)
        yield f"ip -n {name} link add name data mtu {MTU} type veth peer name stub mtu {MTU}"
        yield f"ip -n {name} addr add {address(number)}/32 dev data"
        yield f"ip netns exec {name} sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'"
        yield f"ip link add name right mtu {MTU} netns {name} type veth peer name left mtu {MTU} netns {host(after)}"
    for number in range(shape.hosts):
        name = host(number)
        yield from (f"ip -n {name} link set {link} up" for link in ("data", "stub", "left", "right"))
        yield from (line for link in ("left", "right") for line in _shaped(name, link, shape))
    for number in range(shape.hosts):
        yield f"ip -n {host(number)} -batch - <<'END'"  # one program for all routes: there are hosts x hosts
        for steps in range(1, shape.hosts):
            dest, right = (number + steps) % shape.hosts, 2 * steps <= shape.hosts
            via = (number + (1 if right else -1)) % shape.hosts
            yield (
                f"route add {address(dest)}/32 via {address(via)} "
                f"dev {'right' if right else 'left'} onlink src {address(number)}"
            )
        yield "END"


def _shaped(name: str, link: str, shape: Shape) -> Iterator[str]:
    yield from _limited(f"tc -n {name}", link, shape.rate, shape.delay)


def _limited(tc: str, link: str, rate: float, delay: float = 0.0) -> Iterator[str]:
    """What lets ``rate`` bytes/s leave by ``link``, small packets first.

    Acknowledgements and the questions of a rendezvous would wait behind whole messages in one queue, which doubles the
    time of an exchange. Network cards queue fairly, so here small packets have a class of their own.
    """
    limit = f"htb rate {round(rate * 8)}bit ceil {round(rate * 8)}bit burst {_burst(rate)} cburst {_burst(rate)}"
    yield f"{tc} qdisc add dev {link} root handle 1: htb default 3"
    yield f"{tc} class add dev {link} parent 1: classid 1:1 {limit}"
    for number, priority in ((2, 0), (3, 1)):
        share = limit.replace(f"rate {round(rate * 8)}bit", f"rate {round(rate * 80) // 1000}bit", 1)
        yield f"{tc} class add dev {link} parent 1:1 classid 1:{number} {share} prio {priority} quantum {2 * _FRAME}"
        queue = f"netem delay {round(delay * 1e6)}us limit {_PACKETS}" if delay else f"pfifo limit {_PACKETS}"
        yield f"{tc} qdisc add dev {link} parent 1:{number} {queue}"
    small = "u32 match u16 0x0000 0xff00 at 2"  # the length in the IP header is below 256
    yield f"{tc} filter add dev {link} parent 1: protocol ip prio 1 {small} flowid 1:2"


def _stack(shape: Shape) -> str:
    """Settings of a host's TCP: a sender that is rid of its message only when most of it has left.

    By default the kernel takes 4 MB of a message at once, the sender goes on to the next one, and both share the link.
    Nor does a connection start slowly again after a pause of 0.2 s, and how fast it is depends on no estimate.
    """
    buffer = round(max(_BUFFER, _NAP * shape.rate) + 4 * shape.rate * shape.delay)
    settings = {
        "tcp_wmem": f"4096 16384 {buffer}", "tcp_congestion_control": "reno", "tcp_slow_start_after_idle": "0",
        "tcp_no_metrics_save": "1",
    }  # fmt: skip
    return "; ".join(f"echo {value} >/proc/sys/net/ipv4/{name}" for name, value in settings.items())


def _burst(rate: float) -> int:
    return max(_LEAST_BURST, math.ceil(rate * _LATENESS))
