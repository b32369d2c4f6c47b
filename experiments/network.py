"""The options that describe a network, for every command that simulates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.errors import UsageFault
from experiments.units import format_rate, format_seconds, parse_rate, parse_seconds

if TYPE_CHECKING:
    from simulator import Network

__all__ = ["Bandwidth", "Costs", "Gamma", "Latency", "Measured", "costs"]

LATENCY, BANDWIDTH, GAMMA = "5us", "10Gbit/s", "0s"

Latency = Annotated[str | None, typer.Option(help=f"Time per message; {LATENCY} if not given.", show_default=False)]
Bandwidth = Annotated[
    str | None,
    typer.Option(help=f"Of each rank, in each direction; {BANDWIDTH} if not given.", show_default=False),
]
Gamma = Annotated[
    str | None,
    typer.Option(help=f"Time per reduced byte, such as 0.05ns; {GAMMA} if not given.", show_default=False),
]
Measured = Annotated[
    str | None,
    typer.Option("--profile", help="Costs that `ciranda calibrate` measured: a path or a name.", show_default=False),
]


@dataclass(frozen=True, slots=True)
class Costs:
    """``alpha`` s per message, ``beta`` s per byte, ``gamma`` s per reduced byte."""

    alpha: float
    beta: float
    gamma: float

    def network(self, size: int) -> Network:
        """A star of ``size`` ranks at these costs."""
        from simulator import networks

        return networks.from_profile(self, size)

    def __str__(self) -> str:
        rate = format_rate(1 / self.beta, bits=True) if self.beta else "infinite bandwidth"
        return (
            f"alpha {format_seconds(self.alpha)} per message, beta {self.beta:.4g} s per byte ({rate}), "
            f"gamma {self.gamma:.4g} s per reduced byte"
        )


def costs(latency: str | None, bandwidth: str | None, gamma: str | None, profile: str | None) -> Costs:
    """The costs of a profile, or of a 10 Gbit/s cluster where none is named, each replaced by the option beside it.

    UsageFault for a profile that cannot be read, and for a bandwidth of zero.
    """
    base = _profile(profile) if profile else Costs(parse_seconds(LATENCY), _beta(BANDWIDTH), parse_seconds(GAMMA))
    return Costs(
        base.alpha if latency is None else parse_seconds(latency),
        base.beta if bandwidth is None else _beta(bandwidth),
        base.gamma if gamma is None else parse_seconds(gamma),
    )


def _profile(place: str) -> Costs:
    from collectives.profile import Profile, ProfileError

    try:
        found = Profile.load(place)
    except ProfileError as problem:
        raise UsageFault(str(problem)) from problem
    return Costs(found.alpha, found.beta, found.gamma)


def _beta(bandwidth: str) -> float:
    rate = parse_rate(bandwidth)
    if not rate:
        raise UsageFault(f"bandwidth {bandwidth!r}: nothing moves at zero; write it like {BANDWIDTH}")
    return 1 / rate
