"""What a port passes while the messages of several ranks follow each other at it."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

from simulator.models import Calibrated
from simulator.networks import Network

__all__ = ["unpaused"]


def unpaused(network: Network) -> Network:
    """The network with trains of messages that ask first as dense as those of longer messages.

    Calibration sends a train from one rank to another, each message after the answer to the one before, and in the
    pauses the port has nothing to do. At a server others fill them. Long messages show what a port passes.
    """
    message = network.model.message
    if not isinstance(message, Calibrated) or not message.period:
        return network
    least = accumulate((seconds / max(size, 1) for size, seconds in reversed(message.period)), min)
    dense = tuple(
        (size, seconds if size <= message.eager else size * rate)
        for (size, seconds), rate in zip(message.period, reversed([*least]), strict=True)
    )
    return replace(network, model=replace(network.model, message=replace(message, period=dense)))
