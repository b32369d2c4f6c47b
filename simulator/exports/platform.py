"""A network as a platform file of SimGrid: its hosts, its links, and the route between every two ranks.

Every direction of a cable is a link of its own, and routes are written out, so SimGrid sends messages the same way. The
file grows with the square of the ranks. What ranks add to a message has no place in it.
Source: Casanova et al., "Versatile, scalable, and accurate simulation of distributed applications and platforms" (2014)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO
from xml.sax.saxutils import quoteattr

import numpy as np

from simulator.exports.smpi import SPEED

if TYPE_CHECKING:
    from simulator.networks import Network

__all__ = ["host_names", "text", "write"]

_INFINITE = 1e18
"""Bytes/s that are written for a link of infinite bandwidth."""


def host_names(network: Network) -> list[str]:
    """What the host of each rank is called."""
    return [f"h{rank}" for rank in range(network.size)]


def text(network: Network) -> str:
    """The platform file. ValueError where ranks add to a message what links cannot say."""
    return "".join(_lines(network))


def write(network: Network, stream: TextIO) -> None:
    """Write the platform file; see ``text``."""
    stream.writelines(_lines(network))


def _lines(network: Network) -> Iterator[str]:
    model = network.model
    added = model.alpha or model.beta or not model.duplex.full or model.busy.points or model.cores or model.encoding
    if added or network.topology.relays:
        raise ValueError(
            f"{network.name}: a SimGrid platform has links, and no processor time, duplex, cores, encoding or staging "
            "of ranks"
        )
    names, topology = host_names(network), network.topology
    yield '<?xml version="1.0"?>\n<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">\n'
    yield f'<platform version="4.1">\n<zone id={quoteattr(network.name)} routing="Full">\n'
    for name in names:
        yield f'<host id="{name}" speed="{SPEED:.0f}f"/>\n'
    for link, (latency, bandwidth) in enumerate(zip(topology.latency, topology.bandwidth, strict=True)):
        yield f'<link id="l{link}" bandwidth="{min(bandwidth, _INFINITE):.17g}Bps" latency="{latency:.17g}s"/>\n'
    for source, name in enumerate(names):
        others = np.delete(np.arange(network.size), source)
        found = topology.routes(np.full(len(others), network.place[source]), network.place[others])
        for index, dest in enumerate(others.tolist()):
            links = found.links[found.first[index] : found.first[index + 1]].tolist()
            passed = "".join(f'<link_ctn id="l{link}"/>' for link in links)
            yield f'<route src="{name}" dst="{names[dest]}" symmetrical="NO">{passed}</route>\n'
    yield "</zone>\n</platform>\n"
