"""Algorithms with an encoding on the wire, as the benchmark spells, checks and predicts them."""

from __future__ import annotations

import numpy as np
import pytest

from collectives import catalogue
from collectives.compression import virtual
from collectives.compression.memory import Compression
from collectives.profile import Profile
from experiments import contestants, payload
from experiments.errors import UsageFault
from experiments.grid import Grid
from experiments.predict import predicted
from experiments.records import Record


@pytest.mark.parametrize(
    ("text", "label", "encoding"),
    [
        ("ring", "ring", None),
        ("chain:segments=16@int8", "chain:segments=16@int8", "int8"),
        ("ring@int8:block=256,rounding=nearest", "ring@int8:rounding=nearest", "int8:rounding=nearest"),
    ],
)
def test_a_contestant_is_read_as_it_is_spelled(text: str, label: str, encoding: str | None) -> None:
    found = contestants.parse(text)
    assert (found.label, found.encoding) == (label, encoding)
    assert contestants.parse(found.label) == found


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ring@int7", "no encoding is called 'int7'; known: int8"),
        ("rink@int8", "no algorithm is called 'rink'; known: ring"),
        ("ring@int8:blok=2", "int8 has no parameter 'blok'"),
        ("ring@powersgd", "powersgd leaves elements out, so a result could not be checked"),
    ],
)
def test_what_cannot_compete_is_named(text: str, complaint: str) -> None:
    with pytest.raises(UsageFault, match=complaint):
        contestants.parse(text)


def test_only_float32_sums_travel_encoded() -> None:
    assert Grid.choose(["ring", "ring@int8"], [64], ["float32"], ["sum"]).algorithms == ("ring", "ring@int8", "native")
    for dtype, op in (("float32", "max"), ("int32", "sum")):
        with pytest.raises(UsageFault, match=f"ring@int8 measures sums of float32, not {op} of {dtype}"):
            Grid.choose(["ring@int8"], [64], [dtype], [op])


def test_predictions_price_the_bytes_that_travel() -> None:
    costs = {"alpha": 1e-5, "beta": 1e-8}
    profile = Profile(alpha=costs["alpha"], beta=costs["beta"], gamma=0.0, measured=True)

    def seconds(label: str) -> tuple[float | None, float | None, float | None]:
        found = predicted(
            Record(
                algorithm=label, collective="allreduce", executor="interpreted", library="", ranks=4,
                nbytes=1 << 20, dtype="float32", op="sum", in_place=False,
            ),
            profile,
        )  # fmt: skip
        return found.theory_seconds, found.simulated_seconds, found.bound_seconds

    plain, encoded = seconds("ring"), seconds("ring@int8")
    wire = (1 << 18) + 4 * (1 << 10)
    assert encoded[0] == pytest.approx(6 * 1e-5 + 6 / 4 * wire * 1e-8)
    assert plain[0] == pytest.approx(6 * 1e-5 + 6 / 4 * (1 << 20) * 1e-8)
    assert encoded[1] == pytest.approx(encoded[0], rel=0.01)
    assert plain[2] is not None
    assert encoded[2] is None


def test_a_result_is_right_up_to_the_bound_and_wrong_beyond() -> None:
    one, ranks = contestants.parse("ring@int8"), 4
    off = one.off(ranks)
    assert contestants.parse("ring").off(ranks) == 0
    inputs = [payload.contribution(rank, ranks, 600, "float32", "sum") for rank in range(ranks)]
    wanted = payload.expected(ranks, 600, "float32", "sum")
    result = virtual.run(catalogue.get("ring"), inputs, [Compression("int8") for _ in range(ranks)])[0]
    assert payload.mistake(result, wanted) is not None
    assert payload.mistake(result, wanted, off) is None
    for wrong in (wanted[7] + np.float32(1.01 * off), np.float32(np.nan)):
        result[7] = wrong
        mistake = payload.mistake(result, wanted, off)
        assert mistake is not None
        assert (mistake.wrong, mistake.index) == (1, 7)
