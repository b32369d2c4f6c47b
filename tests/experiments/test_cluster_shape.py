"""What a cluster looks like: laws of the shape and of the commands that make it. Nothing is run here."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.cluster.shape import MTU, TOPOLOGIES, Shape, address, host, script
from experiments.errors import UsageFault

MEGABIT = 125e3


@st.composite
def shapes(draw: st.DrawFn, *topologies: str) -> Shape:
    return Shape(
        hosts=draw(st.integers(4, 16)),
        rate=draw(st.floats(1, 10_000)) * MEGABIT,
        delay=draw(st.sampled_from([0.0, 1e-3])),
        topology=draw(st.sampled_from(topologies or TOPOLOGIES)),
        oversubscription=draw(st.floats(0.5, 16)),
    )


@given(shapes())
def test_every_way_into_or_out_of_a_host_is_shaped_at_the_nominal_rate(shape: Shape) -> None:
    rates = re.findall(r"classid 1:1 htb rate (\d+)bit ceil", script(shape))
    trunks = [round(shape.trunk * 8)] * 2 if shape.trunk else []
    assert sorted(map(int, rates)) == sorted([round(shape.rate * 8)] * 2 * shape.hosts + trunks)


@given(shapes())
def test_a_shaper_passes_at_once_what_the_rate_sends_in_a_moment(shape: Shape) -> None:
    assert 2048 <= shape.burst <= max(MTU, shape.rate * 1e-3)


@given(shapes())
def test_small_packets_leave_first_everywhere(shape: Shape) -> None:
    lines = script(shape).splitlines()
    shapers = [line for line in lines if "classid 1:1 htb" in line]
    assert len([line for line in lines if "u32 match u16 0x0000 0xff00 at 2 flowid 1:2" in line]) == len(shapers)
    assert len([line for line in lines if "classid 1:2 htb" in line and "prio 0" in line]) == len(shapers)


@given(shapes())
def test_racks_share_hosts_and_the_trunk_is_oversubscribed_as_asked(shape: Shape) -> None:
    assert len(shape.racks) == shape.hosts
    assert sorted(shape.racks) == list(shape.racks)
    if shape.topology != "two-racks":
        assert (set(shape.racks), shape.trunk) == ({0}, 0)
        return
    assert 0 <= shape.racks.count(0) - shape.racks.count(1) <= 1
    assert shape.trunk * shape.oversubscription == pytest.approx(shape.racks.count(0) * shape.rate)
    for source, dest in [(0, 1), (0, shape.hosts - 1)]:
        crosses = shape.racks[source] != shape.racks[dest]
        assert shape.share(source, dest) == (min(shape.rate, shape.trunk) if crosses else shape.rate)


@settings(max_examples=15)
@given(shapes("ring"))
def test_routes_of_a_ring_lead_to_every_host_the_shorter_way(shape: Shape) -> None:
    next_hop = _routes(shape)
    for start in range(shape.hosts):
        for dest in set(range(shape.hosts)) - {start}:
            here, steps = start, 0
            while here != dest:
                here, steps = next_hop[here, dest], steps + 1
                assert steps <= shape.hosts
            assert steps == min((dest - start) % shape.hosts, (start - dest) % shape.hosts)


def _routes(shape: Shape) -> Mapping[tuple[int, int], int]:
    """The neighbour to which each host sends what is for another; checks that the link named leads there."""
    number = {address(count): count for count in range(shape.hosts)}
    names = {host(count): count for count in range(shape.hosts)}
    found: dict[tuple[int, int], int] = {}
    pattern = r"route add (\S+)/32 via (\S+) dev (left|right) onlink src (\S+)"
    for name, routes in re.findall(r"ip -n (\S+) -batch - <<'END'\n(.*?)END\n", script(shape), re.DOTALL):
        for dest, via, link, source in re.findall(pattern, routes):
            here, there = names[name], number[via]
            assert source == address(here)
            assert (there - here) % shape.hosts == (1 if link == "right" else shape.hosts - 1)
            found[here, number[dest]] = there
    return found


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"hosts": 1}, "hosts"),
        ({"hosts": 10_000}, "hosts"),
        ({"rate": 0.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"delay": -1.0}, "delay"),
        ({"topology": "torus"}, "torus"),
        ({"hosts": 3, "topology": "two-racks"}, "racks"),
        ({"hosts": 2, "topology": "ring"}, "ring"),
        ({"topology": "two-racks", "oversubscription": 0.0}, "oversubscription"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_by_name(facts: dict[str, float | str], word: str) -> None:
    with pytest.raises(UsageFault, match=word):
        Shape(**{"hosts": 8, "rate": 12.5e6, **facts})  # type: ignore[arg-type]
