"""Networks that exist, or could be bought: every figure with its public source, and every guess called one.

A preset takes the number of ranks and builds as much of the network as they need. Links are as fast as their line
rate, or as the stated share of it; what the hosts themselves add to a message is the latency of the model.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from simulator.models import Cores, Hockney, LogGOPS, Model, Reduction
from simulator.networks.checks import whole
from simulator.networks.devices import PIECE, Path, behind
from simulator.networks.network import Network
from simulator.networks.rails import rails
from simulator.networks.servers import Server, server
from simulator.networks.star import bus, star
from simulator.networks.torus import torus
from simulator.networks.tree import Tree, switch_names

__all__ = ["names", "preset"]

GBIT, GB = 1e9 / 8, 1e9
TCP = (1500 - 52) / (1500 + 38)
"""Share of the line rate that a TCP stream gets: 52 bytes of headers in a frame of 1500, 38 bytes between two."""


def names() -> list[str]:
    """The presets, in alphabetical order."""
    return sorted(_PRESETS)


def preset(
    name: str, ranks: int, path: Path | None = None, machine: Server | None = None, piece: float = PIECE
) -> Network:
    """The preset ``name`` for ``ranks`` ranks, one on each of the first hosts.

    Its ``source`` says where the figures are from, and which of them are assumed. With a ``path`` the vectors are on
    devices of ``machine`` (by default the preset's own, or else an H100), and messages take that way, staged ones in
    pieces of ``piece`` bytes: see ``behind``. Without one, presets of GPUs are as a library on the devices sees them.
    Raises ValueError for an unknown name, the nearest first, and for more ranks than the machine can have.
    """
    known = _PRESETS.get(name)
    if known is None:
        nearest = difflib.get_close_matches(name, names(), n=len(_PRESETS), cutoff=0.0)
        raise ValueError(f"no preset is called {name!r}; known: {', '.join(nearest)}")
    whole("ranks", ranks)
    of_devices = path is not None and known.cards is not None
    network = known.cards(ranks) if path is not None and known.cards else known.build(ranks)
    found = replace(
        network,
        topology=replace(network.topology, name=name),
        place=np.arange(ranks),
        model=Model() if of_devices else known.model,
        source=" ".join((_CARDS if of_devices else known.source).split()),
    )
    return found if path is None else behind(found, path, machine or server(known.server), piece)


@dataclass(frozen=True, slots=True)
class _Preset:
    """``cards``: the network cards alone, where ``build`` joins devices; ``server``: what stands behind them."""

    build: Callable[[int], Network]
    model: Model
    source: str
    cards: Callable[[int], Network] | None = None
    server: str = "h100"


def _model(latency: float, memory: float) -> Model:
    """Hosts that add ``latency`` s to a message, and reduce with two reads and one write at ``memory`` bytes/s."""
    return Model(Hockney(latency), Reduction(((math.inf, 3 / memory),)))


def _leaves(ranks: int, ports: int, uplinks: int, bandwidth: float, uplink_bandwidth: float, switch: float) -> Network:
    """Racks of ``ports`` hosts, each leaf switch with one uplink to each of ``uplinks`` spines; or just one switch."""
    racks = -(-ranks // ports)
    levels = 1 if racks == 1 else 2
    tree = Tree(
        name="leaf and spine",
        down=(ports, racks)[:levels],
        up=(1, uplinks)[:levels],
        latency=(switch / 2, switch)[:levels],  # so one switch costs one, and leaf, spine, leaf cost three
        bandwidth=(bandwidth, uplink_bandwidth)[:levels],
        switches=switch_names(levels),
    )
    return tree.network(ranks)


def _clos(ranks: int, ports: int, bandwidth: float, switch: float) -> Network:
    """The fat tree of switches with ``ports`` ports, with as many levels as ``ranks`` hosts need."""
    half, levels = ports // 2, 1
    while 2 * half**levels < ranks:
        levels += 1
    tree = Tree(
        name="fat tree",
        down=(half,) * (levels - 1) + (ports,),
        up=(1,) + (half,) * (levels - 1),
        latency=(switch / 2,) + (switch,) * (levels - 1),
        bandwidth=(bandwidth,) * levels,
        switches=switch_names(levels),
    )
    return tree.network(ranks)


def _pod(ranks: int, island_bandwidth: float, bandwidth: float) -> Network:
    """Servers of eight GPUs on eight rails, with the latencies of NCCL's tuning table."""
    return rails(-(-ranks // 8), 8, 0.47e-6 / 2, island_bandwidth, 2.7e-6 / 2, bandwidth)


def _cards(ranks: int, bandwidth: float) -> Network:
    """The cards of servers of eight, on one fabric."""
    found = star(-(-ranks // 8) * 8, 1e-6, bandwidth)
    return replace(found, topology=replace(found.topology, machine=np.arange(found.size) // 8))


def _tpu(ranks: int) -> Network:
    """The smallest box for ``ranks`` chips whose sides are powers of two and differ by a factor of two at most."""
    if ranks > 4096:
        raise ValueError(f"tpu-torus has 4096 chips, too few for {ranks} ranks")
    side = [1, 1, 1]
    while math.prod(side) < ranks:
        side[side.index(min(side))] *= 2
    return torus(sorted(side), latency=1e-6, bandwidth=50 * GB)


_KERNEL = 35e-6
_HOST_SOURCE = """
    Host: 35 us for a message, 15 us of kernel TCP stack and 2.5 us of network card at each end (Rumble et al., "It's
    Time for Low Latency", HotOS 2011, table 1). TCP gets 94.1 % of the line rate (1448 of 1538 bytes of each frame).
"""
_CPU_MEMORY = 8 * 25.6 * GB
_CPU_SOURCE = """
    Assumed: one rank a host, which reduces at the speed of its memory, eight channels of DDR4-3200 at 25.6 GB/s each
    (JEDEC JESD79-4: PC4-25600), three bytes moved for each byte reduced.
"""
_GPU_LATENCY = """
    Latency: 0.47 us over NVLink and 2.7 us over the network, NCCL's own tuning table for a ring with the LL protocol
    (NVIDIA/nccl, src/graph/tuning.cc). Assumed: the full line rate; each rail one switch without contention,
    where a real pod has leaves and spines; LL's latency at every size; messages to another rail go over NVLink first
    (PXN, NCCL 2.12); GPUs reduce at the speed of their memory, three bytes moved for each byte reduced.
"""

_CARDS = """
    Network: eight ConnectX cards a server at their line rate (data sheet). Assumed: 1 us from card to card, what MPI
    libraries reach between hosts; all cards on one fabric without contention.
"""

_PRESETS = {
    "ethernet-1g": _Preset(
        lambda ranks: _leaves(ranks, 48, 4, GBIT * TCP, 10 * GBIT * TCP, 3e-6),
        _model(_KERNEL, _CPU_MEMORY),
        f"""1 Gbit/s Ethernet. Line rate: IEEE 802.3ab. Up to 48 hosts on one switch, more in racks of 48 with four
        10 Gbit/s uplinks to four spines (the port counts of the Arista 7010T-48). Assumed: 3 us for a switch.
        {_HOST_SOURCE} {_CPU_SOURCE}""",
    ),
    "ethernet-10g": _Preset(
        lambda ranks: _leaves(ranks, 48, 4, 10 * GBIT * TCP, 40 * GBIT * TCP, 550e-9),
        _model(_KERNEL, _CPU_MEMORY),
        f"""10 Gbit/s Ethernet. Line rate: IEEE 802.3ae. Up to 48 hosts on one switch, more in racks of 48 with four
        40 Gbit/s uplinks to four spines, 3:1 oversubscribed (the port counts of the Arista 7050SX-64); 550 ns for a
        switch (Arista 7050SX data sheet, 2013). {_HOST_SOURCE} {_CPU_SOURCE}""",
    ),
    "ethernet-25g": _Preset(
        lambda ranks: _leaves(ranks, 48, 8, 25 * GBIT * TCP, 100 * GBIT * TCP, 800e-9),
        _model(_KERNEL, _CPU_MEMORY),
        f"""25 Gbit/s Ethernet. Line rate: IEEE 802.3by. Up to 48 hosts on one switch, more in racks of 48 with eight
        100 Gbit/s uplinks to eight spines, 1.5:1 oversubscribed, 800 ns for a switch (Arista 7050SX3-48YC8, 7050X3
        data sheet). {_HOST_SOURCE} {_CPU_SOURCE}""",
    ),
    "ethernet-100g": _Preset(
        lambda ranks: _leaves(ranks, 16, 16, 12.05 * GB, 12.05 * GB, 800e-9),
        _model(15.4e-6, _CPU_MEMORY),
        f"""100 Gbit/s Ethernet that bypasses the kernel. 16.2 us from host to host at 8 bytes and 12.05 GB/s (96 % of
        the line rate of IEEE 802.3bm): measured over AWS EFA with OSU benchmarks (converged-computing/
        performance-study, 2025, medians on 32 nodes). Racks of 16 hosts with 16 uplinks, 800 ns for a switch, which
        leaves 15.4 us to the hosts (32 ports: Arista 7050CX3-32S, 7050X3 data sheet). Assumed: the racks; a
        cloud's own are not public. {_CPU_SOURCE}""",
    ),
    "infiniband-hdr": _Preset(
        lambda ranks: _clos(ranks, 40, 200 * GBIT, 130e-9),
        _model(0.87e-6, _CPU_MEMORY),
        f"""InfiniBand HDR, 200 Gbit/s a port (IBTA), fat tree without oversubscription of switches with 40 ports and
        130 ns (NVIDIA Quantum QM8700 product brief, 2018). Assumed: 1 us from host to host over one switch, what MPI
        libraries reach on such adapters, so 0.87 us at the hosts; the full line rate. {_CPU_SOURCE}""",
    ),
    "infiniband-ndr": _Preset(
        lambda ranks: _clos(ranks, 64, 400 * GBIT, 130e-9),
        _model(0.87e-6, _CPU_MEMORY),
        f"""InfiniBand NDR, 400 Gbit/s a port (IBTA), fat tree without oversubscription of switches with 64 ports
        (NVIDIA Quantum-2 QM9700 data sheet, 2021). Assumed: latencies as for HDR, 130 ns for a switch and 0.87 us at
        the hosts; the full line rate. {_CPU_SOURCE}""",
    ),
    "dgx-a100": _Preset(
        lambda ranks: _pod(ranks, 300 * GB, 200 * GBIT),
        _model(0.0, 2039 * GB),
        f"""NVIDIA DGX A100 640GB: eight GPUs on NVSwitch, 600 GB/s each, 300 each way; eight ConnectX-6 at
        200 Gbit/s, one for each GPU (DGX A100 data sheet, 2020); 2,039 GB/s of GPU memory (A100 80GB SXM data sheet,
        2021). {_GPU_LATENCY}""",
        lambda ranks: _cards(ranks, 200 * GBIT),
        "a100",
    ),
    "dgx-h100": _Preset(
        lambda ranks: _pod(ranks, 450 * GB, 400 * GBIT),
        _model(0.0, 3350 * GB),
        f"""NVIDIA DGX H100: eight GPUs on NVSwitch, 900 GB/s each, 450 each way; eight ConnectX-7 at 400 Gbit/s, one
        for each GPU (DGX H100 data sheet, 2022); 3.35 TB/s of GPU memory (H100 SXM data sheet, 2022).
        {_GPU_LATENCY} The table is older than the H100.""",
        lambda ranks: _cards(ranks, 400 * GBIT),
        "h100",
    ),
    "tpu-torus": _Preset(
        _tpu,
        _model(0.0, 1200 * GB),
        """Like Google's TPU v4: up to 4,096 chips on a 3-D torus with six links of 50 GB/s each way (Jouppi et al.,
        "TPU v4", ISCA 2023, table 4), 1,200 GB/s of memory (Google Cloud TPU v4 documentation). Assumed: 1 us a link;
        sides that are powers of two and wrap round at any size (the machine wraps only those made of 4x4x4 cubes,
        and has no smaller torus); three bytes of memory moved for each byte reduced.""",
    ),
    "home": _Preset(
        lambda ranks: bus(ranks, 4e-3, 866.7e6 / 8 / 2, 866.7e6 / 8 / 4),
        _model(0.0, 2 * 25.6 * GB),
        """A home network: laptops on one Wi-Fi 5 access point, whose air all of them share. 866.7 Mbit/s on the air
        (IEEE 802.11ac: 80 MHz, two streams, MCS 9, short guard interval). Assumed: TCP gets half of it, and every
        message crosses the air twice, to the access point and from it, so all together get a quarter; 4 ms from
        laptop to laptop; laptops with two channels of DDR4-3200 (25.6 GB/s each, JEDEC JESD79-4), three bytes moved
        for each byte reduced. On a wired switch, take ethernet-1g.""",
    ),
    "laptop": _Preset(
        lambda ranks: bus(ranks, 0.0, 10 * GB, 2 * 25.6 * GB / 3, one_machine=True),
        Model(
            LogGOPS(L=0.1e-6, o=0.2e-6, S=4096),
            Reduction(((1 << 20, 3 / (100 * GB)), (math.inf, 3 / (20 * GB)))),
            cores=Cores(8),
        ),
        """A laptop: ranks share eight cores, and two channels of DDR4-3200 (25.6 GB/s each, JEDEC JESD79-4). A message
        is copied once, which moves three bytes for each (read, read before writing, write), so all together get a
        third of the memory's speed. Messages above 4 KiB wait for their receiver (Open MPI's eager limit between
        processes of one host). Assumed: one rank alone copies at 10 GB/s; 0.2 us of processor at each end and 0.1 us
        of latency; a core folds three streams at 100 GB/s while a buffer fits 1 MiB of cache, at 20 GB/s beyond.""",
    ),
}
