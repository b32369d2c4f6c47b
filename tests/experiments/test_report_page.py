import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from collectives import catalogue
from collectives.profile import Profile
from experiments import cli
from experiments.errors import Failure, UsageFault
from experiments.records import Record, read_document
from experiments.report import page, what_if
from experiments.report.command import command
from experiments.report.comparison import Comparison, Side, compare, side
from experiments.report.drawings import drawings
from experiments.report.findings import accuracy
from experiments.report.results import Results, load
from experiments.report.texts import Texts
from experiments.report.what_if import Forecast, Outlook
from tests import measurements, training_records

ALGORITHMS = catalogue.names("allreduce")
COMMANDS = ("ciranda report", "ciranda report --data report/data")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}\u2028"


@dataclass
class Parsed(HTMLParser):
    """What a browser would see: elements with their attributes, the text of scripts, the cells of tables."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    _inside: str = ""

    def __init__(self, html: str) -> None:
        HTMLParser.__init__(self, convert_charrefs=True)
        self.tags, self.scripts, self.text = [], [], []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, _tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text.append(data)

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in tags]


def rendered(folder: Path, content: Sequence[Record], language: str = "en", **known: Any) -> str:
    environment = {**measurements.ENVIRONMENT, **known}
    results = load(measurements.write(folder, content, environment=environment))
    return page.render(results, Texts(language), drawings(results, language), COMMANDS)


@pytest.fixture(autouse=True)
def _short_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The forecast for many hosts has tests of its own."""
    monkeypatch.setattr(what_if, "LIMIT", 1)


@pytest.fixture(scope="module")
def content() -> list[Record]:
    return measurements.records(ALGORITHMS, (2, 4), (8, 4096, 1048576))


@pytest.mark.parametrize("language", ["en", "pt"])
def test_the_page_loads_nothing_from_anywhere(tmp_path: Path, content: list[Record], language: str) -> None:
    html = rendered(tmp_path, content, language)
    parsed = Parsed(html)
    assert len(html.encode()) < 6_000_000
    assert not parsed.of("link", "img", "iframe", "object", "embed", "base", "form")
    assert not [attributes for _, attributes in parsed.tags if "src" in attributes or "srcset" in attributes]
    links = [attributes["href"] for attributes in parsed.of("a", "use") if attributes.get("href")]
    assert links
    assert all(re.match(r"#\w+$|data/[\w.-]+$", link or "") for link in links)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_browser_is_told_to_run_these_scripts_and_load_nothing(tmp_path: Path, content: list[Record]) -> None:
    parsed = Parsed(rendered(tmp_path, content))
    (policy,) = [a["content"] or "" for a in parsed.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    kinds = [attributes.get("type") for attributes in parsed.of("script")]
    runnable = [text for text, kind in zip(parsed.scripts, kinds, strict=True) if kind is None]
    hashes = {f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in runnable}
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert set(rules["script-src"].split()) == hashes
    assert "connect-src" not in rules
    assert "http" not in policy


def test_links_lead_to_what_is_there(tmp_path: Path, content: list[Record]) -> None:
    parsed = Parsed(rendered(tmp_path, content))
    ids = {attributes["id"] for _, attributes in parsed.tags if "id" in attributes}
    for attributes in parsed.of("a"):
        link = attributes["href"] or ""
        assert (
            link.removeprefix("#") in ids if link.startswith("#") else (tmp_path / link.removeprefix("data/")).is_file()
        )
    names = {(attributes["href"] or "").removeprefix("data/") for attributes in parsed.of("a")}
    assert names >= {"samples.jsonl", "results.json", "environment.json", "profile-2.json", "profile-4.json"}


def test_hostile_data_stay_text(tmp_path: Path, content: list[Record]) -> None:
    def counted(html: str) -> dict[str, int]:
        parsed = Parsed(html)
        return {tag: len(parsed.of(tag)) for tag in ("script", "img", "style", "body", "main", "html")}

    plain = rendered(tmp_path / "plain", [*content, measurements.record("stranger", 2, 8, 1e-5, 1e-6)])
    worst = measurements.record(HOSTILE, 2, 8, 1e-5, 1e-6, library=HOSTILE)
    strange = [Record.from_json({**record.to_json(), "library": HOSTILE}) for record in content]
    known = dict.fromkeys(("cpu", "created", "cores", "load_average", "memory_bytes", "packages", HOSTILE), HOSTILE)
    html = rendered(tmp_path / "hostile", [*strange, worst], **known)
    assert counted(html) == counted(plain)
    parsed = Parsed(html)
    assert not [a for _, a in parsed.tags if any(name.startswith("on") for name in a)]
    assert any(HOSTILE in text for text in parsed.text)
    figures = json.loads(parsed.scripts[0])
    assert any(trace["meta"]["algorithm"] == HOSTILE for trace in figures["latency"]["2"]["data"])
    hovers = json.loads(parsed.scripts[1])
    shown = [hovers[index] for trace in figures["latency"]["2"]["data"] for index in trace["text"]]
    assert any("alert(1)" in text for text in shown)
    assert not [text for text in hovers if re.search(r"<(?!/?b>|br>)", text)]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=30).filter(lambda name: name not in ("native", *ALGORITHMS)))
def test_any_name_comes_out_as_it_went_in(tmp_path: Path, name: str) -> None:
    content = [*measurements.records(["ring"], (2,), (8, 64)), measurements.record(name, 2, 8, 1e-5, None)]
    parsed = Parsed(rendered(tmp_path, content))
    figures = json.loads(parsed.scripts[0])
    assert name in [trace["meta"]["algorithm"] for trace in figures["latency"]["2"]["data"]]
    assert len(parsed.of("script")) == 5


@pytest.mark.parametrize(
    "name", ["chain:speed=9", "ring:x", "chain:segments=0", "barrier_dissemination", "parameter_server:servers=99"]
)
def test_results_of_another_version_still_make_a_page(tmp_path: Path, content: list[Record], name: str) -> None:
    record = measurements.record("stranger", 2, 8, 1e-5, 1e-6, theory_seconds=1e-5)
    html = rendered(tmp_path, [*content, Record.from_json({**record.to_json(), "algorithm": name})])
    assert f"</svg>{name}</span>" in html


@pytest.mark.parametrize("language", ["en", "pt"])
def test_every_algorithms_median_error_is_printed(tmp_path: Path, content: list[Record], language: str) -> None:
    # Simulator and closed form agree in truth; here they must not, or one could stand for the other unseen.
    apart = [replace(r, simulated_seconds=r.simulated_seconds and 1.3 * r.simulated_seconds) for r in content]
    html, say = rendered(tmp_path, apart, language), Texts(language)
    table = html[html.index('id="errors"') :]
    rows = table[: table.index("</table>")].split("<tr")[2:]
    cells = load(tmp_path).cells
    assert len(rows) == len(ALGORITHMS) + 1
    for name in ALGORITHMS:
        (row,) = [row for row in rows if f"</svg>{name}</span>" in row]
        row_of = accuracy([cell for cell in cells if cell.algorithm == name], name)
        printed = re.findall(r"<td>(.*?)</td>", row)
        assert printed[:2] == [say.numbers.percent(row_of.theory), say.numbers.percent(row_of.simulated)]
    total = accuracy(cells, "")
    assert say.numbers.percent(total.theory) in rows[-1]
    assert f'lang="{"en" if language == "en" else "pt-BR"}"' in html


def test_no_raw_numbers_and_no_english_on_the_portuguese_page(tmp_path: Path, content: list[Record]) -> None:
    parsed = Parsed(rendered(tmp_path, content, "pt"))
    # What is quoted from data is as it was written: versions, time stamps, the environment, SVG of the drawings.
    text = " ".join(parsed.text)
    assert not re.search(r"\d[.,]\d{4,}|\de[-+]\d|\bnan\b|\bNone\b|\binf\b|\bUndefined\b", text)
    for word in ("the ", " and ", "ranks had", "Fastest", "measured", "lower bound"):
        assert word not in text, word


def test_what_a_reader_must_know_first_is_said(tmp_path: Path) -> None:
    quiet = rendered(tmp_path / "a", measurements.records(["ring"], (2,), (8, 64)))
    assert 'class="notice' not in quiet.split("<noscript>")[0]
    wrong = [measurements.record("ring", 4, 8, 1e-5, None, correct=False)]
    loud = rendered(tmp_path / "b", wrong, load_average=5.0)
    head = loud.split("<noscript>")[0]
    assert "More ranks than cores" in head
    assert "Wrong results" in head
    assert "was busy" in head
    assert "Not calibrated" not in head
    (tmp_path / "b" / "profile-4.json").unlink()
    results = load(tmp_path / "b")
    assert "Not calibrated" in page.render(results, Texts("en"), [], COMMANDS)


class Noting(Texts):
    """Texts that remember which of them a page has used."""

    used: set[str]

    def __init__(self, language: str) -> None:
        super().__init__(language)
        self.used = set()

    def __call__(self, key: str, /, **values: object) -> Markup:
        self.used.add(key)
        return super().__call__(key, **values)

    def get(self, key: str) -> Markup | None:
        self.used.add(key)
        return super().get(key)


FORECAST = Forecast(8, 10, [Outlook("ring", 64, 8, 1.0, 1.0), Outlook("ring", 1024, 8, None, 2.0)])


def emulated() -> Iterator[tuple[list[Record], dict[str, Any], Profile]]:
    """Results of emulated clusters and other places, with a profile of schema 2 each."""
    servers = ["parameter_server", "parameter_server:servers=1"]
    content = measurements.records(["ring", *servers], (2, 4), measurements.SIZES)
    facts = {"hosts": 4, "rate": 12.5e6, "delay": 1e-3, "topology": "two-racks", "oversubscription": 4}
    cluster = {"place": "cluster", "place_facts": facts}
    shares = {
        "schedule": 0.01,
        "start": 0.01,
        "curve": 0.1,
        "duplex": 0.6,
        "processor": 0.1,
        "contention": 0.05,
        "reduction": 0.02,
    }
    told = [measurements.explained(item, **shares) for item in content]
    missing = [replace(item, measured_seconds=None, nbytes=2**25) for item in content[1:7]]
    yield [*told, *missing], cluster, measurements.rich_profile(4)
    # Servers are faster at first, or always, and others are not; and the curve makes the ring faster than theory.
    crossed = [
        replace(item, measured_seconds=seconds, simulated_seconds=seconds)
        for item in content
        if (seconds := 1e-3 if item.algorithm in servers else 1e-5 * item.nbytes**0.5)
    ]
    quick = [replace(item, measured_seconds=0.5 * (item.theory_seconds or 1.0)) for item in content]
    curved = [measurements.explained(item, curve=0.9) for item in quick]
    other = {"place": "slurm", "place_facts": {"hosts": 2}}
    bare = measurements.rich_profile(4, eager=-1, waiting="spins", groups=(0,) * 4, trunk=0.0, agrees=False)
    yield curved, other, bare
    yield crossed, {"place": "local", "place_reason": "no cluster can be made here"}, replace(bare, agrees=None)


def compared(folder: Path, results: Results, data: Path) -> Comparison:
    """The results beside others of another machine, of which some are faster, some slower, and some untested."""
    factors = {"ring": 1.5, "parameter_server": 0.5}
    records, _ = read_document(json.loads((data / "results.json").read_text(encoding="utf-8")))
    past = [replace(r, measured_seconds=(r.measured_seconds or 1.0) * factors.get(r.algorithm, 1.0)) for r in records]
    names = ("cpu", "cores", "system", "python", "mpi")
    known = dict.fromkeys(names, "other") | {"packages": dict.fromkeys(("numpy", "mpi4py"), "0")}
    old = measurements.write(folder, [*past, measurements.record("linear", 2, 8, 1.0, 1.0)], environment=known)
    measurements.with_samples(old, [r for r in past if r.measured_seconds and r.ranks == 2])
    before, now = side(old), Side(results, side(data).samples)
    kind = before.results.kind._replace(library="other", op="max")
    samples = {**before.samples}
    return compare(Side(replace(before.results, kind=kind), samples), now)


def test_no_text_is_written_that_no_page_uses(tmp_path: Path, content: list[Record]) -> None:
    say = Noting("en")

    def times(*seconds: float, **changes: Any) -> list[Record]:
        names = [*ALGORITHMS[: len(seconds)]]
        return [measurements.record(n, 2, 8, s, 1.0, **changes) for n, s in zip(names, seconds, strict=True)]

    situations = [
        content,
        times(1e-9),  # below the bound
        times(1.0, 1.01, 9.0),  # one rival cannot be told from the winner
        times(1.0, 1.01, 1.01, 1.01, 9.0),  # several
        times(1.0, 1.0),  # all
        times(1.0, correct=False, clock="barrier", simulated_seconds=5.0),
        [measurements.record("ring", 2, 8, 1e-5, None), measurements.record("ring", 4, 8, 1.0, None)],
        [measurements.record(n, 2, s, 1e-4 + catalogue.get(n).cost(2).seconds(s, 1e-5, 1e-9, 1e-9), 1.0)
         for n in ALGORITHMS for s in measurements.SIZES],
    ]  # fmt: skip
    for number, records in enumerate(situations):
        folder = measurements.write(tmp_path / str(number), records, environment={"cores": 2, "load_average": 9})
        results = load(folder)
        page.render(results, say, drawings(results, "en"), COMMANDS)
    Profile.default().save(folder / "profile-2.json")
    page.render(load(folder), say, [], COMMANDS)
    stranger = [measurements.record("stranger", 2, 8, 1.0, None)]
    lonely = measurements.write(tmp_path / "lonely", stranger, environment=measurements.ENVIRONMENT)
    (lonely / "profile-2.json").unlink()
    page.render(load(lonely), say, [], COMMANDS)
    for number, (records, known, profile) in enumerate(emulated()):
        folder = measurements.write(
            tmp_path / f"emulated-{number}", records, environment=measurements.ENVIRONMENT | known
        )
        profile.save(folder / f"profile-{profile.ranks}.json")
        measurements.with_samples(folder, records)
        for name in ("comparison.json", "what_if.json", "training.json", "training_steps.jsonl"):
            (folder / name).write_text("{}", encoding="utf-8")
        results = load(folder)
        trained = training_records.trained((2, 4), place=str(known["place"]))
        extras = page.Extras(compared(tmp_path / f"compared-{number}", results, folder), FORECAST, results, trained)
        page.render(results, say, [], COMMANDS, extras)
    nothing = Comparison({}, [], 0, 0, [])
    same = replace(compared(tmp_path / "same", results, folder), changes=[])
    for comparison in (nothing, same, compare(side(folder), side(folder))):
        page.render(results, say, [], COMMANDS, page.Extras(comparison))
    assert say.used >= say.entries.keys() - {"page.decimal"}  # which is read when the texts are


# --- from a folder to a page ----------------------------------------------------------------------------------------


def test_a_page_is_made_from_stored_results(tmp_path: Path, content: list[Record]) -> None:
    data = measurements.write(tmp_path / "stored", content)
    command(output=tmp_path / "report", lang="pt", data=data)
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert 'lang="pt-BR"' in html
    assert "ciranda report --output" in html
    for name in ("samples.jsonl", "results.json", "environment.json", "profile-2.json"):
        assert (tmp_path / "report" / "data" / name).read_bytes() == (data / name).read_bytes()
    command(output=tmp_path / "report", data=tmp_path / "report" / "data")
    assert 'lang="en"' in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "story"),
    [
        (lambda folder: (folder / "results.json").unlink(), "there is no"),
        (lambda folder: (folder / "results.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "results.json").write_text('{"schema": 99, "records": []}'), "schema 99"),
        (lambda folder: (folder / "results.json").write_text('{"schema": 1, "records": []}'), "no measured allreduce"),
        (lambda folder: (folder / "results.json").write_text("[]"), "no Ciranda results"),
        (lambda folder: (folder / "results.json").write_bytes(b"\xff"), "not JSON"),
        (lambda folder: (folder / "profile-2.json").write_text("{}"), "no Ciranda profile"),
    ],
)
def test_a_damaged_folder_is_refused_and_nothing_is_changed(tmp_path: Path, content, damage, story: str) -> None:
    data = measurements.write(tmp_path / "stored", content)
    damage(data)
    with pytest.raises(UsageFault, match=story):
        command(output=tmp_path / "report", data=data)
    assert not (tmp_path / "report").exists()


def test_bad_requests_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="exclude each other"):
        command(output=tmp_path / "report", quick=True, full=True)
    with pytest.raises(UsageFault, match="--quick measures local ranks"):
        command(output=tmp_path / "report", quick=True, on="cluster")
    with pytest.raises(UsageFault, match="--on nowhere"):
        command(output=tmp_path / "nowhere" / "report", on="nowhere")
    with pytest.raises(UsageFault, match=r"'fr'.*en, pt"):
        command(output=tmp_path / "report", lang="fr")
    with pytest.raises(UsageFault, match="2 and more"):
        command(ranks=["1"], output=tmp_path / "report")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageFault, match="is a file"):
        command(output=tmp_path / "file", quick=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "nowhere"]
    assert not any(entry.is_file() for entry in (tmp_path / "nowhere").rglob("*"))


def test_the_command_line_says_what_is_wrong_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run(["report", "--data", str(tmp_path / "nothing"), "--output", str(tmp_path / "report")]) == 2
    assert cli.run(["report", "--lang", "fr", "--output", str(tmp_path / "report")]) == 2
    assert cli.run(["report", "-n", "0", "--output", str(tmp_path / "report")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("ciranda: ") for line in lines)


def test_other_files_beside_the_data_are_left_alone(tmp_path: Path, content: list[Record]) -> None:
    (tmp_path / "report" / "data").mkdir(parents=True)
    (tmp_path / "report" / "data" / "notes.txt").write_text("mine")
    (tmp_path / "report" / "data" / "profile-64.json").write_text("of an earlier measurement")
    command(output=tmp_path / "report", data=measurements.write(tmp_path / "stored", content))
    assert (tmp_path / "report" / "data" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "report" / "data" / "profile-64.json").exists()


def test_what_was_measured_on_the_machine_itself_goes_along(tmp_path: Path, content: list[Record]) -> None:
    data = measurements.write(tmp_path / "stored", content)
    measurements.write(data / "local", [item for item in content if item.ranks == 2])
    command(output=tmp_path / "report", data=data)
    parsed = Parsed((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    links = {attributes["href"] for attributes in parsed.of("a")}
    assert {"#local", "data/local/samples.jsonl", "data/local/results.json"} <= links
    assert (tmp_path / "report" / "data" / "local" / "results.json").is_file()
    # A later measurement without that part takes the old one away.
    command(output=tmp_path / "report", data=measurements.write(tmp_path / "other", content))
    assert not (tmp_path / "report" / "data" / "local" / "results.json").exists()
    assert 'id="local"' not in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    (data / "local" / "results.json").write_text("{")
    with pytest.raises(UsageFault, match=r"local/results\.json is not JSON"):
        command(output=tmp_path / "third", data=data)
    assert not (tmp_path / "third").exists()


def test_an_example_is_told_in_a_sentence_with_its_proof(tmp_path: Path) -> None:
    content = measurements.records(["ring", "linear"], (4,), measurements.SIZES)
    slow = [replace(r, measured_seconds=2.1 * (r.theory_seconds or 1.0)) for r in content]
    folder = measurements.write(tmp_path, [measurements.explained(r, duplex=0.9, curve=0.05) for r in slow])
    measurements.rich_profile(4).save(folder / "profile-4.json")
    parsed = Parsed(page.render(load(folder), Texts("en"), [], COMMANDS))
    text = " ".join("".join(parsed.text).split())
    assert re.search(r"on 4 ranks took 2\.10× what theory says .* 90 % of the difference is one term, duplex", text)
    assert "The ping-pong that shows it" in text
    (figure,) = json.loads(parsed.scripts[0])["example"].values()
    both_ways = next(trace for trace in figure["data"] if trace["name"] == "both ways at once")
    assert list(zip(both_ways["x"], both_ways["y"], strict=True)) == list(measurements.profile(4).duplex)


@pytest.mark.timeout(240)
def test_a_quick_report_from_real_ranks(tmp_path: Path) -> None:
    try:
        command(ranks=["2"], output=tmp_path, quick=True)
    except Failure as fault:
        pytest.fail(str(fault))
    results = load(tmp_path / "data")
    assert {cell.algorithm for cell in results.cells} == {*ALGORITHMS, "native"}
    assert all(cell.correct for cell in results.cells)
    assert results.profiles[2].measured
    assert all(cell.theory and cell.simulated and cell.bound for cell in results.cells if not cell.native)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert all(f"</svg>{name}</span>" in html for name in ALGORITHMS)
