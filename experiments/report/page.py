"""The page: texts, tables and figures put into one HTML file that needs nothing else."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from experiments import __version__
from experiments.report import sentences, tables
from experiments.report.compact import compact
from experiments.report.comparison import Comparison
from experiments.report.drawings import Drawing
from experiments.report.figures import BOUND, Figures
from experiments.report.findings import landmarks, ours
from experiments.report.palette import Series, palette
from experiments.report.plots import Figure
from experiments.report.reasons import fits
from experiments.report.results import MODELS, Model, Results
from experiments.report.sections import against, calibration, errors, local, place, scaling, terms, training, what_if
from experiments.report.texts import Texts, trusted
from experiments.report.what_if import Forecast
from experiments.training.comparison.records import Trained

__all__ = ["Extras", "render"]

_SECTIONS = (
    "summary", "against", "place", "measured", "scaling", "training", "winners", "predicted", "why", "schedule",
    "what_if", "calibration", "local", "method", "environment", "data",
)  # fmt: skip
_OPTIONAL = ("against", "scaling", "training", "local")  # left out where there is nothing for them
_METHOD = ("median", "bandwidth", "theory", "simulator", "bound", "native")
_DEEPEST = 3.0  # doublings to either side at which the colour of the error map is full


@dataclass(frozen=True, slots=True)
class Extras:
    """What not every page has: a comparison, forecasts for many hosts, a part on the machine itself, and training."""

    comparison: Comparison | None = None
    forecast: Forecast | None = None
    local: Results | None = None
    training: Trained | None = None


def render(
    results: Results, say: Texts, drawings: Sequence[Drawing], commands: tuple[str, str], extras: Extras | None = None
) -> str:
    """The page as HTML. ``commands`` are what measures again, and what makes the page again from the same data."""
    more = extras or Extras()
    looks = palette(_names(results, more))
    values = (
        _frame(say, commands) | _head(results, looks, say) | _sections(results, looks, say) | _choices(results, say)
    )
    values |= _more(results, more, looks, say)
    left_out = {"what_if" if key == "outlooks" else key for key in (*_OPTIONAL, "outlooks") if values[key] is None}
    figures, hovers = compact(_figures(results, more, looks, say))
    values |= {
        "figures": figures, "hovers": hovers, "drawings": drawings,
        "sections": [key for key in _SECTIONS if key not in left_out and (key != "schedule" or drawings)],
    }  # fmt: skip
    return _templates().get_template("page.html").render(values)


def _names(results: Results, more: Extras) -> set[str]:
    """Every algorithm that the page shows anywhere."""
    compared = {change.algorithm for change in more.comparison.changes} if more.comparison else set[str]()
    beside = more.local.cells if more.local else ()
    foreseen = {outlook.algorithm for outlook in more.forecast.outlooks} if more.forecast else set[str]()
    return {cell.algorithm for cell in (*results.cells, *beside)} | compared | foreseen


def _more(results: Results, more: Extras, looks: Mapping[str, Series], say: Texts) -> dict[str, Any]:
    """The sections with a module of their own."""
    files = _files(more.local.files, say) if more.local else []
    return (
        against.values(more.comparison, looks, say)
        | place.values(results, say)
        | scaling.values(results, looks, say)
        | training.values(more.training, say)
        | errors.values(results, say)
        | terms.values(results, looks, say)
        | what_if.values(more.forecast, looks, say)
        | calibration.values(results, say)
        | local.values(more.local, looks, files)
    )


def _frame(say: Texts, commands: tuple[str, str]) -> dict[str, Any]:
    """What is the same for any results."""
    script, plotly = _asset("page.js"), _plotly()
    return {
        "say": say, "n": say.numbers, "language": say("page.language"), "version": __version__,
        "style": trusted(_asset("page.css")), "script": trusted(script), "plotly": trusted(plotly),
        "policy": _policy(script, plotly), "words": {key: say(f"page.{key}") for key in ("dark", "light")},
        "command": commands[0], "rerender": commands[1], "bound_name": BOUND, "depth": _depth,
    }  # fmt: skip


def _head(results: Results, looks: Mapping[str, Series], say: Texts) -> dict[str, Any]:
    """The title, the summary and what warns the reader."""
    dtype, op, library, _ = results.kind
    known = results.environment
    return {
        "cpu": known.get("cpu", "?"), "cores": results.cores or "?", "library": library, "dtype": dtype, "op": op,
        "date": tables.moment(known.get("created")), "podium": tables.podium(results, looks),
        "notices": sentences.notices(results, say), "cards": sentences.cards(results, say),
        "headlines": sentences.headlines(results, say), "beats": sentences.beats(results.cells, say),
        "crowded": any(cell.oversubscribed for cell in results.cells),
    }  # fmt: skip


def _sections(results: Results, looks: Mapping[str, Series], say: Texts) -> dict[str, Any]:
    """Figures and tables."""
    fitted = fits(results.cells, results.costs)
    return {
        "looks": list(looks.values()), "sizes": results.sizes,
        "tables": tables.times(results, looks), "maps": tables.maps(results, looks, say),
        "errors": tables.accuracies(results, looks), "fits": fitted,
        "reasons": sentences.reason_texts(results, fitted, say), "profiles": tables.calibrations(results, say),
        "method": _method(results, say), "facts": tables.facts(results, say),
        "everything": tables.everything(results.environment), "files": _files(results.files, say),
    }  # fmt: skip


def _choices(results: Results, say: Texts) -> dict[str, Any]:
    """What the reader can choose from."""
    middle = landmarks(results.sizes)
    return {
        "rank_options": [(str(ranks), str(ranks)) for ranks in results.ranks],
        "size_options": [(str(size), say.numbers.nbytes(size)) for size in results.sizes],
        "size_default": str(middle[len(middle) // 2]),
        "models": [(model, say(f"controls.{model}")) for model in _priced(results)],
    }


def _figures(results: Results, more: Extras, looks: Mapping[str, Series], say: Texts) -> dict[str, dict[str, Figure]]:
    """Every form of every plot: by name, then by what the reader has chosen."""
    draw = Figures(results.cells, looks, say)
    return {
        "latency": {str(ranks): draw.latency(ranks) for ranks in results.ranks},
        "bandwidth": {str(ranks): draw.bandwidth(ranks) for ranks in results.ranks},
        "scaling": {str(size): draw.scaling(size) for size in results.sizes},
        "accuracy": {model: draw.accuracy(model) for model in _priced(results)},
        **errors.figures(results, say),
        **terms.figures(results, say),
        **calibration.figures(results, say),
        **scaling.figures(results, looks, say),
        **training.figures(more.training, say),
        **what_if.figures(more.forecast, looks, say),
        **local.figures(more.local, looks, say),
    }


def _priced(results: Results) -> list[Model]:
    return [model for model in MODELS if any(cell.predicted(model) for cell in ours(results.cells))]


def _method(results: Results, say: Texts) -> list[Markup]:
    clock = say.get(f"method.clock_{results.clock}") or ""
    checked = [cell.correct for cell in results.cells if cell.correct is not None]
    return [
        say(
            "method.time",
            samples=say.numbers.count(sum(cell.samples for cell in results.cells)),
            clock=clock,
        ),
        *(say(f"method.{key}") for key in _METHOD),
        say("method.correct", correct=sum(checked), checked=len(checked)),
    ]


def _files(names: Iterable[str], say: Texts) -> list[tuple[str, Markup]]:
    """The raw data beside the page, each with a word on what it is."""
    return [(name, say(f"data.{Path(name).stem.partition('-')[0]}")) for name in names]


def _depth(factor: float) -> int:
    """How deep the colour of a measured/theory factor is, in per cent."""
    return round(min(1.0, abs(math.log2(factor)) / _DEEPEST) * 70)


def _policy(*scripts: str) -> str:
    """What the browser may load and run: these scripts and nothing else, from nowhere else."""
    hashes = " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"


def _templates() -> Environment:
    return Environment(loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def _asset(name: str) -> str:
    return (resources.files("experiments.report") / "templates" / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Plotly's own script, from the installed package."""
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
