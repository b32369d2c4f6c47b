"""A run as a page that plays it: chunks move from rank to rank, and every rank shows what it holds of each.

One HTML file without any network access: data, style and script are inside, and the browser is told to load nothing.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib import resources
from typing import Any

from collectives.contract import CONTRACTS, special
from experiments.draw.animation_texts import TEXTS
from experiments.draw.canvas import spaced
from experiments.draw.colours import chunk_colour
from experiments.draw.texts import texts
from experiments.errors import UsageFault
from experiments.units import format_bytes, format_seconds
from simulator import Message, Run, Timeline

__all__ = ["MOST_CHUNKS", "MOST_RANKS", "html", "states"]

MOST_RANKS, MOST_CHUNKS = 16, 16

State = list[list[int]]
"""Of each rank and chunk, the ranks whose contributions are in it, as the bits of an integer; 0 where it has none."""


def html(run: Run, language: str) -> str:
    """The page; its reader can change ``language`` (``en`` or ``pt``). UsageFault for a run too large to be read."""
    from jinja2 import Environment, StrictUndefined

    texts(language)  # refuses what is not spoken
    chunks = run.algorithm.chunks(run.size)
    if run.size > MOST_RANKS or chunks > MOST_CHUNKS:
        raise UsageFault(
            f"an animation shows up to {MOST_RANKS} ranks and {MOST_CHUNKS} chunks, not {run.size} and {chunks}; "
            "draw larger runs with --output"
        )
    pages = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    script = _asset("animation.js")
    return pages.from_string(_asset("animation.html")).render(
        language={"en": "en", "pt": "pt-BR"}[language],
        title=f"{run.algorithm.label}, {run.algorithm.collective}",
        policy=_policy(script),
        style=_asset("animation.css"),
        script=script,
        data=_data(run, language),
    )


def states(run: Run, timeline: Timeline) -> list[State]:
    """What every rank holds before the first round, and after each: sends read the state at the start of a round."""
    algorithm = run.algorithm
    contract, chunks = CONTRACTS[algorithm.collective], algorithm.chunks(run.size)
    part = special(algorithm.collective, run.size, algorithm.parameters)
    state: State = [[0] * chunks for _ in range(run.size)]
    for rank in range(run.size):
        for chunk in contract.brings(rank, run.size, chunks, part):
            state[rank][chunk] = 1 << rank
    found = [state]
    for messages in _by_round(run, timeline):
        before, state = state, [list(mine) for mine in state]
        for message in messages:
            for chunk in message.chunks:
                moved, mine = before[message.source][chunk], state[message.dest][chunk]
                state[message.dest][chunk] = moved | mine if message.folds else moved
        found.append(state)
    return found


def _by_round(run: Run, timeline: Timeline) -> list[list[Message]]:
    rounds: list[list[Message]] = [[] for _ in range(run.rounds)]
    for message in timeline:
        rounds[message.round].append(message)
    return rounds


def _data(run: Run, language: str) -> dict[str, Any]:
    timeline, chunks = run.timeline(), run.algorithm.chunks(run.size)
    found = states(run, timeline)
    return {
        "language": language,
        "texts": {language: dict(words) for language, words in TEXTS.items()},
        "algorithm": run.algorithm.label,
        "collective": run.algorithm.collective.replace("_", "-"),
        "network": run.network.name,
        "nbytes": spaced(format_bytes(run.nbytes)),
        "ranks": run.size,
        "chunks": chunks,
        "wanted": _wanted(found[0], chunks),
        "colours": [chunk_colour(chunk, max(chunks, 1)) for chunk in range(chunks)],
        "states": found,
        "rounds": [
            [[each.source, each.dest, list(each.chunks), int(each.folds)] for each in messages]
            for messages in _by_round(run, timeline)
        ],
        "moments": [spaced(format_seconds(moment)) for moment in _moments(run, timeline)],
    }


def _wanted(first: State, chunks: int) -> Sequence[int]:
    """Of each chunk, how many ranks bring a contribution."""
    return [sum(bool(mine[chunk]) for mine in first) for chunk in range(chunks)]


def _moments(run: Run, timeline: Timeline) -> Iterator[float]:
    """When the last rank was through with each round, and with those before."""
    now = 0.0
    left = [0.0] * run.rounds
    for stay in timeline.stays:
        left[stay.round] = max(left[stay.round], stay.left)
    for moment in left:
        now = max(now, moment)
        yield now


def _policy(script: str) -> str:
    """What the browser may load and run: this script and nothing else, from nowhere else."""
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'"


def _asset(name: str) -> str:
    return (resources.files("experiments.draw") / "templates" / name).read_text(encoding="utf-8")
