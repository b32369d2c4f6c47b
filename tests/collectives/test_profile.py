"""Profiles: they survive the file, are found where promised, and refuse what cannot be believed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives.measured import blended, interpolated
from collectives.profile import Crowd, Fitted, Pair, PairClass, Profile, ProfileError, default_path

COST = st.floats(min_value=0, max_value=1e3)
KNOTS = st.dictionaries(st.integers(0, 1 << 30), COST, max_size=4).map(lambda found: tuple(sorted(found.items())))
FITTED = st.builds(
    Fitted, st.sampled_from(["pingpong", "exchange"]), st.integers(0, 1 << 30), COST, st.none() | COST,
    st.none() | COST, st.integers(1, 1000), COST, st.none() | COST,
)  # fmt: skip
INTERVALS = st.dictionaries(st.sampled_from(["alpha", "beta"]), st.tuples(COST, COST))
MESSAGES = {"alpha": COST, "beta": COST, "overhead": COST, "overhead_per_byte": COST,
            "curve": KNOTS, "duplex": KNOTS, "streams": KNOTS}  # fmt: skip
CROWDS = st.lists(st.builds(Crowd, ranks=st.integers(1, 64), **MESSAGES), max_size=3, unique_by=lambda part: part.ranks)
PROFILES = st.builds(
    Profile,
    gamma=COST, **MESSAGES,
    ranks=st.integers(1, 1024),
    measured=st.booleans(), oversubscribed=st.booleans(),
    library=st.text(), calls=st.text(), created=st.text(),
    intervals=INTERVALS,
    points=st.lists(FITTED, max_size=3).map(tuple),
    environment=st.dictionaries(st.text(), st.integers() | st.text()),
    changes=st.lists(st.integers(0, 1 << 30), max_size=3).map(tuple),
    eager=st.integers(-1, 1 << 30),
    crowd=CROWDS.map(tuple),
    reductions=st.dictionaries(st.sampled_from(["float32", "int32"]), KNOTS),
    cores=st.integers(0, 64), waiting=st.sampled_from(["yields", "spins"]),
    pairs=st.lists(st.builds(Pair, st.integers(0, 64), st.integers(0, 64), COST, COST), max_size=3).map(tuple),
    classes=st.lists(st.builds(PairClass, st.sampled_from(["near", "far"]), st.integers(1, 9), COST, COST, INTERVALS),
                     max_size=2).map(tuple),
    trunk=COST, declared=st.text(), agrees=st.none() | st.booleans(),
)  # fmt: skip


@given(PROFILES)
def test_a_profile_survives_json(profile: Profile) -> None:
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_a_file_of_the_first_version_is_read() -> None:
    content = {"schema": 1, "kind": "ciranda-profile", "alpha": 1e-6, "beta": 1e-10, "gamma": 0.0, "ranks": 4,
               "intervals": {"alpha": [1e-7, 1e-5]}, "duplex": [[8, 1.5]], "environment": {"host": "here"},
               "points": [{"pattern": "pingpong", "nbytes": 8, "seconds": 1e-6, "low": None, "high": None,
                           "samples": 3, "fitted": 1e-6}]}  # fmt: skip
    profile = Profile.from_json(content)
    assert profile.duplex == ((8, 1.5),)
    assert profile.points == (Fitted("pingpong", 8, 1e-6, None, None, 3, 1e-6),)
    assert (profile.curve, profile.eager, profile.crowd, profile.trunk) == ((), -1, (), 0.0)


@given(PROFILES, st.integers(1, 1024), st.integers(1, 1024))
def test_the_costs_of_fewer_ranks_depend_on_nothing_but_their_number(profile: Profile, first: int, then: int) -> None:
    assert profile.at(first).at(then) == profile.at(then)
    costs = [part.alpha for part in profile.crowd] or [profile.alpha]
    assert min(costs) * 0.999 <= profile.at(first).alpha <= max(costs) * 1.001
    assert profile.at(first).ranks == first
    assert profile.at(first).gamma == profile.gamma


@given(CROWDS.filter(bool), st.data())
def test_a_measured_number_of_ranks_costs_what_was_measured(crowd: list[Crowd], data: st.DataObject) -> None:
    profile = Profile(1, 1, 1, ranks=max(part.ranks for part in crowd), crowd=tuple(crowd))
    part = data.draw(st.sampled_from(crowd))
    found = profile.at(part.ranks)
    assert (found.alpha, found.overhead, found.curve, found.duplex) == (
        part.alpha, part.overhead, part.curve, part.duplex)  # fmt: skip
    assert profile.at(5000).alpha == max(crowd, key=lambda part: part.ranks).alpha


def test_between_two_numbers_of_ranks_costs_are_between() -> None:
    two = Crowd(2, 1.0, 3.0, curve=((0, 1.0), (10, 31.0)), duplex=((10, 1.0),))
    profile = Profile(
        3.0, 5.0, 0.0, ranks=6, crowd=(Crowd(6, 3.0, 5.0, curve=((0, 3.0), (20, 103.0)), duplex=((10, 2.0),)), two)
    )
    four = profile.at(4)
    assert (four.alpha, four.beta, four.duplex) == (2.0, 4.0, ((10, 1.5),))
    assert four.curve == ((0, 2.0), (10, 42.0), (20, 82.0))
    assert four.one_way(15) == 62.0
    assert Profile(1.0, 2.0, 0.0).one_way(4) == 9.0
    with pytest.raises(ValueError, match="at least one rank"):
        profile.at(0)


@given(KNOTS.filter(bool), st.integers(0, 1 << 31))
def test_interpolation_goes_through_its_knots_and_stays_between_them(knots: tuple[tuple[int, float], ...],
                                                                     nbytes: int) -> None:  # fmt: skip
    assert all(interpolated(knots, size) == pytest.approx(value, rel=1e-9, abs=1e-9) for size, value in knots)
    values = [value for _, value in knots]
    assert min(values) * 0.999 <= interpolated(knots, nbytes) <= max(values) * 1.001
    assert blended(knots, (), 0.3) == knots == blended((), knots, 0.3)


def test_times_go_on_beyond_the_last_knot_and_factors_do_not() -> None:
    assert interpolated(((0, 1.0), (10, 2.0)), 20, onward=True) == 3.0
    assert interpolated(((0, 1.0), (10, 2.0)), 20) == 2.0
    with pytest.raises(ValueError, match="no knots"):
        interpolated((), 1)


def test_a_profile_survives_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = Profile(1e-6, 1e-10, 0, ranks=4).save(tmp_path / "new" / "p.json")
    assert Profile.load(path) == Profile(1e-6, 1e-10, 0, ranks=4)
    assert list(path.parent.iterdir()) == [path]


def test_find_prefers_the_chosen_then_the_saved_then_the_guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("CIRANDA_PROFILE", raising=False)
    assert Profile.find(4) == Profile.default()
    assert not Profile.find(4).measured
    Profile(1, 1, 1, ranks=4).save("4")
    assert default_path(4) == tmp_path / "ciranda" / "profile-4.json"
    assert Profile.find(4).alpha == 1
    assert Profile.find(2) == Profile.default()
    monkeypatch.setenv("CIRANDA_PROFILE", str(Profile(7, 1, 1).save(tmp_path / "mine.json")))
    assert Profile.find(4).alpha == 7


def test_a_chosen_profile_that_is_missing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRANDA_PROFILE", str(tmp_path / "gone.json"))
    with pytest.raises(ProfileError, match=r"gone\.json.*ciranda calibrate"):
        Profile.find(2)


def test_a_name_that_is_not_there_is_told_with_those_that_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(ProfileError, match=r"profile-racks\.json; write one with: ciranda calibrate --name racks"):
        Profile.load("racks")
    Profile(1, 1, 1).save("cluster-8")
    Profile(1, 1, 1).save("4")
    with pytest.raises(ProfileError, match=r"saved are 4, cluster-8; write one with: .*--name racks"):
        Profile.load("racks")


def test_a_chosen_profile_is_taken_at_the_ranks_that_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = (Crowd(2, 1.0, 1.0), Crowd(8, 7.0, 1.0))
    monkeypatch.setenv("CIRANDA_PROFILE", str(Profile(7.0, 1.0, 1.0, ranks=8, crowd=crowd).save(tmp_path / "p.json")))
    assert Profile.find(5).alpha == 4.0
    assert Profile.find(8).alpha == 7.0


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma", "overhead"])
@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf"), "fast", None, True])
def test_numbers_that_cannot_be_costs_are_refused(name: str, value: object) -> None:
    costs = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0, "overhead": 1.0, name: value}
    with pytest.raises(ProfileError, match=name):
        Profile(**costs)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 3}, "schema 3 is not known.*upgrade"),
        ({"schema": None}, "schema None"),
        ({"kind": "shopping"}, "no Ciranda profile"),
        ({"delta": 1}, "delta is not known"),
        ({"points": [{"colour": "red"}]}, "colour"),
        ({"duplex": [1]}, "schema 2: duplex"),
        ({"intervals": []}, "schema 2: intervals"),
        ({"ranks": 0}, "ranks"),
        ({"ranks": 2.5}, "ranks"),
        ({"eager": -2}, "eager"),
        ({"cores": "two"}, "cores"),
        ({"waiting": "sleeps"}, "waiting.*yields"),
        ({"groups": [0]}, "groups must name one for each of 2 ranks"),
        ({"curve": [[8, 1.0], [8, 2.0]]}, "curve.*ascending"),
        ({"streams": [[-1, 1.0]]}, "streams.*at least 0"),
        ({"duplex": [[8, -1.0]]}, "duplex must be finite and not negative"),
        ({"crowd": [{"ranks": 2, "alpha": -1, "beta": 0}]}, "alpha"),
        ({"crowd": [{"alpha": 1}]}, "crowd"),
        ({"pairs": [{"source": 0}]}, "pairs"),
        ({"classes": [{"name": "near", "pairs": 1, "alpha": 1, "beta": 1, "intervals": {"alpha": [1]}}]}, "classes"),
        ({"reductions": {"float32": [[8, float("inf")]]}}, "reductions"),
        ({"trunk": -1}, "trunk"),
    ],
)
def test_a_file_that_is_not_understood_is_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**Profile.default().to_json(), **change}))
    with pytest.raises(ProfileError, match=said) as problem:
        Profile.load(path)
    assert str(path) in str(problem.value)


def test_a_missing_number_is_named(tmp_path: Path) -> None:
    content = Profile.default().to_json()
    del content["beta"]
    (tmp_path / "p.json").write_text(json.dumps(content))
    with pytest.raises(ProfileError, match="beta is missing"):
        Profile.load(tmp_path / "p.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_what_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(ProfileError, match=r"not JSON|no Ciranda profile"):
        Profile.load(tmp_path / "p.json")
