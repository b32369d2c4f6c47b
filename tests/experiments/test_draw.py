"""Pictures: what they show is what the simulator's timeline says, escaped, in both languages, and at 64 ranks too."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from PIL import Image
from rich.cells import cell_len

from collectives import catalogue
from experiments import cli, draw
from experiments.draw import terminal
from experiments.draw.colours import colouring
from experiments.draw.scale import by_round, time_axis
from simulator import Run, networks, simulate

SVG = "{http://www.w3.org/2000/svg}"
EVERY = [catalogue.get(name) for name in catalogue.names()]


def drawn(name: str, size: int, nbytes: int = 1 << 16, gamma: float = 0.0, **options: object) -> ET.Element:
    network = networks.star(size, 5e-6, 1.25e9, gamma)
    return ET.fromstring(draw.svg(catalogue.parse(name), size, nbytes, network, **options))  # type: ignore[arg-type] # options of several types


def played(name: str, size: int, nbytes: int = 1 << 16) -> Run:
    return simulate(catalogue.parse(name), size, nbytes, networks.star(size, 5e-6, 1.25e9))


def tooltips(picture: ET.Element) -> list[str]:
    return [title.text or "" for group in picture.iter(f"{SVG}g") for title in group.iter(f"{SVG}title")]


def paths(picture: ET.Element, pattern: str) -> list[tuple[float, ...]]:
    found = [re.findall(pattern, path.get("d") or "") for path in picture.iter(f"{SVG}path")]
    return [tuple(map(float, match)) for matches in found for match in matches]


BAR = r"M([\d.]+) ([\d.]+)h([\d.]+)v[\d.]+h-[\d.]+z"


# --- SVG ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", EVERY, ids=str)
@pytest.mark.parametrize("rounds", [False, True])
def test_every_algorithm_shows_each_of_its_messages_twice(algorithm: catalogue.Algorithm, rounds: bool) -> None:
    picture = drawn(algorithm.name, 5, rounds=rounds)
    messages = played(algorithm.name, 5).messages
    assert len(paths(picture, BAR)) == 2 * messages
    assert len(tooltips(picture)) == 2 * messages


def test_bars_stand_where_the_timeline_has_them() -> None:
    run = played("chain:segments=3", 4)
    bars = sorted(paths(drawn("chain:segments=3", 4), BAR))
    left, right = bars[0][0], max(x + width for x, _, width in bars)
    scale = (right - left) / run.seconds
    wanted = sorted(
        (start, length)
        for message in run.timeline()
        for start, length in (
            (message.start, message.sent - message.start),
            (message.receiving, message.end - message.receiving),
        )
    )
    for (x, _, width), (start, length) in zip(bars, wanted, strict=True):
        assert x == pytest.approx(left + start * scale, abs=0.2)
        assert width == pytest.approx(length * scale, abs=0.2)


def test_a_tooltip_tells_rank_round_chunk_and_time() -> None:
    assert "round 0: rank 0 → rank 1, chunks {3}, 16KiB, 0\u00a0ns to 18.11\u00a0µs" in tooltips(drawn("ring", 4))
    portuguese = tooltips(drawn("ring", 4, language="pt"))
    assert "rodada 0: rank 0 → rank 1, blocos {3}, 16KiB, 0\u00a0ns a 18,11\u00a0µs" in portuguese


def test_it_is_described_for_those_who_do_not_see_it() -> None:
    picture, portuguese = drawn("halving_doubling", 8), drawn("halving_doubling", 8, language="pt")
    assert picture.get("role") == "img"
    assert picture.findtext(f"{SVG}title") == "halving_doubling, 8 ranks"
    assert "8 ranks, 48 messages in 6 rounds, 121.8\u00a0µs." in (picture.findtext(f"{SVG}desc") or "")
    assert "8 ranks, 48 mensagens em 6 rodadas, 121,8\u00a0µs." in (portuguese.findtext(f"{SVG}desc") or "")


def test_what_it_shows_is_escaped() -> None:
    nasty = replace(catalogue.get("ring"), name="<script>alert('&\"')</script>")
    text = draw.svg(nasty, 3, 8, networks.star(3, 5e-6, 1.25e9))
    assert "<script" not in text
    assert ET.fromstring(text).findtext(f"{SVG}title") == "<script>alert('&\"')</script>, 3 ranks"


def test_nothing_is_fetched_or_run() -> None:
    text = draw.svg(catalogue.get("ring"), 4, 8, networks.star(4, 5e-6, 1.25e9))
    assert "href" not in text
    assert "url(" not in text
    assert text.count("http") == text.count("http://www.w3.org/2000/svg") == 1


def test_neutral_colours_come_from_the_reader() -> None:
    assert "prefers-color-scheme: dark" in (drawn("ring", 4).findtext(f"{SVG}style") or "")
    inherited = drawn("ring", 4, theme="inherit").findtext(f"{SVG}style") or ""
    assert "currentColor" in inherited
    assert "color: #" not in inherited
    dark = drawn("ring", 4, theme="dark")
    assert "prefers" not in (dark.findtext(f"{SVG}style") or "")
    assert next(rect.get("fill") for rect in dark.iter(f"{SVG}rect")) == "#10151f"


def test_folds_are_marked_and_computing_is_drawn_where_it_costs() -> None:
    free, costly = drawn("binomial", 4), drawn("binomial", 4, gamma=1e-9)
    folds = sum(message.folds for message in played("binomial", 4).timeline())
    assert len(list(free.iter(f"{SVG}circle"))) == folds + 1  # and one in the legend
    assert not [rect for rect in free.iter(f"{SVG}rect") if rect.get("class") == "fold"]
    assert len([rect for rect in costly.iter(f"{SVG}rect") if rect.get("class") == "fold"]) == folds + 1


def test_64_ranks_stay_a_file_that_a_page_can_hold() -> None:
    text = draw.svg(catalogue.get("ring"), 64, 1 << 20, networks.star(64, 5e-6, 1.25e9))
    picture = ET.fromstring(text)
    assert len(text) < 1_000_000
    assert len(paths(picture, BAR)) == 2 * 8064
    assert float(picture.get("height") or "0") <= 1000


def test_one_rank_and_no_bytes_draw_too() -> None:
    assert "nothing to send" in [text.text for text in drawn("ring", 1).iter(f"{SVG}text")]
    assert len(paths(drawn("ring", 4, 0), BAR)) == 48


# --- colours and axes ---------------------------------------------------------------------------------------------


def test_colours_tell_chunks_apart_where_a_message_carries_one() -> None:
    ring, halving = played("ring", 8).timeline(), played("halving_doubling", 8).timeline()
    assert len(set(colouring(ring, 8).of_chunk)) == 8
    assert len({colouring(halving, 8).of(message) for message in halving}) == 2
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colouring(ring, 8).of_chunk)


@pytest.mark.parametrize("seconds", [3e-9, 1.7e-6, 9.99e-6, 1e-3, 0.25, 1.0, 86400.0])
def test_ticks_are_few_round_and_inside(seconds: float) -> None:
    axis = time_axis(seconds, 10)
    assert 3 <= len(axis.ticks) <= 11
    assert axis.ticks[0] == (0.0, "0")
    assert all(0 <= position <= seconds * (1 + 1e-9) for position, _ in axis.ticks)
    assert all(len(label) <= 5 for _, label in axis.ticks)


def test_rounds_are_columns_of_one_width() -> None:
    for name in ("ring", "reduce_scatter_pairwise", "double_tree"):
        for message in by_round(played(name, 6).timeline()):
            assert message.round < message.start < message.sent < message.end < message.round + 1
            assert message.receiving > message.start


# --- terminal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize(("name", "size"), [("ring", 4), ("double_tree", 16), ("linear", 7), ("ring", 1)])
@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_terminal_keeps_to_its_width(name: str, size: int, width: int, rounds: bool) -> None:
    lines = terminal.lines(played(name, size), width, rounds=rounds)
    assert all(cell_len(line.plain) <= width for line in lines if line.no_wrap)
    labels = [
        line.plain.split("·")[0].split("→")[0].strip() for line in lines if line.plain.lstrip().startswith("rank")
    ]
    assert [label.split()[1].rstrip("━") for label in labels] == [str(rank) for rank in range(size)]


@pytest.mark.parametrize("rounds", [False, True])
def test_the_terminal_names_every_message_of_a_small_run(rounds: bool) -> None:
    run = played("ring", 4)
    rows = [line.plain for line in terminal.lines(run, 120, rounds=rounds) if line.no_wrap]
    for rank in range(4):
        sends = [message for message in run.timeline() if message.source == rank]
        recvs = [message for message in run.timeline() if message.dest == rank]
        assert re.findall(r"→(\d) c(\d)", rows[2 * rank]) == [(str(m.dest), str(m.chunks.spans[0][0])) for m in sends]
        assert re.findall(r"←(\d) c(\d)", rows[2 * rank + 1]) == [
            (str(m.source), str(m.chunks.spans[0][0])) for m in recvs
        ]
        assert rows[2 * rank + 1].count("⊕") == sum(message.folds for message in recvs)


# --- the command --------------------------------------------------------------------------------------------------


def test_draw_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["draw", "ring", "-n", "3", "--lang", "pt"]) == 0
    out = capsys.readouterr().out
    assert "ring" in out
    assert "mensagens" in out
    assert out.count("⊕") == 6 + 1


def test_draw_to_svg_and_png(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    vector, pixels = tmp_path / "a.svg", tmp_path / "a.PNG"
    assert cli.run(["draw", "ring", "-n", "4", "-o", str(vector)]) == 0
    assert ET.fromstring(vector.read_text(encoding="utf-8")).tag == f"{SVG}svg"
    assert cli.run(["draw", "ring", "-n", "4", "-o", str(pixels)]) == 0
    data = pixels.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (2000, 788)
    assert f"wrote {pixels}" in capsys.readouterr().out.replace("\n", " ")


def test_a_png_has_words_and_colours_in_it() -> None:
    network = networks.star(4, 5e-6, 1.25e9)
    picture = Image.open(
        BytesIO(draw.png(draw.svg(catalogue.get("ring"), 4, 1 << 20, network, theme="light")))
    ).convert("RGB")
    colours = {pixel for _, pixel in picture.getcolors(1 << 24) or []}
    wanted = colouring(played("ring", 4).timeline(), 4).of_chunk
    assert {tuple(bytes.fromhex(colour[1:])) for colour in wanted} <= colours
    title = picture.crop((140, 20, 260, 70))
    assert (0x1B, 0x22, 0x30) in {pixel for _, pixel in title.getcolors(1 << 16) or []}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ring", "-n", "0"], "--ranks"),
        (["ring", "-n", "33"], "too many for a terminal"),
        (["ring", "--lang", "fr"], "language 'fr'"),
        (["ring", "--size", "many"], "size 'many'"),
        (["broadcast_linear:root=7"], "does not work for 4 ranks"),
        (["ring", "-o", "a.gif"], "a.gif: such a picture is written as .svg or .png"),
        (["ring", "-o", "a.svg", "--theme", "blue"], "no theme is called 'blue'"),
        (["ring", "-o", "/nowhere/a.svg"], "/nowhere/a.svg: No such file"),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert cli.run(["draw", *arguments]) == cli.BAD_USE
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
