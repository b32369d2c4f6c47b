"""`ciranda train`: train a model on several ranks, by the strategy that is asked for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments import places
from experiments.chosen_profile import chosen_profile
from experiments.errors import UsageFault
from experiments.option_groups import grouped
from experiments.training.options import Options, Outputs, arguments
from experiments.units import parse_seconds

if TYPE_CHECKING:
    from experiments.places import Place
    from experiments.progress import Notify, Progress

__all__ = ["command", "launched"]

_LINES = 5.0  # seconds between two lines, where there is no terminal


@grouped
def command(
    options: Options, outputs: Outputs, *,
    ranks: Annotated[int, typer.Option("-n", "--ranks", help="How many ranks.", min=1)] = 2,
    on: places.On = "local",
    mpi: Annotated[str, typer.Option(help="openmpi, mpich or system.", envvar="CIRANDA_MPI")] = "openmpi",
    time_limit: Annotated[str, typer.Option(help="How long the run may take.")] = "10min",
    profile: Annotated[
        str | None,
        typer.Option(help="Simulate a step as well, on the network of this profile, a name or a file.",
                     show_default=False),
    ] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write what the run came to into this file.", show_default=False)
    ] = None,
) -> None:  # fmt: skip
    """Train a model on several ranks: by allreduce, by a parameter server, or with the model cut among the ranks.

    Says how good the model is, how long a step takes and how much of that is waiting for messages; a line for each step
    and evaluation goes to --metrics. Exit code 1: a rank failed.

    Example: ciranda train --strategy allreduce -n 2 --epochs 5 --json out.json
    """
    options.plan()  # what is wrong with it is told before anything starts
    options.method()
    place, known = places.parse(on), chosen_profile(profile, ranks)
    with _shown(sys.stderr.isatty()) as notify:
        found = launched(options, outputs, ranks, place, mpi=mpi, time_limit=parse_seconds(time_limit), notify=notify)
    from experiments.training import tables

    if known is not None:
        from experiments.training.simulated import step_seconds

        found["simulated_seconds"] = step_seconds(options, known, ranks, found["computing_seconds"])
    tables.show(found)
    if as_json is not None:
        _write(found, as_json)


def launched(
    options: Options, outputs: Outputs, ranks: int, place: Place,
    *, mpi: str = "openmpi", time_limit: float = 600.0, notify: Notify | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train on ``ranks`` ranks at ``place``; what the run came to, and its ``environment``.

    Raises UsageFault for what cannot be, and Failure with a story where a rank fails or the time is over.
    """
    from experiments import environment
    from experiments.launches import run_ranks
    from experiments.progress import last_line, watching
    from experiments.training.ranks import PROGRESS
    from experiments.training.summary import summary
    from experiments.work_folders import work_folder

    with work_folder() as work:
        kept = _absolute(outputs)
        if kept.metrics is None:
            kept = replace(kept, metrics=work / "metrics.jsonl")
        progress = work / PROGRESS
        program = ["python", "-m", "experiments.training.ranks", f"--work={work}", f"--time-limit={time_limit}s",
                   *arguments(options), *arguments(kept)]  # fmt: skip
        surroundings = environment.collect()
        with watching(progress, notify, 0, 0):
            started = run_ranks(ranks, program, mpi, time_limit, _where(lambda: last_line(progress)), place)
        assert kept.metrics is not None
        lines = kept.metrics.read_text(encoding="utf-8").splitlines()
    settings = {name: value for name, value in started.environment.items() if name != "MPI4PY_LIBMPI"}  # a path
    about = surroundings | {"place": place.name, "place_facts": place.describe(), "mpi": mpi, "settings": settings,
                            "notes": list(started.notes)}  # fmt: skip
    found = summary([json.loads(line) for line in lines])
    return found | {"place": place.name, "oversubscribed": started.oversubscribed, "environment": about}


def _where(last: Callable[[], Mapping[str, Any]]) -> Callable[[], str]:
    def told() -> str:
        line = last()
        return f"after step {line['done']} of {line['total']}" if line else "before its first step was over"

    return told


def _absolute(outputs: Outputs) -> Outputs:
    """Ranks may run in another folder. A folder that is missing is told now, and not after the training."""
    if outputs.metrics is not None and not outputs.metrics.absolute().parent.is_dir():
        raise UsageFault(f"--metrics {outputs.metrics}: its folder is not there")
    names = ("metrics", "tensorboard", "checkpoint")
    paths: dict[str, Path | None] = {name: getattr(outputs, name) for name in names}
    return replace(outputs, **{name: path and path.absolute() for name, path in paths.items()})


def _write(found: Mapping[str, Any], file: Path) -> None:
    if not file.absolute().parent.is_dir():
        raise UsageFault(f"--json {file}: its folder is not there")
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


@contextmanager
def _shown(terminal: bool) -> Generator[Notify]:
    """A bar on a terminal, and elsewhere a line now and then."""
    from experiments.benchmark import shown_progress

    if terminal:
        with shown_progress() as notify:
            yield notify or _line()
        return
    yield _line()


def _line() -> Notify:
    told = time.monotonic()

    def tell(now: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= _LINES:
            told = time.monotonic()
            print(f"ciranda: step {now.done} of {now.total}, {now.case}", file=sys.stderr, flush=True)

    return tell
