"""Parts cover the vector once, are no larger than allowed, and no server keeps more than its share."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives.parameter_server.sharding import Sharding

SIZES = st.lists(st.integers(0, 400), min_size=1, max_size=8).filter(any)


def kept(sharding: Sharding) -> list[int]:
    return [sum(part.count for part in parts) for parts in sharding.by_server.values()]


@given(SIZES, st.integers(1, 9), st.integers(4, 1200), st.booleans())
@settings(max_examples=150, deadline=None)
def test_parts_cover_the_vector_once_and_tensors_lie_in_theirs(sizes, servers, partition, whole) -> None:
    tensors = {f"t{i}": size for i, size in enumerate(sizes)}
    sharding = Sharding.plan(tensors, servers, partition, whole=whole)
    assert [part.number for part in sharding.parts] == list(range(len(sharding.parts)))
    edges = [0, *(part.hi for part in sharding.parts)]
    assert [part.lo for part in sharding.parts] == edges[:-1]
    assert edges[-1] == sum(sizes)
    assert all(part.count > 0 and part.server < servers for part in sharding.parts)
    for name, (lo, hi) in sharding.tensors.items():
        pieces = [piece for part in sharding.covering(name) for piece in sharding.within(part) if piece[0] == name]
        assert sum(end - begin for _, begin, end in pieces) == hi - lo == tensors[name]


@given(SIZES, st.integers(1, 9), st.integers(4, 1200))
@settings(max_examples=150, deadline=None)
def test_no_server_has_more_than_its_share_and_one_element_a_part(sizes, servers, partition) -> None:
    sharding = Sharding.plan(dict(enumerate(sizes)), servers, partition)  # type: ignore[arg-type]
    share = sum(sizes) / servers
    for parts in sharding.by_server.values():
        assert sum(part.count for part in parts) <= share + len(parts)
    assert max(part.count for part in sharding.parts) <= max(1, partition // 4)


@given(SIZES, st.integers(1, 9), st.integers(4, 1200))
@settings(max_examples=100, deadline=None)
def test_whole_tensors_stay_whole_and_balance_up_to_the_largest(sizes, servers, partition) -> None:
    tensors = {f"t{i}": size for i, size in enumerate(sizes)}
    sharding = Sharding.plan(tensors, servers, partition, whole=True)
    for part in sharding.parts:
        for name, lo, hi in sharding.within(part):
            assert (lo, hi) == sharding.tensors[name]
    largest = max(part.count for part in sharding.parts)
    assert max(kept(sharding)) <= sum(sizes) / servers + largest
    assert largest <= max(partition // 4, *sizes)


def test_every_large_layer_is_spread_over_all_servers() -> None:
    sharding = Sharding.plan({"first": 4000, "second": 4000}, 4, 1000)
    for name in sharding.tensors:
        assert {part.server for part in sharding.covering(name)} == {0, 1, 2, 3}


def test_an_unknown_tensor_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Sharding.plan({"a": 1}, 1, 4).covering("b")
