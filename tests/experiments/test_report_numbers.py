import math
import re
import string

from hypothesis import given
from hypothesis import strategies as st

from collectives import catalogue
from experiments.differences import WORDS
from experiments.report.numbers import Numbers
from experiments.report.palette import palette
from experiments.report.texts import Texts, languages

ENGLISH, PORTUGUESE = Texts("en").numbers, Texts("pt").numbers
A_TIME = re.compile(r"\d{1,3}(\.\d{1,2})?\u202f(ns|µs|ms|s)")


@given(st.floats(1e-10, 900.0))
def test_a_time_has_at_most_three_digits_and_a_unit(seconds: float) -> None:
    assert A_TIME.fullmatch(ENGLISH.seconds(seconds))


@given(st.floats(1e-10, 900.0), st.floats(0.0, 1e4), st.floats(1.0, 1e13))
def test_portuguese_differs_by_the_decimal_comma_alone(seconds: float, factor: float, rate: float) -> None:
    for method, value in (("seconds", seconds), ("factor", factor), ("percent", factor), ("rate", rate)):
        english, portuguese = getattr(ENGLISH, method)(value), getattr(PORTUGUESE, method)(value)
        assert "." not in portuguese
        assert portuguese.replace(",", ".") == english


@given(st.sampled_from(["seconds", "rate", "factor", "percent", "plain"]), st.sampled_from([None, math.nan, math.inf]))
def test_what_is_not_known_is_a_dash(method: str, value: float | None) -> None:
    assert getattr(Numbers(), method)(value) == "–"


@given(st.floats(0, 1))
def test_a_probability_is_never_printed_as_nothing(value: float) -> None:
    shown = ENGLISH.probability(value)
    assert shown == "<0.001" if value < 0.001 else float(shown) == float(f"{value:.2g}")
    assert PORTUGUESE.probability(value).replace(",", ".") == shown


@given(st.floats(1, 2**50))
def test_a_size_that_was_computed_has_a_unit_that_fits(value: float) -> None:
    number, unit = ENGLISH.about_bytes(value).split("\u202f")
    power = ("B", "KiB", "MiB", "GiB", "TiB").index(unit)
    assert 1 <= float(number) <= 1024
    assert float(number) * 1024**power == float(f"{value / 1024**power:.3g}") * 1024**power


def test_small_shares_are_not_rounded_to_nothing() -> None:
    assert (ENGLISH.percent(0.0), ENGLISH.percent(1e-5), ENGLISH.percent(0.0512)) == (
        "0.0\u202f%",
        "<0.1\u202f%",
        "5.1\u202f%",
    )


def test_every_language_has_the_same_texts_with_the_same_placeholders_and_markup() -> None:
    reference = Texts("en").entries
    assert languages() == ["en", "pt"]
    for language in languages():
        entries = Texts(language).entries
        assert entries.keys() == reference.keys()
        for key, text in entries.items():
            assert text.strip(), key
            assert _placeholders(text) == _placeholders(reference[key]), key
            assert sorted(_tags(text)) == sorted(_tags(reference[key])), key


def test_every_term_of_a_difference_has_its_words() -> None:
    for language in languages():
        entries = Texts(language).entries
        for term in WORDS:
            assert entries[f"terms.{term}"], term
            assert language != "en" or entries[f"meaning.{term}"] == WORDS[term]


def test_portuguese_is_not_english() -> None:
    same = {key for key, text in Texts("pt").entries.items() if text == Texts("en").entries[key]}
    assert same <= {
        "page.kicker", "environment.python", "environment.ciranda", "axis.ranks", "controls.ranks", "hover.ranks",
        "summary.ranks", "winners.ranks", "winners.tied", "why.ranks", "calibration.ranks", "against.ranks",
        "against.what_python", "against.what_mpi", "against.what_numpy", "against.what_mpi4py",
        "scaling.cell", "scaling.rival_first", "training.own", "training.ranks",
    }  # fmt: skip


def test_placeholders_are_escaped() -> None:
    assert str(Texts("en")("notice.wrong", names="<b>&")).endswith("&lt;b&gt;&amp;.")


@given(st.sets(st.text(alphabet=string.printable, min_size=1), max_size=12))
def test_no_two_algorithms_look_alike(names: set[str]) -> None:
    known = catalogue.names("allreduce")
    looks = palette({*known, *names, "native"})
    assert len({look.code for look in looks.values()}) == len(looks)
    assert len({(look.colour, look.symbol) for look in looks.values()}) == len(looks)


@given(st.sets(st.sampled_from(catalogue.names("allreduce")), min_size=1))
def test_an_algorithm_keeps_its_look_whatever_is_shown_beside_it(names: set[str]) -> None:
    everyone = palette(catalogue.names("allreduce"))
    assert palette(names) == {name: look for name, look in everyone.items() if name in names}


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def _tags(text: str) -> list[str]:
    return re.findall(r"</?\w+>", text)
