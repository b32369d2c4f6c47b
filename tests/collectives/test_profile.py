"""Profiles: they survive the file, are found where promised, and refuse what cannot be believed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives.profile import Fitted, Profile, ProfileError, default_path

COST = st.floats(min_value=0, max_value=1e3)
FITTED = st.builds(
    Fitted, st.sampled_from(["pingpong", "exchange"]), st.integers(0, 1 << 30), COST, st.none() | COST,
    st.none() | COST, st.integers(1, 1000), COST,
)  # fmt: skip
PROFILES = st.builds(
    Profile,
    alpha=COST, beta=COST, gamma=COST, overhead=COST,
    ranks=st.integers(1, 1024),
    measured=st.booleans(), oversubscribed=st.booleans(),
    library=st.text(), calls=st.text(), created=st.text(),
    intervals=st.dictionaries(st.sampled_from(["alpha", "beta"]), st.tuples(COST, COST)),
    duplex=st.lists(st.tuples(st.integers(0, 1 << 30), COST)).map(tuple),
    points=st.lists(FITTED, max_size=3).map(tuple),
    environment=st.dictionaries(st.text(), st.integers() | st.text()),
)  # fmt: skip


@given(PROFILES)
def test_a_profile_survives_json(profile: Profile) -> None:
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


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


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma", "overhead"])
@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf"), "fast", None, True])
def test_numbers_that_cannot_be_costs_are_refused(name: str, value: object) -> None:
    costs = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0, "overhead": 1.0, name: value}
    with pytest.raises(ProfileError, match=name):
        Profile(**costs)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema 2 is not known.*upgrade"),
        ({"schema": None}, "schema None"),
        ({"kind": "shopping"}, "no Ciranda profile"),
        ({"delta": 1}, "delta is not known"),
        ({"points": [{"colour": "red"}]}, "colour"),
        ({"duplex": [1]}, "schema 1"),
        ({"intervals": []}, "schema 1"),
        ({"ranks": 0}, "ranks"),
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
