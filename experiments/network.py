"""The options that describe a network, for every command that simulates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.errors import UsageFault
from experiments.units import format_rate, format_seconds, parse_bytes, parse_rate, parse_seconds
from experiments.ways import AS_IS, Way

if TYPE_CHECKING:
    from collectives.profile import Profile
    from simulator import Network
    from simulator.models import Cores, Duplex, Message, Model

__all__ = ["Bandwidth", "Costs", "Gamma", "Latency", "Measured", "NetworkOptions", "costs"]

PANEL = "Network"
LATENCY, BANDWIDTH, GAMMA = "5us", "10Gbit/s", "0s"

Latency = Annotated[
    str | None,
    typer.Option(
        help=f"Time per message, of a shape per link; {LATENCY} if not given.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Bandwidth = Annotated[
    str | None,
    typer.Option(
        help=f"Of each rank or link, each direction; {BANDWIDTH} if not given.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Gamma = Annotated[
    str | None,
    typer.Option(
        help=f"Time per reduced byte, such as 0.05ns; {GAMMA} if not given.", show_default=False, rich_help_panel=PANEL
    ),
]
Measured = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="What `ciranda calibrate` measured: a name such as 4 or cluster-8, or a path.",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]

_LONG = 1 << 40
"""Bytes of a message that is long enough for its time to be its bytes'."""

_FIRST = {"torus": "dims", "hierarchical": "counts", "star": "size", "ring": "size", "fat_tree": "k"}
"""What the value without a name means: ``torus:4x4x4``."""

_OF_LINKS = ("star", "ring", "torus", "fat_tree", "dragonfly", "rails")
"""Shapes with one latency and one bandwidth, which the options give."""


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


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """What a command line says of the network; ``build`` makes it. Without ``network`` it is a star."""

    network: Annotated[
        str | None,
        typer.Option(
            help="A preset (dgx-h100), a shape (torus:4x4x4, fat-tree:k=16,oversubscription=2, ring) or a .toml or "
            ".yaml file; a star if not given.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    placement: Annotated[
        str | None,
        typer.Option(
            help="Hosts of the ranks: block, cyclic, random or random:SEED, or 0,3,1,...",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    latency: Latency = None
    bandwidth: Bandwidth = None
    gamma: Gamma = None
    profile: Measured = None
    overhead: Annotated[
        str | None,
        typer.Option(
            help="Processor time of a message at each end, such as 1us.", show_default=False, rich_help_panel=PANEL
        ),
    ] = None
    eager: Annotated[
        str | None,
        typer.Option(
            help="Up to this size a message goes before its receiver is ready, such as 64KiB; longer ones ask first.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    duplex: Annotated[
        str | None,
        typer.Option(
            help="An exchange takes FACTOR times one way: 2 (half duplex), or 2@128KiB (from there on).",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    cores: Annotated[
        str | None,
        typer.Option(
            help="Cores that the ranks of a machine share (without --network all ranks): 4, or 4:spins.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def size(self) -> int | None:
        """How many ranks the network itself says that it has; None for a preset or a shape that takes any number."""
        if self.network is None:
            return None
        try:
            return self._found(None).size
        except UsageFault:  # it needs a number of ranks, or has a fault that shows when it is built
            return None

    def build(self, ranks: int, way: Way = AS_IS) -> Network:
        """The network of ``ranks`` ranks, and what messages pass there. UsageFault names what cannot be."""
        try:
            if self.network is not None and way.path is not None and self._is_preset():
                found = way.preset(self.network, ranks)
            else:
                found = way.leads(self._star(ranks) if self.network is None else self._found(ranks))
            return way.encoded(replace(self._placed(found), model=self._model(found.model)))
        except ValueError as problem:
            raise UsageFault(str(problem)) from problem

    def describe(self, network: Network) -> str:
        """One line: what the network is, and what its farthest message costs."""
        far = str(Costs(network.alpha, network.beta, network.gamma))
        if self.network is None:
            return far
        return f"{network.name}, farthest ranks: {far}" + (f". Source: {network.source}" if network.source else "")

    def _is_preset(self) -> bool:
        from simulator import networks

        assert self.network is not None
        return self._spelled(self.network) in networks.names()

    def _star(self, ranks: int) -> Network:
        import numpy as np

        from simulator import networks

        if self.profile is not None and self.latency is None and self.bandwidth is None:
            return networks.from_profile(_profile(self.profile), ranks)
        prices = costs(self.latency, self.bandwidth, self.gamma, self.profile)
        bandwidth = 1 / prices.beta if prices.beta else math.inf
        found = networks.star(ranks, prices.alpha, bandwidth, reduction=prices.gamma)
        if self.cores is None:
            return found
        return replace(found, topology=replace(found.topology, machine=np.zeros(ranks, dtype=np.int64)))

    def _found(self, ranks: int | None) -> Network:
        from simulator import networks

        assert self.network is not None
        if self.profile is not None:
            raise UsageFault("--profile describes a star: leave --network away, or give latency and bandwidth")
        try:
            return networks.find(self._spelled(self.network), ranks)
        except ValueError as problem:
            raise UsageFault(str(problem)) from problem

    def _spelled(self, text: str) -> str:
        """``fat-tree:16`` as the simulator spells it: ``fat_tree:k=16,latency=5us,bandwidth=10Gbit/s``."""
        from simulator import networks

        name, _, given = text.partition(":")
        shape = name.replace("-", "_")
        links = {"latency": self.latency, "bandwidth": self.bandwidth}
        if shape not in networks.shapes():
            for option, value in links.items():
                if value is not None:
                    raise UsageFault(f"--{option}: {text} has its own; a shape such as torus:4x4x4 takes it")
            return text
        settings = [part for part in given.split(",") if part]
        if settings and "=" not in settings[0] and shape in _FIRST:
            settings[0] = f"{_FIRST[shape]}={settings[0]}"
        named = {setting.partition("=")[0].strip() for setting in settings}
        for option, default in (("latency", LATENCY), ("bandwidth", BANDWIDTH)):
            if option not in named and (shape in _OF_LINKS or links[option]):
                settings.append(f"{option}={links[option] or default}")
        return f"{shape}:{','.join(settings)}"

    def _placed(self, network: Network) -> Network:
        from simulator import networks

        if self.placement is None:
            return network
        how, _, seed = self.placement.partition(":")
        if how in networks.PLACEMENTS:
            return networks.place(network, how, network.size, seed=_whole(seed or "0", "a seed"))
        hosts: Sequence[int] = [_whole(part, "--placement: a host") for part in self.placement.split(",")]
        return networks.place(network, hosts, network.size)

    def _model(self, model: Model) -> Model:
        from simulator.models import Reduction

        reduction = model.reduction
        if self.gamma is not None:
            reduction = Reduction(((math.inf, parse_seconds(self.gamma)),))
        return replace(
            model,
            message=self._message(model.message),
            reduction=reduction,
            duplex=model.duplex if self.duplex is None else _duplex(self.duplex),
            cores=model.cores if self.cores is None else _cores(self.cores),
        )

    def _message(self, message: Message) -> Message:
        if self.overhead is None and self.eager is None:
            return message
        import numpy as np

        from simulator.models import LogGOPS

        return LogGOPS(
            L=float(message.delay(np.array([0]))[0]),
            o=message.overhead if self.overhead is None else parse_seconds(self.overhead),
            g=float(message.gap(np.array([0]))[0]),
            G=float(message.seconds(np.array([_LONG]))[0]) / _LONG,
            O=message.overhead_per_byte,
            S=math.inf if self.eager is None else float(parse_bytes(self.eager)),
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


def _profile(place: str) -> Profile:
    from collectives.profile import Profile, ProfileError

    try:
        return Profile.load(place)
    except ProfileError as problem:
        raise UsageFault(str(problem)) from problem


def _beta(bandwidth: str) -> float:
    rate = parse_rate(bandwidth)
    if not rate:
        raise UsageFault(f"bandwidth {bandwidth!r}: nothing moves at zero; write it like {BANDWIDTH}")
    return 1 / rate


def _duplex(text: str) -> Duplex:
    from simulator.models import Duplex

    factor, _, size = text.partition("@")
    try:
        times = float(factor)
    except ValueError:
        raise UsageFault(f"--duplex {text}: {factor!r} is no factor; write it like 2 or 2@128KiB") from None
    return Duplex(times, parse_bytes(size) if size else 0)


def _cores(text: str) -> Cores:
    from simulator.models import Cores

    count, _, waiting = text.partition(":")
    if waiting not in ("", "yields", "spins"):
        raise UsageFault(f"--cores {text}: a waiting rank yields or spins; write it like 4 or 4:spins")
    return Cores(_whole(count, "--cores: the number"), "spins" if waiting == "spins" else "yields")


def _whole(text: str, what: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise UsageFault(f"{what} is a whole number, got {text.strip()!r}")
    return int(text)
