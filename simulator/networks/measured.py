"""A network as calibration found it: one term of the model after another, each from the numbers of a profile."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np

from collectives.measured import Knots, interpolated
from collectives.profile import Profile
from simulator.models import Busy, Calibrated, Cores, Duplex, Hockney, Message, Model, Reduction
from simulator.networks.network import Network
from simulator.networks.star import star, uniform
from simulator.networks.torus import ring
from simulator.networks.tree import hierarchical

__all__ = ["TERMS", "Measured", "from_profile"]

TERMS = ("start", "curve", "duplex", "processor", "contention", "reduction")
"""What a network from a profile has beyond Hockney's α, β and γ, in the order in which differences are explained.

- ``start``: ranks that paused wake up first;
- ``curve``: a message costs what its size was measured to cost, and small ones leave before their receiver is ready;
- ``duplex``: an exchange with one partner of messages that ask first costs what it was measured to cost;
- ``processor``: costs are those while all ranks are at work, who share the cores of their machine and do two things at
  once where they send and receive in one round;
- ``contention``: a port is taken for as long as trains of messages showed, and racks share the link between them;
- ``reduction``: a reduced byte costs what the size of its buffer was measured to cost.
"""

_ALONE = 2  # ranks of a ping-pong
_SHORT = 4096  # bytes
_ONE_MACHINE = ("local", "cluster")  # places whose ranks share the cores of one machine


class Measured(Protocol):
    """The least that a network is made from: ``collectives.profile.Profile`` has it, and more."""

    @property
    def alpha(self) -> float:
        """Seconds per message."""
        ...

    @property
    def beta(self) -> float:
        """Seconds per byte."""
        ...

    @property
    def gamma(self) -> float:
        """Seconds per reduced byte."""
        ...


def from_profile(profile: Measured, size: int, terms: Collection[str] = TERMS) -> Network:
    """``size`` ranks that pay what ``profile`` says, with the given ones of ``TERMS``; none of them: α, β and γ alone.

    Without ``processor`` the costs are those of one pair at work alone, as in a textbook's ping-pong. A term that was
    not calibrated changes nothing. Raises ValueError for a term that is not known.
    """
    for term in terms:
        if term not in TERMS:
            raise ValueError(f"no term is called {term!r}; known: {', '.join(TERMS)}")
    if not isinstance(profile, Profile):
        return uniform(size, profile.alpha, profile.beta, profile.gamma)
    costs = profile.at(size if "processor" in terms else _ALONE)
    model = Model(
        message=_message(costs, terms),
        reduction=_reduction(profile, terms),
        duplex=_duplex(costs) if "duplex" in terms else Duplex(),
        cores=Cores(profile.cores) if "processor" in terms and profile.cores else None,
        busy=_busy(costs) if "processor" in terms else Busy(),
        start=costs.start if "start" in terms else 0.0,
    )
    return replace(_joined(profile, size, terms), model=model)


def _message(costs: Profile, terms: Collection[str]) -> Message:
    """A message one way, and how long it takes the ports."""
    if "curve" not in terms or not costs.curve:
        return Hockney(costs.alpha, costs.beta)
    return Calibrated(costs.curve, _periods(costs) if "contention" in terms else (), costs.eager)


def _periods(costs: Profile) -> Knots:
    """(bytes, seconds from one message of a train to the next), never less for a longer message than for a shorter."""
    found = [(size, factor * costs.one_way(size)) for size, factor in costs.streams]
    least = itertools.accumulate((seconds for _, seconds in reversed(found)), min)
    return tuple(zip((size for size, _ in found), reversed([*least]), strict=True))


def _duplex(costs: Profile) -> Duplex:
    """An exchange of messages that ask first, over one way or the time that a message takes of the ports if longer.

    A message that does not ask cannot wait for an answer that comes behind another's bytes.
    """
    points = [(size, max(1.0, both / alone)) for size, both, alone in _exchanges(costs) if size > costs.eager]
    return Duplex(points=((max(0, costs.eager), 1.0), *points) if points and costs.eager >= 0 else tuple(points))


def _busy(costs: Profile) -> Busy:
    """What an exchange of messages that do not ask takes beyond one way: the work of sending and receiving at once.

    That is work for a message and not for its bytes, so the median over short messages stands for all.
    """
    extra = [max(0.0, both - alone) for size, both, alone in _exchanges(costs) if size <= min(costs.eager, _SHORT)]
    if not extra:
        return Busy()
    later = statistics.median(extra)
    return Busy(((0, later), (costs.eager, later), (costs.eager + 1, 0.0)))


def _exchanges(costs: Profile) -> Iterator[tuple[int, float, float]]:
    """Of each size: seconds of an exchange, and of one way (or for which a message takes the ports, if longer)."""
    periods = _periods(costs)
    for size, factor in costs.duplex:
        alone = costs.one_way(size)
        taken = interpolated(periods, size, onward=True) if periods else 0.0
        yield size, factor * alone, max(alone, taken)


def _reduction(profile: Profile, terms: Collection[str]) -> Reduction:
    knots = profile.reductions.get("float32", ()) if "reduction" in terms else ()
    if not knots:
        return Reduction(((math.inf, profile.gamma),))
    # A level reaches half way to the next size that was measured, as people see sizes: doubling by doubling.
    ends = [math.sqrt(size * after) for (size, _), (after, _) in itertools.pairwise(knots)]
    return Reduction(tuple(zip([*ends, math.inf], (gamma for _, gamma in knots), strict=True)))


def _joined(profile: Profile, size: int, terms: Collection[str]) -> Network:
    """The topology, without costs of its own where nothing is shared."""
    place = profile.environment.get("place", {})
    if "contention" not in terms or size == 1:
        network = star(size, 0.0, math.inf)
    elif profile.declared == "ring" and place.get("hosts", 0) >= size:
        whole = ring(place["hosts"], 0.0, _bandwidth(profile))
        network = replace(whole, place=np.arange(size))
    elif profile.trunk and len(set(profile.groups)) > 1:
        network = _racks(profile, size)
    else:
        network = star(size, 0.0, math.inf)
    if place.get("name", "local") not in _ONE_MACHINE:
        return network
    together = np.zeros(network.topology.hosts, dtype=np.int64)
    return replace(network, topology=replace(network.topology, machine=together))


def _racks(profile: Profile, size: int) -> Network:
    """Racks of as many hosts as the first of those found, joined by links of the bandwidth that all pairs shared."""
    group = [profile.groups[rank % len(profile.groups)] for rank in range(size)]
    groups = sorted(set(group))
    hosts = max(group.count(number) for number in groups)
    near, far = (next((pair.alpha for pair in profile.classes if pair.name == name), 0.0) for name in ("near", "far"))
    network = hierarchical(
        (hosts, len(groups)), (0.0, max(0.0, far - near) / 2), (math.inf, profile.trunk), hosts=hosts * len(groups)
    )
    turns = [group[:rank].count(number) for rank, number in enumerate(group)]
    place = [groups.index(number) * hosts + turn for number, turn in zip(group, turns, strict=True)]
    return replace(network, place=np.array(place))


def _bandwidth(profile: Profile) -> float:
    """Bytes/s of a link, from what long messages take."""
    (first, quick), (last, slow) = profile.curve[-2:] if len(profile.curve) > 1 else ((0, 0.0), (1, profile.beta))
    return (last - first) / max(slow - quick, 1e-15)
