"""Learning rates: the rules of Goyal et al., and what no schedule may do."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.training import learning_rates
from experiments.training.learning_rates import DECAYS, Schedule


def test_the_rate_is_multiplied_by_what_the_batch_is_multiplied_by() -> None:
    schedule = Schedule(reference=256)
    peaks = [schedule.over(0.1, batch=batch, an_epoch=10, steps=100).at(50) for batch in (128, 256, 8192)]
    assert peaks == pytest.approx([0.05, 0.1, 3.2])


def test_warm_up_rises_from_the_given_rate_to_the_scaled_one_by_equal_amounts() -> None:
    rates = Schedule(reference=64, warm_up=5).over(0.1, batch=640, an_epoch=4, steps=400)
    rising = [rates.at(step) for step in range(1, 22)]
    assert rising[19] == rising[20] == pytest.approx(1.0)
    assert [after - before for before, after in zip([0.1, *rising[:19]], rising[:20], strict=True)] == pytest.approx(
        [0.9 / 20] * 20
    )


def test_warm_up_without_a_reference_begins_at_nothing() -> None:
    assert [Schedule(warm_up=1).over(0.4, batch=9, an_epoch=4, steps=9).at(step) for step in (1, 2, 4, 5)] == (
        pytest.approx([0.1, 0.2, 0.4, 0.4])
    )


def test_steps_down_come_where_goyal_et_al_have_them() -> None:
    rates = Schedule("step").over(1.0, batch=1, an_epoch=10, steps=900)
    assert [rates.at(step) for step in (1, 300, 301, 600, 601, 800, 801, 900)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )


def test_the_cosine_is_half_way_down_in_the_middle_and_nearly_down_at_the_end() -> None:
    rates = Schedule("cosine").over(2.0, batch=1, an_epoch=1, steps=1000)
    assert (rates.at(1), rates.at(501), rates.at(1000)) == pytest.approx((2.0, 1.0, 0.0), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(DECAYS)), st.floats(0, 8), st.integers(0, 512), st.integers(1, 1024), st.integers(1, 300))
def test_rates_are_never_negative_nor_above_the_peak_and_only_fall_after_warm_up(
    decay: str, warm_up: float, reference: int, batch: int, steps: int
) -> None:
    rates = Schedule(decay, warm_up, reference).over(0.3, batch=batch, an_epoch=7, steps=steps)
    found = [rates.at(step) for step in range(1, steps + 3)]
    assert all(0 <= rate <= max(rates.first, rates.peak) * (1 + 1e-12) for rate in found)
    falling = found[rates.rising :]
    assert falling == sorted(falling, reverse=True)
    assert all(math.isfinite(rate) for rate in found)


def test_a_schedule_is_read_from_text() -> None:
    assert learning_rates.get("cosine:warm_up=2.5,reference=64") == Schedule("cosine", 2.5, 64)
    assert learning_rates.get("constant") == Schedule()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("linear", "known: constant, step, cosine"),
        ("step:warmup=3", "known: warm_up, reference, factor"),
        ("step:factor=many", "factor must be a number"),
        ("step:factor=0", "above 0"),
        ("cosine:warm_up=-1", "at least 0"),
        ("cosine:reference=1.5", "must be a number"),
    ],
)
def test_what_cannot_be_a_schedule_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        learning_rates.get(text)
