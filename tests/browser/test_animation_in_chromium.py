"""The animated page as a reader sees it, in a real browser without a network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collectives import catalogue
from experiments.draw import animation
from simulator import networks, simulate

HOSTILE = "</script><script>document.title='broken'</script>"
CASES = (("ring", 4), ("ring", 8), ("halving_doubling", 16), ("broadcast_binomial", 5), ("barrier_dissemination", 3))

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("animation")
    written: dict[str, Path] = {}
    for name, size in CASES:
        run = simulate(catalogue.get(name), size, 1 << 20, networks.star(size, 5e-6, 1.25e9))
        for language in ("en", "pt"):
            place = folder / f"{name}-{size}-{language}.html"
            place.write_text(animation.html(run, language), encoding="utf-8")
            written[f"{name} {size} {language}"] = place
    nasty = replace(catalogue.get("ring"), name=HOSTILE)
    written["hostile"] = folder / "hostile.html"
    run = simulate(nasty, 3, 64, networks.star(3, 5e-6, 1.25e9))
    written["hostile"].write_text(animation.html(run, "en"), encoding="utf-8")
    return written


def opened(browser: Any, place: Path, *, width: int = 1280, dark: bool = False, still: bool = False) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = [
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
        {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
    ]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": wanted})
    browser.get(place.as_uri())
    assert asked(browser, "document.documentElement.dataset.ready") == "1"


def asked(browser: Any, question: str, *arguments: Any) -> Any:
    return browser.execute_script(f"return {question}", *arguments)


def shown_round(browser: Any) -> int:
    return int(asked(browser, "document.documentElement.dataset.round"))


def waited(browser: Any, condition: str) -> None:
    """Until ``condition`` holds on the page, for at most ten seconds."""
    browser.set_script_timeout(10)
    browser.execute_async_script(
        f"""const done = arguments[0];
        const look = () => ({condition}) ? done() : setTimeout(look, 20);
        look();"""
    )


def counts(browser: Any) -> list[list[str]]:
    return asked(
        browser,
        """[...document.querySelectorAll('#table tbody tr')].map((row) =>
            [...row.querySelectorAll('td')].map((cell) => cell.firstChild.textContent))""",
    )


@pytest.mark.parametrize("case", [f"{name} {size} {language}" for name, size in CASES for language in ("en", "pt")])
def test_it_opens_without_complaint_or_network(browser: Any, pages: Any, case: str) -> None:
    browser.get_log("browser"), browser.get_log("performance")
    opened(browser, pages[case])
    assert asked(browser, "document.documentElement.lang") == ("en" if case.endswith("en") else "pt-BR")
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert requests == {pages[case].as_uri()}
    empty = (
        "[...document.querySelectorAll('button, h1, h2, #said, #facts')].filter((e) => !e.textContent.trim()).length"
    )
    assert asked(browser, empty) == 0


@pytest.mark.parametrize("width", [320, 375, 1280])
@pytest.mark.parametrize("case", ["ring 8 pt", "halving_doubling 16 en"])
def test_nothing_is_wider_than_the_screen(browser: Any, pages: Any, case: str, width: int) -> None:
    opened(browser, pages[case], width=width)
    assert asked(browser, "document.documentElement.scrollWidth") <= width
    outside = """[...document.querySelectorAll('body *')].filter((e) => !e.closest('.scroll table'))
        .filter((e) => { const b = e.getBoundingClientRect(); return b.right > arguments[0] + 1 || b.left < -1; })
        .map((e) => e.tagName + e.id)"""
    assert asked(browser, outside, width) == []


@pytest.mark.parametrize("case", ["ring 4 en", "ring 8 en", "halving_doubling 16 en"])
def test_no_rank_lies_outside_the_stage_or_on_another(browser: Any, pages: Any, case: str) -> None:
    opened(browser, pages[case])
    boxes = asked(
        browser,
        """[...document.querySelectorAll('#stage .cell')].map((e) => [e.x.baseVal.value, e.y.baseVal.value,
            e.width.baseVal.value])""",
    )
    for left, top, side in boxes:
        assert 0 <= left <= 400 - side
        assert 0 <= top <= 400 - side
    for number, (left, top, side) in enumerate(boxes):
        for other_left, other_top, _ in boxes[number + 1 :]:
            assert abs(left - other_left) >= side or abs(top - other_top) >= side


def test_steps_show_how_many_contributions_every_chunk_has(browser: Any, pages: Any) -> None:
    opened(browser, pages["ring 4 en"])
    assert counts(browser) == [["1/4"] * 4] * 4
    asked(browser, "document.getElementById('step').click()")
    assert shown_round(browser) == 1
    assert counts(browser)[1] == ["1/4", "1/4", "1/4", "2/4"]
    assert (
        asked(browser, "document.querySelector('#table tbody tr:nth-child(2) td.changed small').textContent") == "{0 1}"
    )
    assert "rank 0 → rank 1: chunk 2, combined" in asked(browser, "document.getElementById('said').textContent")
    for _ in range(5):
        asked(browser, "document.getElementById('step').click()")
    assert counts(browser) == [["4/4"] * 4] * 4
    assert asked(browser, "document.getElementById('step').disabled")
    asked(browser, "document.getElementById('back').click()")
    assert shown_round(browser) == 5


def test_chunks_move_while_it_plays_and_it_pauses(browser: Any, pages: Any) -> None:
    opened(browser, pages["ring 4 en"])
    asked(browser, "document.getElementById('speed').value = '4'")
    asked(browser, "document.getElementById('play').click()")
    where = "document.querySelector('#stage g[transform]').getAttribute('transform')"
    before = asked(browser, where)
    waited(browser, f"{where} !== {json.dumps(before)}")
    waited(browser, "Number(document.documentElement.dataset.round) >= 2")
    assert asked(browser, "document.getElementById('play').textContent") == "Pause"
    asked(browser, "document.getElementById('play').click()")
    stopped = shown_round(browser)
    browser.execute_async_script("setTimeout(arguments[0], 500)")
    assert shown_round(browser) == stopped
    asked(browser, "document.getElementById('play').click()")
    waited(browser, "document.documentElement.dataset.round === '6'")
    waited(browser, "document.documentElement.dataset.playing === 'false'")


def test_who_wants_no_motion_gets_none(browser: Any, pages: Any) -> None:
    opened(browser, pages["ring 4 en"], still=True)
    asked(browser, "document.getElementById('play').click()")
    seen = set()
    for _ in range(6):
        browser.execute_async_script("setTimeout(arguments[0], 60)")
        seen.add(asked(browser, "document.querySelector('#stage g[transform]').getAttribute('transform')"))
    assert len(seen) <= 2  # halfway of one round, and at most of the next
    asked(browser, "document.getElementById('play').click()")


def test_the_keyboard_does_it_all(browser: Any, pages: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages["ring 4 en"])
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert shown_round(browser) == 2
    body.send_keys(Keys.ARROW_LEFT)
    assert shown_round(browser) == 1
    body.send_keys(Keys.END)
    assert shown_round(browser) == 6
    body.send_keys(Keys.HOME)
    assert shown_round(browser) == 0
    body.send_keys(Keys.SPACE)
    assert asked(browser, "document.documentElement.dataset.playing") == "true"
    body.send_keys(Keys.SPACE)
    assert asked(browser, "document.documentElement.dataset.playing") == "false"
    browser.find_element(By.ID, "slider").send_keys(Keys.ARROW_RIGHT)
    assert shown_round(browser) == 1
    browser.find_element(By.ID, "play").send_keys(Keys.SPACE)
    assert asked(browser, "document.documentElement.dataset.playing") == "true"


def test_the_reader_changes_the_language(browser: Any, pages: Any) -> None:
    opened(browser, pages["ring 4 en"])
    asked(browser, "document.getElementById('step').click()")
    asked(browser, "document.getElementById('language').click()")
    assert asked(browser, "document.documentElement.lang") == "pt-BR"
    assert asked(browser, "document.getElementById('play').textContent") == "Reproduzir"
    assert asked(browser, "document.getElementById('where').textContent") == "rodada 1 de 6"
    assert "214,7" in asked(browser, "document.getElementById('stage').textContent")


def test_a_hostile_name_stays_text(browser: Any, pages: Any) -> None:
    opened(browser, pages["hostile"])
    assert browser.title == f"{HOSTILE}, allreduce"
    assert asked(browser, "document.getElementById('algorithm').textContent") == HOSTILE


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_the_paper(browser: Any, pages: Any, dark: bool) -> None:
    opened(browser, pages["ring 4 en"], dark=dark)
    ratio = """((ink, paper) => {
        const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        const light = (colour) => {
            c.fillStyle = colour; c.fillRect(0, 0, 1, 1);
            const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
            const [r, g, b] = [...c.getImageData(0, 0, 1, 1).data].map(part);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const [a, b] = [light(ink), light(paper)];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    })(getComputedStyle(document.querySelector(arguments[0]))[arguments[1]],
       getComputedStyle(document.querySelector(arguments[2])).backgroundColor)"""
    for element, what, paper in (
        ("#said", "color", "body"), ("#facts", "color", "body"), ("button", "color", "button"),
        ("#stage .count", "fill", "#stage"), ("#stage .centre.small", "fill", "#stage"),
    ):  # fmt: skip
        assert asked(browser, ratio, element, what, paper) >= 4.5, element
