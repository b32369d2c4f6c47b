"""Critical path, use of links and animation: what they show is what the run did, escaped and in both languages."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from collectives import catalogue
from collectives.contract import CONTRACTS, special
from experiments import cli
from experiments.draw import animation, diagram, links
from experiments.draw.animation_texts import TEXTS
from experiments.draw.scale import by_round
from experiments.errors import UsageFault
from simulator import Network, Run, networks, simulate
from simulator.explanation import explain

SVG = "{http://www.w3.org/2000/svg}"
EVERY = [catalogue.get(name) for name in catalogue.names()]
NASTY = "<script>alert('&\"')</script>"


def played(name: str, size: int, network: Network | None = None, nbytes: int = 1 << 16) -> Run:
    return simulate(catalogue.parse(name), size, nbytes, network or networks.star(size, 5e-6, 1.25e9, 4e-10))


def drawn(run: Run, *, rounds: bool = False, language: str = "en") -> ET.Element:
    return ET.fromstring(diagram.svg(run, rounds=rounds, language=language, theme="light", critical_path=True))


def corners(picture: ET.Element, style: str) -> list[tuple[float, float]]:
    """Of the longest line of that style: the others are the legend's."""
    lines = [path.get("d") or "" for path in picture.iter(f"{SVG}path") if path.get("class") == style]
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", max(lines, key=len))]


# --- the critical path --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [("binomial", 4), ("ring", 8), ("ring", 64), ("reduce_linear", 5)])
def test_the_path_runs_from_the_first_moment_to_the_last(name: str, size: int) -> None:
    run = played(name, size)
    points = corners(drawn(run), "path core")
    assert points == corners(drawn(run), "path band")
    assert points[0][0] == pytest.approx(74, abs=0.1)
    assert points[-1][0] == pytest.approx(1000 - 26, abs=0.1)
    assert all(x <= after for (x, _), (after, _) in pairwise(points))


def test_the_path_crosses_with_its_messages_and_stays_where_a_rank_computes() -> None:
    """Binomial over 4 ranks: 3 → 2, fold, 2 → 0, fold, then 0 sends to 2 and to 1 (or 2 to 3)."""
    run = played("binomial", 4)
    found = explain(run)
    ranks = [round((y - 108) / 64 - 0.5) for _, y in corners(drawn(run), "path core")]
    assert ranks[:4] == [3, 2, 2, 0]
    assert ranks[-1] == found.steps[-1].rank
    assert [(each.source, each.dest) for each in found.messages[:2]] == [(3, 2), (2, 0)]


def test_the_path_by_rounds_follows_the_same_messages() -> None:
    run = played("double_tree", 8)
    slots = {(each.source, each.dest, each.round): each for each in by_round(run.timeline())}
    first = explain(run).messages[0]
    (x, _), *_ = corners(drawn(run, rounds=True), "path core")
    start = slots[first.source, first.dest, first.round].start
    assert x == pytest.approx(74 + 900 * start / run.rounds, abs=0.1)


def test_the_path_is_told_in_words_too() -> None:
    for language, words in (("en", "critical path: 7"), ("pt", "caminho crítico: 7")):
        picture = drawn(played("binomial", 4), language=language)
        assert any((text.text or "").startswith(words) for text in picture.iter(f"{SVG}text"))
        assert " γ" in (picture.findtext(f"{SVG}desc") or "").replace("(γ", " γ")


def test_a_diagram_without_the_path_has_none_of_it() -> None:
    plain = diagram.svg(played("binomial", 4), rounds=False, language="en", theme="light")
    assert "path band" not in plain
    assert "critical" not in plain


def test_nothing_to_wait_for_draws_no_path() -> None:
    assert "path core" not in diagram.svg(
        played("ring", 1), rounds=False, language="en", theme="light", critical_path=True
    )


# --- the use of links ---------------------------------------------------------------------------------------------


def heat(run: Run, language: str = "en") -> ET.Element:
    return ET.fromstring(links.svg(run, language=language, theme="auto"))


def test_each_used_link_has_a_row_and_its_mean() -> None:
    run = played("binomial", 4)
    use = run.utilisation(120)
    told = [title.text or "" for group in heat(run).iter(f"{SVG}g") for title in group.iter(f"{SVG}title")]
    topology = run.network.topology
    wanted = set()
    for link in np.flatnonzero(use.any(axis=1)).tolist():
        begin, end = (topology.label(vertex) for vertex in topology.ends[link].tolist())
        wanted.add(f"{begin} → {end}: {100 * use[link].mean():.0f} %")
    assert set(told) == wanted
    shares = [int(re.findall(r"(\d+) %", text)[-1]) for text in told]
    assert shares == sorted(shares, reverse=True)


def test_colours_cover_as_much_time_as_the_link_is_used() -> None:
    """The first send of a chain over 2 ranks, half of the run: its link is full then, and free in the other half."""
    network = networks.star(2, 0.0, 1e9)
    run = simulate(catalogue.get("linear"), 2, 1 << 20, network)
    for group in heat(run).iter(f"{SVG}g"):
        parts = [part for part in group.iter(f"{SVG}rect") if part.get("class") == "use"]
        assert sum(float(part.get("width") or 0) for part in parts) == pytest.approx(680 / 2, rel=0.01)
        assert {part.get("fill-opacity") for part in parts} == {"1.0"}


def test_many_links_are_the_most_used_ones_and_it_says_so() -> None:
    picture = heat(played("ring", 64))
    assert len(list(picture.iter(f"{SVG}g"))) == 40
    assert any("the 40 most used of 128 links" in (text.text or "") for text in picture.iter(f"{SVG}text"))
    portuguese = heat(played("ring", 64), "pt")
    assert any("os 40 enlaces mais usados de 128" in (text.text or "") for text in portuguese.iter(f"{SVG}text"))


def test_a_run_without_messages_has_no_rows() -> None:
    assert not list(heat(played("ring", 1)).iter(f"{SVG}g"))


def test_labels_are_escaped() -> None:
    star = networks.star(3, 5e-6, 1.25e9)
    network = replace(star, topology=replace(star.topology, name=NASTY, label=lambda vertex: f"{NASTY}{vertex}"))
    text = links.svg(played("ring", 3, network), language="en", theme="auto")
    assert "<script" not in text
    assert ET.fromstring(text).findtext(f"{SVG}title") == f"Use of links: ring, 3 ranks, {NASTY}"


# --- the animation ------------------------------------------------------------------------------------------------


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize("algorithm", EVERY, ids=str)
def test_at_the_end_every_rank_holds_what_it_was_promised(algorithm: catalogue.Algorithm) -> None:
    size = next(count for count in (4, 5, 6) if algorithm.supports(count))
    run = played(algorithm.name, size)
    found = animation.states(run, run.timeline())
    contract, chunks = CONTRACTS[algorithm.collective], algorithm.chunks(size)
    part = special(algorithm.collective, size, algorithm.parameters)
    brought = [
        sum(1 << rank for rank in range(size) if chunk in contract.brings(rank, size, chunks, part))
        for chunk in range(chunks)
    ]
    assert len(found) == run.rounds + 1
    for rank in range(size):
        for chunk in contract.gets(rank, size, chunks, part):
            assert found[-1][rank][chunk] == brought[chunk]


def test_a_ring_gathers_one_contribution_a_round() -> None:
    """Rank 1 gets from rank 0: after round 0 chunk 3 of both, after round 1 chunk 2 of 3, 0 and itself."""
    run = played("ring", 4)
    found = animation.states(run, run.timeline())
    assert found[0] == [[1 << rank] * 4 for rank in range(4)]
    assert found[1][1] == [0b0010, 0b0010, 0b0010, 0b0011]
    assert found[2][1] == [0b0010, 0b0010, 0b1011, 0b0011]


def test_a_page_is_whole_and_loads_nothing() -> None:
    """A round of 16 KiB: 5 µs, 13.11 µs of bytes and 6.55 µs of folding."""
    page = animation.html(played("ring", 4), "pt")
    assert '<html lang="pt-BR">' in page
    assert "default-src 'none'" in unescape(page)
    outside = re.findall(r"""(?:src|href|url\(|import)\s*=?\s*["'(]?\s*(https?:|//)""", page)
    assert outside == []
    assert page.count("http") == page.count("http-equiv") + page.count("http://www.w3.org/2000/svg")
    content = data_of(page)
    assert [len(messages) for messages in content["rounds"]] == [4] * 6
    assert len(content["moments"]) == 6
    assert content["moments"][0] == "24.66\u00a0µs"


def test_names_cannot_break_out_of_a_page() -> None:
    nasty = replace(catalogue.get("ring"), name=NASTY)
    page = animation.html(simulate(nasty, 3, 64, networks.star(3, 5e-6, 1.25e9)), "en")
    assert NASTY not in page
    assert page.count("</script>") == 2
    assert data_of(page)["algorithm"] == NASTY


def test_both_languages_say_the_same_things() -> None:
    assert TEXTS["en"].keys() == TEXTS["pt"].keys()
    for key in TEXTS["en"]:
        assert set(re.findall(r"\{\w+\}", TEXTS["en"][key])) == set(re.findall(r"\{\w+\}", TEXTS["pt"][key]))


@pytest.mark.parametrize(("name", "size"), [("ring", 17), ("chain:segments=20", 4)])
def test_a_run_too_large_to_be_read_is_refused(name: str, size: int) -> None:
    with pytest.raises(UsageFault, match="an animation shows up to 16 ranks and 16 chunks"):
        animation.html(played(name, size), "en")


# --- the commands -------------------------------------------------------------------------------------------------


def test_draw_writes_all_its_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {
        option: tmp_path / name for option, name in (("-o", "a.svg"), ("--links", "l.png"), ("--animate", "p.html"))
    }
    options = [part for option, file in files.items() for part in (option, str(file))]
    line = ["draw", "halving_doubling", "-n", "8", "--network", "ring", "--critical-path", *options]
    assert cli.run(line) == 0
    assert "path core" in files["-o"].read_text(encoding="utf-8")
    assert files["--links"].read_bytes()[:4] == b"\x89PNG"
    assert data_of(files["--animate"].read_text(encoding="utf-8"))["network"] == "ring"
    assert capsys.readouterr().out.count("wrote") == 3


def test_draw_explains_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["draw", "ring", "-n", "3", "--critical-path", "--lang", "pt"]) == 0
    assert "O caminho crítico termina no rank" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "begins"),
    [("t.json", '{"displayTimeUnit"'), ("t.goal", "// ring"), ("t.paje", "%EventDef"), ("t.ti", "0 init\n")],
)
def test_trace_writes_by_the_ending_of_the_name(name: str, begins: str, tmp_path: Path) -> None:
    file = tmp_path / name
    assert cli.run(["trace", "ring", "-n", "8", "--size", "1MiB", "--network", "star", "-o", str(file)]) == 0
    assert file.read_text(encoding="utf-8").startswith(begins)
    assert list(tmp_path.iterdir()) == [file]


def test_trace_writes_a_folder_for_simgrid(tmp_path: Path) -> None:
    assert cli.run(["trace", "ring", "-n", "3", "-o", str(tmp_path / "ring")]) == 0
    names = {file.name for file in (tmp_path / "ring").iterdir()}
    assert names == {"hosts.txt", "index.txt", "platform.xml", "rank0.txt", "rank1.txt", "rank2.txt"}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("trace ring -o a.gif", "a.gif: a trace is written as .json"),
        ("trace rnig -o a.json", "rnig"),
        ("trace ring -o /nowhere/a.json", "/nowhere/a.json: there is no folder /nowhere"),
        ("trace ring -n 5 --network torus:2x2 -o a.json", "5"),
        ("trace ring -n 3 --latency soon -o a.json", "time 'soon'"),
        ("trace halving_doubling:x=1 -o a.json", "x"),
        ("draw ring --animate a.svg", "a.svg: such a picture is written as .html"),
        ("draw ring --links a.html", "a.html: such a picture is written as .svg or .png"),
        ("draw ring -n 17 --animate a.html", "an animation shows up to 16 ranks"),
        ("draw ring --straggler 9=2 -o a.svg", "rank 9"),
    ],
)
def test_bad_use_is_told_in_one_line(
    line: str, complaint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(line.split()) == cli.BAD_USE
    printed = capsys.readouterr()
    assert printed.out == ""
    (told,) = printed.err.splitlines()
    assert complaint in told
    assert not list(tmp_path.iterdir())
