"""Servers of devices: what lies between a device's memory and the network, and how fast that is."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from simulator.networks.checks import check_bandwidth, check_latency, whole

__all__ = ["Server", "names", "server"]

GB = 1e9
PCIE_4, PCIE_5 = (rate * 16 / 8 * 128 / 130 * 256 / (256 + 24) for rate in (16e9, 32e9))
"""Bytes/s of 16 lanes each way: 128 of 130 bits are bytes, and of packets of 256 of them 24 more are headers."""


@dataclass(frozen=True, slots=True)
class Server:
    """One kind of server; bandwidths in bytes/s each way, times in seconds.

    ``per_switch``: devices, each with its network card, that share a PCIe switch and its link to the host. ``pcie``: of
    the link of a device or a card; ``uplink``: of that to the host; ``hop``: latency of a device's link. ``island``: of
    a device's link to its neighbours, 0 where they have none but PCIe; ``island_latency``: from one to another.
    ``memory``: of a device, ``host_memory``: of the host, all sockets together; ``core``: bytes/s that one core copies.
    ``copy``: what the host spends on one copy by a copy engine, ``launch``: on one kernel, ``synchronise``: on waiting
    for a device before it sends.
    """

    name: str
    per_switch: int
    pcie: float
    uplink: float
    hop: float
    island: float
    island_latency: float
    memory: float
    host_memory: float
    core: float
    copy: float
    launch: float
    synchronise: float
    source: str = ""

    def __post_init__(self) -> None:
        whole("devices of a switch", self.per_switch)
        for name in ("pcie", "uplink", "memory", "host_memory", "core"):
            check_bandwidth(getattr(self, name), name)
        if self.island:
            check_bandwidth(self.island, "island bandwidth")
        for name in ("hop", "island_latency", "copy", "launch", "synchronise"):
            check_latency(getattr(self, name), name)


def free(name: str = "free") -> Server:
    """A server whose devices cost nothing: what is left is the network and the memory of the host."""
    return Server(
        name, per_switch=1, pcie=math.inf, uplink=math.inf, hop=0.0, island=0.0, island_latency=0.0, memory=math.inf,
        host_memory=math.inf, core=math.inf, copy=0.0, launch=0.0, synchronise=0.0,
    )  # fmt: skip


def names() -> list[str]:
    """The servers that are known, in alphabetical order."""
    return sorted(_SERVERS)


def server(name: str) -> Server:
    """The server called ``name``; ValueError names the others, the nearest first."""
    if name not in _SERVERS:
        nearest = difflib.get_close_matches(name, names(), n=len(_SERVERS), cutoff=0.0)
        raise ValueError(f"no server is called {name!r}; known: {', '.join(nearest)}")
    return _SERVERS[name]


_HOST_SIDE = """
    PCIe: 16 lanes, 128 of 130 bits (PCI-SIG), packets of 256 bytes with 24 of headers, and 0.25 us of latency, half
    of a read's round trip (Neugebauer et al., "Understanding PCIe performance for end host networking", SIGCOMM
    2018). A copy keeps the host busy for 6 us (5 to 7: Wu et al., "DualPath", arXiv 2602.21548, section 5.2); a
    kernel that is launched and waited for takes 6.7 us more than it runs (Gray, "Getting started with CUDA graphs",
    NVIDIA technical blog, 2019: 9.6 us for 2.9), of which 3 are taken for the launch. 0.47 us over NVLink (NCCL's
    tuning table). Assumed: two devices, each with its card, to a PCIe switch, whose link to the host is as fast as
    theirs; one memory for both sockets of a host, and nothing lost between them; copies both ways at once; messages
    inside a machine that the host copies go at 15 GB/s, which is one core's; memories at their full speed, three
    bytes moved for each byte reduced or copied by the host; staged pieces are copied, sent and reduced at the same
    time; buffers are pinned. None of this has been measured here on hardware.
"""


def _eight(name: str, pcie: float, island: float, memory: float, host_memory: float, source: str) -> Server:
    return Server(
        name, per_switch=2, pcie=pcie, uplink=pcie, hop=0.25e-6, island=island, island_latency=0.47e-6, memory=memory,
        host_memory=host_memory, core=15 * GB, copy=6e-6, launch=3e-6, synchronise=3.7e-6,
        source=" ".join(f"{source} {_HOST_SIDE}".split()),
    )  # fmt: skip


_SERVERS = {
    "a100": _eight(
        "a100", PCIE_4, 300 * GB, 2039 * GB, 2 * 8 * 25.6 * GB,
        """A100 80GB SXM: 2,039 GB/s of memory, NVLink 300 GB/s each way, PCIe 4.0 (A100 data sheet, 2021); two sockets
        with eight channels of DDR4-3200 at 25.6 GB/s each (DGX A100 data sheet, 2020; JEDEC JESD79-4).""",
    ),
    "h100": _eight(
        "h100", PCIE_5, 450 * GB, 3350 * GB, 2 * 8 * 38.4 * GB,
        """H100 SXM: 3.35 TB/s of memory, NVLink 450 GB/s each way, PCIe 5.0 (H100 data sheet, 2022); two sockets with
        eight channels of DDR5-4800 at 38.4 GB/s each (DGX H100 data sheet, 2022; JEDEC JESD79-5).""",
    ),
    "h100-pcie": _eight(
        "h100-pcie", PCIE_5, 0.0, 2000 * GB, 2 * 8 * 38.4 * GB,
        """H100 PCIe: 2 TB/s of memory, PCIe 5.0 (H100 PCIe product brief, 2022), no NVLink bridge; two sockets with
        eight channels of DDR5-4800 at 38.4 GB/s each (JEDEC JESD79-5).""",
    ),
}  # fmt: skip
