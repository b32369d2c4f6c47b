"""The report as a reader sees it, in a real browser without a network."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from collectives import catalogue
from experiments.report import page
from experiments.report.comparison import compare, side
from experiments.report.drawings import drawings
from experiments.report.results import load
from experiments.report.texts import Texts
from experiments.report.what_if import Forecast, Outlook
from tests import measurements

ALGORITHMS = catalogue.names("allreduce")
HOSTILE = "</script><script>document.title='broken'</script>"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("report")
    plain = measurements.records(ALGORITHMS, (2, 4, 8), measurements.SIZES)
    content = [measurements.explained(item, curve=0.1, duplex=0.7, processor=0.1) for item in plain]
    content.append(measurements.record(HOSTILE, 2, 8, 1e-5, None))
    known = {
        **measurements.ENVIRONMENT,
        "cpu": HOSTILE,
        "place": "cluster",
        "place_facts": {"hosts": 8, "rate": 12.5e6},
    }
    data = measurements.write(folder / "data", content, environment=known)
    measurements.with_samples(data, content)
    measurements.rich_profile(8).save(data / "profile-8.json")
    results = load(data)
    older = measurements.write(folder / "older", plain, environment=measurements.ENVIRONMENT)
    slower = [replace(item, measured_seconds=2 * (item.measured_seconds or 1.0)) for item in plain if item.ranks == 4]
    measurements.with_samples(older, slower, seed=2)
    forecast = Forecast(8, 10, [
        Outlook(name, hosts, size, None if hosts > 64 and name == "chain" else hosts * 1e-5, 1e-3)
        for name in ALGORITHMS for hosts in (64, 1024, 16384) for size in (8, 65536)
    ])  # fmt: skip
    extras = page.Extras(compare(side(older), side(data)), forecast, results)
    written: dict[str, Path] = {}
    for language in ("en", "pt"):
        written[language] = folder / f"{language}.html"
        html = page.render(results, Texts(language), drawings(results, language), ("again", "again"), extras)
        written[language].write_text(html, encoding="utf-8")
    return written


def opened(browser: Any, place: Path, *, width: int = 1280, dark: bool = False) -> None:
    """Load the page at a width in CSS pixels and wait until all plots are drawn."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": wanted})
    browser.get(place.as_uri())
    ready(browser)


def ready(browser: Any) -> None:
    browser.execute_async_script("""const done = arguments[0];
        const drawn = () => document.documentElement.dataset.ready;
        const look = () => drawn() ? requestAnimationFrame(() => done()) : setTimeout(look, 20);
        look();""")


def asked(browser: Any, question: str, *arguments: Any) -> Any:
    return browser.execute_script(f"return {question}", *arguments)


def brightness(browser: Any, element: str, of: str) -> float:
    """0 (black) to 255 (white) of a computed colour."""
    colour = asked(browser, f"getComputedStyle(document.querySelector({element!r})).{of}")
    canvas = """(() => { const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        c.fillStyle = arguments[0]; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; })"""
    red, green, blue, _ = asked(browser, f"{canvas}(arguments[0])", colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("language", ["en", "pt"])
def test_it_draws_every_plot_without_complaint_or_network(browser: Any, pages: Any, language: str) -> None:
    browser.get_log("browser"), browser.get_log("performance")
    opened(browser, pages[language])
    for name in ("latency", "bandwidth", "scaling", "accuracy", "what_if", "local"):
        lines = asked(browser, f"document.querySelectorAll('[data-figure={name}] .scatterlayer .trace').length")
        assert lines >= len(ALGORITHMS), name
    for name in ("errors", "messages", "residuals", "factors", "efficiency", "example"):
        assert asked(browser, f"document.querySelectorAll('[data-figure={name}] .scatterlayer .trace').length"), name
    assert asked(browser, "document.querySelectorAll('[data-figure=terms] .barlayer .bars').length") == 5
    assert asked(browser, "document.querySelectorAll('.drawing svg').length") == len(ALGORITHMS)
    assert asked(browser, "document.documentElement.lang") == {"en": "en", "pt": "pt-BR"}[language]
    assert browser.title != "broken"
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert pages[language].as_uri() in requests
    assert {url for url in requests if not url.startswith("data:")} == {pages[language].as_uri()}


@pytest.mark.parametrize(("language", "width"), [("en", 320), ("en", 375), ("pt", 375), ("pt", 768), ("en", 1280)])
def test_nothing_is_wider_than_the_screen(browser: Any, pages: Any, language: str, width: int) -> None:
    opened(browser, pages[language], width=width)
    asked(browser, "document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    # What is too wide scrolls inside a box of its own, and plots clip their shapes.
    outside = """[...document.querySelectorAll('body *')]
        .filter((e) => !e.closest('.scroll table, .drawing svg, pre code'))
        .filter((e) => !e.closest('.plot') || e.matches('text'))
        .filter((e) => e.getBoundingClientRect().right > arguments[0] + 1)
        .map((e) => `${e.tagName}.${e.className.baseVal ?? e.className}: ${e.textContent.slice(0, 40)}`)"""
    assert asked(browser, outside, width) == []
    assert asked(browser, "document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [375, 1280])
def test_tick_labels_do_not_overlap(browser: Any, pages: Any, width: int) -> None:
    opened(browser, pages["en"], width=width)
    overlaps = """[...document.querySelectorAll('.plot')].flatMap((plot) => ['.xtick', '.ytick'].flatMap((kind) => {
        const boxes = [...plot.querySelectorAll(`${kind} text`)].map((label) => label.getBoundingClientRect());
        const meet = (a, b) => a.left < b.right + 3 && b.left < a.right + 3 && a.top < b.bottom && b.top < a.bottom;
        const pairs = boxes.flatMap((a, i) => boxes.slice(i + 1).map((b) => [a, b]));
        return pairs.filter(([a, b]) => meet(a, b)).map(() => plot.dataset.figure + kind);
    }))"""
    assert asked(browser, overlaps) == []
    labelled = "[...document.querySelectorAll('.plot')].every((plot) => plot.querySelectorAll('.xtick').length > 1)"
    assert asked(browser, labelled)


def test_the_reader_chooses_ranks_sizes_and_series(browser: Any, pages: Any) -> None:
    opened(browser, pages["en"])
    before = asked(browser, "document.querySelector('[data-figure=latency]').data[0].y[0]")
    asked(browser, "document.querySelector('[data-choice=ranks][value=\"8\"]').click()")
    after = asked(browser, "document.querySelector('[data-figure=latency]').data[0].y[0]")
    assert after != before
    visible = "[...document.querySelectorAll('[data-when=ranks]')].filter((p) => !p.hidden).map((p) => p.dataset.value)"
    assert set(asked(browser, visible)) == {"8"}
    assert asked(browser, "[...document.querySelectorAll('[data-choice=ranks]:checked')].map((i) => i.value)") == [
        "8",
        "8",
    ]
    shown = "document.querySelectorAll('[data-figure=latency] .scatterlayer .trace').length"
    count = asked(browser, shown)
    asked(browser, "document.querySelector('[data-series=ring]').click()")
    assert asked(browser, shown) == count - 1
    assert asked(browser, "document.querySelector('[data-series=ring]').getAttribute('aria-pressed')") == "false"
    asked(browser, "document.querySelector('[data-series=ring]').click()")
    assert asked(browser, shown) == count


def test_the_keyboard_reaches_every_control(browser: Any, pages: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages["en"])
    browser.find_element(By.CSS_SELECTOR, "[data-choice=ranks]").send_keys(Keys.ARROW_RIGHT)
    assert asked(browser, "document.querySelector('[data-choice=ranks]:checked').value") == "4"
    browser.find_element(By.CSS_SELECTOR, "[data-series=ring]").send_keys(Keys.SPACE)
    assert asked(browser, "document.querySelector('[data-series=ring]').getAttribute('aria-pressed')") == "false"
    theme = browser.find_element(By.CSS_SELECTOR, ".theme")
    theme.send_keys(Keys.ENTER)
    assert asked(browser, "document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("prefers_dark", [False, True])
def test_light_and_dark_follow_the_reader_and_the_button(browser: Any, pages: Any, prefers_dark: bool) -> None:
    def looks_dark() -> bool:
        paper, ink = brightness(browser, "section", "backgroundColor"), brightness(browser, "section", "color")
        ticks = brightness(browser, ".xtick text", "fill")
        assert abs(paper - ink) > 120
        assert abs(paper - ticks) > 120
        return paper < ink

    opened(browser, pages["en"], dark=prefers_dark)
    assert looks_dark() == prefers_dark
    asked(browser, "document.querySelector('.theme').click()")
    assert looks_dark() != prefers_dark
    asked(browser, "document.querySelector('.theme').click()")
    assert looks_dark() == prefers_dark


def test_it_prints_dark_on_white(browser: Any, pages: Any) -> None:
    opened(browser, pages["en"], dark=True)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert brightness(browser, "body", "backgroundColor") > 250
    assert brightness(browser, "section", "color") < 100
    assert brightness(browser, ".xtick text", "fill") < 100


PAPER = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True, "preferCSSPageSize": True}  # A4, inches


def test_it_prints_to_a_pdf_that_holds_everything(browser: Any, pages: Any) -> None:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    opened(browser, pages["en"])
    printed = pypdf.PdfReader(BytesIO(b64decode(browser.execute_cdp_cmd("Page.printToPDF", PAPER)["data"])))
    assert 5 < len(printed.pages) < 60
    width, height = printed.pages[0].mediabox[2:]
    assert (round(float(width)), round(float(height))) == (595, 842)
    text = " ".join("".join(sheet.extract_text() for sheet in printed.pages).split())
    say = Texts("en")
    for key in ("summary", "against", "scaling", "winners", "predicted", "why", "calibration", "what_if", "data"):
        assert str(say(f"section.{key}")) in text, key
    # What a reader on a screen would choose or unfold is all there: tables of each rank count, and every drawing.
    for ranks in (2, 4, 8):
        assert text.count(f"{ranks} ranks") > 3, ranks
    assert text.count("Drawn from the simulator's record") == len(ALGORITHMS)
    assert "load_average" in text
    assert "4 MiB" in text


def test_no_plot_is_cut_off_on_paper(browser: Any, pages: Any) -> None:
    opened(browser, pages["en"])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    printable = 703  # CSS pixels between the margins of an A4 sheet
    size = {"width": printable, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_async_script("setTimeout(arguments[0], 400)")  # page.js waits a moment after a change of width
    outside = """[...document.querySelectorAll('.plot text, .plot .main-svg, .drawing svg, .drawing svg text, td, th')]
        .filter((e) => e.getBoundingClientRect().right > arguments[0] + 1)
        .map((e) => `${e.closest('section')?.id} ${e.tagName}: ${e.textContent.slice(0, 40)}`)"""
    assert asked(browser, outside, printable) == []
    assert asked(browser, "[...document.querySelectorAll('.plot')].every((e) => e.querySelector('.main-svg'))")


@pytest.mark.parametrize("dark", [False, True])
def test_every_series_stands_out_from_the_paper(browser: Any, pages: Any, dark: bool) -> None:
    opened(browser, pages["en"], dark=dark)
    ratio = """(() => {
        const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        const light = (colour) => {
            c.fillStyle = colour; c.fillRect(0, 0, 1, 1);
            const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
            const [r, g, b] = [...c.getImageData(0, 0, 1, 1).data].map(part);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const paper = light(getComputedStyle(document.querySelector('section')).backgroundColor);
        return [...document.querySelectorAll('#measured .legend .mark path')].map((mark) => {
            const own = light(getComputedStyle(mark).fill);
            return (Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05);
        });
    })()"""
    contrasts = asked(browser, ratio)
    assert len(contrasts) == len(ALGORITHMS) + 2
    assert min(contrasts) >= 3  # WCAG 2.1, 1.4.11: graphical objects
