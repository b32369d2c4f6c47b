"""Networks as somebody wrote them: in a TOML or YAML file, or in a word on the command line."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from simulator.models import Model, Reduction
from simulator.networks.checks import whole
from simulator.networks.custom import Link, drawn
from simulator.networks.network import Network
from simulator.networks.parameters import rate, seconds, shape, shapes, whole_number
from simulator.networks.placement import place
from simulator.networks.presets import names, preset

__all__ = ["find", "load"]

_FILES = (".toml", ".yaml", ".yml")
_PLACING = ("ranks", "placement", "seed")
_DRAWN = ("name", "hosts", "switches", "links", "latency", "bandwidth", "reduction", *_PLACING)
_OF_A_LINK = ("between", "latency", "bandwidth", "directed")


def find(text: str, ranks: int | None = None) -> Network:
    """The network that ``text`` names: a preset, ``shape:parameter=value,...``, or a TOML or YAML file.

    ``ranks``: how many of its hosts get a rank, the first ones; presets need it, and where a shape takes a ``size`` it
    is that. By default every host does, or as many as the file says. Raises ValueError for what cannot be understood.

    >>> find("fat_tree:k=4,latency=1us,bandwidth=10Gbit/s", 12).size
    12
    """
    name, separator, settings = text.partition(":")
    if text.endswith(_FILES):
        network = load(text)
    elif separator or name in shapes():
        given = dict(_setting(text, setting) for setting in settings.split(",") if setting)
        if ranks is not None and name in ("star", "bus", "ring"):
            given.setdefault("size", str(ranks))
        network = shape(name, given)
    elif name in names() and ranks is not None:
        return preset(name, ranks)
    elif name in names():
        raise ValueError(f"preset {name} needs the number of ranks")
    else:
        raise ValueError(
            f"no network is called {text!r}: give a preset ({', '.join(names())}), a shape with parameters such as "
            f"torus:dims=4x4,latency=1us,bandwidth=10Gbit/s ({', '.join(shapes())}), or a .toml or .yaml file"
        )
    return network if ranks is None or ranks == network.size else place(network, _first(network, ranks))


def _first(network: Network, ranks: int) -> list[int]:
    hosts = network.topology.hosts
    if ranks > hosts:
        raise ValueError(f"{network.name} has {hosts} hosts, too few for {ranks} ranks")
    if ranks > network.size:
        raise ValueError(f"rank {network.size} has no place: {network.name} places {network.size} ranks, not {ranks}")
    return network.place[: whole("ranks", ranks)].tolist()


def _setting(text: str, setting: str) -> tuple[str, str]:
    key, separator, value = setting.partition("=")
    if not separator:
        raise ValueError(f"{text!r}: {setting!r} should read parameter=value, as in torus:dims=4x4,latency=1us")
    return key.strip(), value


def load(path: str | Path) -> Network:
    """The network that a TOML or YAML file describes.

    Either a shape, ``shape`` with the parameters of the function of that name::

        shape = "torus"
        dims = [4, 4, 4]
        latency = "1us"
        bandwidth = "50GB/s"

    or a drawing: ``hosts`` (a list of names, or a table from names to machines), ``switches`` (names) and ``links``,
    each with ``between`` (two names), ``latency``, ``bandwidth`` and perhaps ``directed = true`` (only from the first
    to the second); ``latency`` and ``bandwidth`` of the file are those of links that have none, and a link may be just
    its two names. Numbers are seconds and bytes/s; strings have units. Both kinds take ``reduction`` (s per byte),
    ``ranks``, ``placement`` (``"block"``, ``"cyclic"``, ``"random"`` with ``seed``, or a list of host numbers).

    Raises ValueError that names the file and the line or key which is wrong.
    """
    file = Path(path)
    try:
        return _network(_read(file))
    except ValueError as problem:
        raise ValueError(f"{file}: {problem}") from None


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"cannot be read: {getattr(problem, 'strerror', None) or 'it is no text'}") from None
    if file.suffix not in _FILES:
        raise ValueError(f"a network is described in a file that ends in {', '.join(_FILES)}")
    try:
        found: object = tomllib.loads(text) if file.suffix == ".toml" else yaml.safe_load(text)
    except yaml.MarkedYAMLError as problem:
        where = f"line {problem.problem_mark.line + 1}: " if problem.problem_mark else ""
        raise ValueError(f"{where}{problem.problem}") from None
    except yaml.YAMLError as problem:
        raise ValueError(str(problem)) from None
    if not isinstance(found, dict):
        raise ValueError("a network is a table of keys and values, such as shape = ...")
    return cast("dict[str, Any]", found)


def _network(given: dict[str, Any]) -> Network:
    placing = {key: given.pop(key) for key in _PLACING if key in given}
    if "shape" in given:
        network = shape(str(given.pop("shape")), given)
    elif "links" in given or "hosts" in given:
        network = _drawn(given)
    else:
        raise ValueError(f"either shape (one of {', '.join(shapes())}) or hosts and links must be given")
    how = placing.get("placement", "block" if placing else None)
    if how is None:
        return network
    ranks = whole_number("ranks", placing["ranks"]) if "ranks" in placing else None
    if not isinstance(how, (str, list)):
        raise ValueError(f"placement must be a name or a list of host numbers, got {how!r}")
    return place(network, cast("str | list[int]", how), ranks, whole_number("seed", placing.get("seed", 0)))


def _drawn(given: Mapping[str, Any]) -> Network:
    for key in given:
        if key not in _DRAWN:
            raise ValueError(f"a network of hosts and links has no {key!r}; it takes {', '.join(_DRAWN)}")
    hosts, switches = _named(given, "hosts"), _named(given, "switches")
    for both in [name for name in switches if name in hosts]:
        raise ValueError(f"{both!r} is both a host and a switch")
    nodes = {name: {"host": True, **machine} for name, machine in hosts.items()} | {name: {} for name in switches}
    links: dict[tuple[str, str], Link] = {}
    for number, entry in enumerate(_list(given, "links"), 1):
        try:
            for link in _links(entry, given, nodes):
                if (link.source, link.dest) in links:
                    raise ValueError(f"there is one from {link.source} to {link.dest} already")
                links[str(link.source), str(link.dest)] = link
        except ValueError as problem:
            raise ValueError(f"link {number}: {problem}") from None
    network = drawn(
        cast("Mapping[Hashable, Mapping[str, Any]]", nodes), links.values(), str(given.get("name", "custom"))
    )
    reduction = Reduction(((math.inf, seconds("reduction", given.get("reduction", 0.0))),))
    return replace(network, model=Model(reduction=reduction))


def _links(entry: object, given: Mapping[str, Any], nodes: Mapping[str, object]) -> Iterator[Link]:
    """One or two links from what a file says of one, with what it says of all."""
    if not isinstance(entry, (list, dict)):
        raise ValueError(f"a link is two names or a table with between, latency and bandwidth, got {entry!r}")
    told = cast("dict[str, Any]", entry if isinstance(entry, dict) else {"between": entry})
    for key in told:
        if key not in _OF_A_LINK:
            raise ValueError(f"there is no {key!r}; it takes {', '.join(_OF_A_LINK)}")
    pair = [str(name) for name in _list(told, "between")]
    if len(pair) != 2:
        raise ValueError(f"between must be two names, got {pair}")
    for name in pair:
        if name not in nodes:
            raise ValueError(f"no host or switch is called {name!r}")
    values = {key: told.get(key, given.get(key)) for key in ("latency", "bandwidth")}
    latency, bandwidth = seconds("latency", values["latency"]), rate("bandwidth", values["bandwidth"])
    yield Link.checked(pair[0], pair[1], latency, bandwidth)
    if told.get("directed") is not True:
        yield Link.checked(pair[1], pair[0], latency, bandwidth)


def _named(given: Mapping[str, Any], key: str) -> dict[str, dict[str, str]]:
    """The names that ``key`` lists, and the machine of each that has one."""
    names = given.get(key, [])
    if isinstance(names, dict):
        return {str(name): {"machine": str(machine)} for name, machine in cast("dict[object, object]", names).items()}
    found: dict[str, dict[str, str]] = {}
    for name in _list(given, key):
        if str(name) in found:
            raise ValueError(f"{key}: {name!r} is there twice")
        found[str(name)] = {}
    return found


def _list(given: Mapping[str, Any], key: str) -> list[object]:
    found = given.get(key, [])
    if not isinstance(found, list):
        raise ValueError(f"{key} must be a list, got {found!r}")
    return cast("list[object]", found)
