"""Pipeline orders: proven, their bubble and memory as the papers have them, and what the prover refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import pipeline
from collectives.pipeline import Action, Backward, Forward
from collectives.schedule import ScheduleError

few = settings(max_examples=40)


@few
@given(st.integers(1, 9), st.integers(1, 12))
def test_both_orders_are_right_and_cost_what_the_papers_say(stages: int, micro: int) -> None:
    kept = {"gpipe": [micro] * stages, "1f1b": [min(micro, stages - stage) for stage in range(stages)]}
    for name in pipeline.names():
        proof = pipeline.prove(pipeline.get(name), stages, micro)
        assert proof.kept == tuple(kept[name])
        assert proof.bubble == pytest.approx((stages - 1) / (micro + stages - 1))
        assert pipeline.bubble(stages, micro) == pytest.approx(proof.bubble)


def test_only_gpipe_works_where_sends_wait() -> None:
    pipeline.prove(pipeline.gpipe, 4, 6, blocking=True)
    with pytest.raises(ScheduleError, match=r"rank 2 in round 1 sends chunks \{1\} to rank 3, rank 3"):
        pipeline.prove(pipeline.one_forward_one_backward, 4, 6, blocking=True)


def last_backward_lost(stage: int, stages: int, micro: int) -> Iterable[Action]:
    return list(pipeline.gpipe(stage, stages, micro))[:-1]


def twice(stage: int, stages: int, micro: int) -> Iterable[Action]:
    return [Forward(0), *pipeline.gpipe(stage, stages, micro)]


def too_early(stage: int, stages: int, micro: int) -> Iterable[Action]:
    return [Backward(0), *pipeline.gpipe(stage, stages, micro)]


def crossing(stage: int, stages: int, micro: int) -> Iterable[Action]:
    found = [*map(Forward, range(micro)), *map(Backward, range(micro))]
    return found if stage else pipeline.gpipe(stage, stages, micro)


def impatient(stage: int, stages: int, micro: int) -> Iterable[Action]:
    """Stage 0 wants the gradient of each micro-batch at once, and stage 1 looks at all of them first."""
    if stage:
        return [*map(Forward, range(micro)), *map(Backward, range(micro))]
    return [action for number in range(micro) for action in (Forward(number), Backward(number))]


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        (last_backward_lost, r"stage 0: Backward\(micro=0\) is missing"),
        (twice, r"stage 0: Forward\(micro=0\) comes twice"),
        (too_early, r"stage 0: Backward\(micro=0\) comes before its forward pass"),
        (crossing, r"stage 0 does Backward\(micro=1\) where stage 1 does Backward\(micro=0\)"),
        (impatient, r"stage 0 waits before Backward\(micro=0\) .* stage 1 waits before Forward\(micro=1\)"),
    ],
)
def test_the_prover_names_what_is_wrong(order: Callable[..., Iterable[Action]], fault: str) -> None:
    with pytest.raises(ScheduleError, match=fault):
        pipeline.prove(order, 2, 2)


def test_times_of_uneven_stages_and_messages() -> None:
    (first, second) = pipeline.timeline(pipeline.gpipe, 2, forward=[1, 3], backward=[2, 4], message=0.5)
    assert [(slot.start, slot.end) for slot in second] == [(1.5, 4.5), (4.5, 7.5), (7.5, 11.5), (11.5, 15.5)]
    assert [(slot.start, slot.end) for slot in first] == [(0, 1), (1, 2), (12, 14), (16, 18)]


def dearest(costs: Sequence[float], cuts: Iterable[tuple[int, int]]) -> float:
    return max(sum(costs[lo:hi]) for lo, hi in cuts)


@few
@given(st.lists(st.integers(0, 20), min_size=1, max_size=7), st.data())
def test_no_cut_is_better(costs: list[int], data: st.DataObject) -> None:
    stages = data.draw(st.integers(1, len(costs)))
    found = pipeline.cut(costs, stages)
    assert (found[0][0], found[-1][1], len(found)) == (0, len(costs), stages)
    assert all(one[1] == other[0] for one, other in pairwise(found))
    inner = [ends for ends in product(range(1, len(costs)), repeat=stages - 1) if list(ends) == sorted(set(ends))]
    assert dearest(costs, found) == min(dearest(costs, pairwise((0, *ends, len(costs)))) for ends in inner)
    with pytest.raises(ValueError, match="not into"):
        pipeline.cut(costs, len(costs) + 1)
