"""A cluster on one machine: hosts are network namespaces, joined by links of a given rate; `ciranda cluster`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.places import Cluster

__all__ = ["available", "current", "temporary"]


def available() -> str | None:
    """Why no cluster can be made on this machine, or None where it can."""
    from experiments.cluster import namespaces

    return namespaces.available()


def current() -> Cluster | None:
    """The cluster that is up (`ciranda cluster up`), or None."""
    from experiments.cluster import lifetime

    return lifetime.current()


@contextmanager
def temporary(
    hosts: int = 8, rate: float = 12.5e6, topology: str = "star", *, delay: float = 0.0, oversubscription: float = 4.0
) -> Generator[Cluster]:
    """A cluster of one's own, beside any that is up, and gone on leaving (after kill -9 too).

    ``rate`` in bytes/s, ``delay`` in seconds. Raises UsageFault where this machine cannot make it.
    """
    from experiments.cluster import lifetime
    from experiments.cluster.shape import Shape

    with lifetime.raised(Shape(hosts, rate, delay, topology, oversubscription)) as place:
        yield place
