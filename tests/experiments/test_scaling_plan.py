"""The planner keeps to the time, leaves no cheap cell for a dear one, and spreads samples over the launches."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import UsageFault
from experiments.grid import Case
from experiments.scaling.cells import MORE_RANKS, RANKS, SIZES, Cell, cells, labels
from experiments.scaling.plan import Planner, Visit, visit_seconds


def cell(number: int, nbytes: int = 8) -> Cell:
    return Cell(2, Case(f"cell{number}", nbytes, "float32", "sum", in_place=False))


COSTS = st.lists(st.floats(1e-6, 100.0), min_size=1, max_size=12).map(
    lambda found: {cell(number): seconds for number, seconds in enumerate(found)}
)


def played(costs: dict[Cell, float], budget: float, launches: int, most: int) -> list[list[Visit]]:
    """All launches, where each cell takes what was expected."""
    planner, taken, plans = Planner(dict(costs), launches, most), Counter[Cell](), []
    for launch in range(launches):
        visits = planner.next(launch, budget)
        plans.append(visits)
        budget -= sum(visit.total for visit in visits)
        taken.update({visit.cell: visit.samples for visit in visits})
        planner.learn({}, taken)
    return plans


@given(COSTS, st.floats(0.0, 300.0), st.integers(1, 4), st.integers(1, 20))
def test_the_plan_keeps_to_the_time(costs: dict[Cell, float], budget: float, launches: int, most: int) -> None:
    plans = played(costs, budget, launches, most)
    # Samples are whole, so each visit may round one up.
    rounding = sum(max((visit.seconds for visit in visits), default=0.0) + 1e-3 * len(visits) for visits in plans)
    rounding += sum(min(visit.seconds, 0.1) * 4 for visits in plans for visit in visits)
    assert sum(visit.total for visits in plans for visit in visits) <= budget + rounding
    assert all(1 <= visit.samples <= most for visits in plans for visit in visits)
    assert all(len({visit.cell for visit in visits}) == len(visits) for visits in plans)


@given(COSTS, st.floats(0.0, 300.0), st.integers(1, 4))
def test_no_cell_is_left_out_for_a_dearer_one(costs: dict[Cell, float], budget: float, launches: int) -> None:
    measured = {visit.cell for visits in played(costs, budget, launches, 15) for visit in visits}
    dearest = max((costs[one] for one in measured), default=0.0)
    # A call that is slow needs no calls before its samples, so just below that bound a cell costs more.
    assert all(one in measured or seconds >= dearest or 0.05 < seconds < 0.5 for one, seconds in costs.items())


@given(COSTS, st.integers(1, 4), st.integers(1, 20))
def test_with_all_the_time_every_cell_has_all_samples_in_every_launch(
    costs: dict[Cell, float], launches: int, most: int
) -> None:
    for visits in played(costs, 1e9, launches, most):
        assert {visit.cell: visit.samples for visit in visits} == dict.fromkeys(costs, most)


def test_a_cell_for_which_one_sample_a_launch_does_not_fit_is_taken_in_fewer() -> None:
    costs = {cell(0): 1e-3, cell(1): 10.0, cell(2): 10.0}
    plans = played(costs, 24.0, 3, 15)
    times = Counter(visit.cell for visits in plans for visit in visits)
    assert times == {cell(0): 3, cell(1): 1, cell(2): 1}
    assert max(sum(visit.seconds > 1 for visit in visits) for visits in plans) == 1


def test_what_was_measured_replaces_what_was_expected() -> None:
    planner = Planner({cell(0): 1e-3, cell(1): 1e-3}, 2, 15)
    first = planner.next(0, 1.0)
    planner.learn({cell(1): 5.0}, {visit.cell: visit.samples for visit in first})
    assert {visit.cell for visit in planner.next(1, 1.0)} == {cell(0)}


def test_a_slow_visit_has_no_calls_beside_its_samples() -> None:
    assert visit_seconds(cell(0), 1, 10.0) == pytest.approx(10.0, rel=1e-3)
    assert Visit(cell(0), 1, 10.0).slow
    assert not Visit(cell(0), 1, 1e-3).slow
    assert visit_seconds(cell(0), 1, 1e-2) > 2e-2


# --- the cells --------------------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted({*RANKS, *MORE_RANKS})))
def test_every_schedule_stands_once(ranks: int) -> None:
    found = labels(["ring", "parameter_server", *(f"parameter_server:servers={k}" for k in ("1", "2", "p/2"))], ranks)
    servers = [int(label.partition("=")[2] or ranks) for label in found if label.startswith("parameter_server")]
    assert sorted(servers) == sorted({1, 2, ranks // 2, ranks} & set(range(1, ranks + 1)))
    assert found.count("ring") == 1


@pytest.mark.parametrize(("ranks", "there"), [(2, False), (5, False), (6, True), (8, True)])
def test_hierarchical_stands_where_there_is_a_hierarchy(ranks: int, there: bool) -> None:
    assert bool(labels(["hierarchical"], ranks)) is there


def test_an_algorithm_is_left_out_where_it_does_not_fit_and_refused_where_it_never_does() -> None:
    found = cells(["hierarchical:local=3"], [4, 6], [8])
    assert [(one.ranks, one.case.algorithm) for one in found] == [
        (4, "native"), (6, "native"), (6, "hierarchical:local=3")
    ]  # fmt: skip
    with pytest.raises(UsageFault, match="hierarchical:local=3 does not work for 4, 8 ranks"):
        cells(["hierarchical:local=3"], [4, 8], [8])
    with pytest.raises(UsageFault, match="allgather_ring carries out allgather"):
        cells(["allgather_ring"], [4], [8])


def test_all_of_the_catalogue_is_measured_by_default() -> None:
    names = {one.case.algorithm.partition(":")[0] for one in cells([], RANKS, SIZES)}
    assert {"native", "ring", "linear", "hierarchical", "chain", "double_tree", "parameter_server"} <= names
