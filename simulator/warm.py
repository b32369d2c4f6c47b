"""`python -m simulator.warm` compiles what simulations need and keeps it on disk: then the first one is quick too."""

from __future__ import annotations

from collectives import catalogue
from simulator import networks, simulate

__all__ = ["compile_all"]


def compile_all() -> None:
    """Play two small runs: one that settles rounds, one with events and shared links."""
    ring = catalogue.get("ring")
    for network in (networks.star(4, 1e-6, 1e9), networks.ring(4, 1e-6, 1e9)):
        simulate(ring, 4, 1024, network).timeline()


if __name__ == "__main__":
    compile_all()
