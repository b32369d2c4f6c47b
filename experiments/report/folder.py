"""The folder of a report: raw data that are whole or not there, and what is read back from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from experiments.errors import UsageFault
from experiments.report.comparison import Comparison
from experiments.report.findings import algorithm_of, landmarks, ours
from experiments.report.results import FILES, Results, load
from experiments.report.what_if import LIMIT, Forecast, foresee

__all__ = ["HERE", "comparison", "copy", "forecast", "local", "make", "replace", "write_json"]

HERE = "local"
"""The folder, within the raw data, of what was measured on this machine itself beside a cluster."""

_COMPARISON, _FORECAST = "comparison.json", "what_if.json"


def make(folder: Path) -> None:
    """Make the folder; a UsageFault names the file that is in the way."""
    blocking = next((place for place in (folder, *folder.parents) if place.exists() and not place.is_dir()), None)
    if blocking:
        raise UsageFault(f"{blocking} is a file, and the report needs a folder there; name another with --output")
    folder.mkdir(parents=True, exist_ok=True)


def copy(source: Path, folder: Path) -> None:
    """Put the raw data of an earlier measurement into ``folder``, unless they lie there already."""
    load(source)  # first, so that a folder that holds no results changes nothing
    if (source / HERE).is_dir():
        load(source / HERE)
    if source.resolve() != folder.resolve():
        make(folder)
        replace(source, folder)


def replace(source: Path, folder: Path) -> None:
    """Copy our files into ``folder``, where those of an earlier measurement go and all else stays."""
    for name in ("", HERE):
        for file in _own(folder / name):
            file.unlink()
        for file in _own(source / name):
            make(folder / name)
            shutil.copyfile(file, folder / name / file.name)


def _own(folder: Path) -> Sequence[Path]:
    return [*(folder / name for name in FILES if (folder / name).is_file()), *sorted(folder.glob("profile*.json"))]


def local(folder: Path) -> Results | None:
    """What was measured on this machine itself beside a cluster."""
    return load(folder / HERE) if (folder / HERE / "results.json").is_file() else None


def comparison(folder: Path) -> Comparison | None:
    """The comparison that lies with the raw data."""
    content = _read_json(folder / _COMPARISON)
    return None if content is None else Comparison.from_json(content)


def forecast(folder: Path, results: Results, limit: int = LIMIT) -> Forecast | None:
    """What the largest profile says of more hosts: as kept with the raw data, else simulated and kept there.

    None where nothing was measured that could be asked. Cost: up to about ``limit`` seconds.
    """
    kept = _read_json(folder / _FORECAST)
    if kept is not None:
        return Forecast.from_json(kept)
    profile = results.profiles[max(results.profiles)] if results.profiles else None
    if profile is None or not profile.measured:
        return None
    cells = [cell for cell in ours(results.cells) if cell.ranks == max(results.ranks)]
    names = {cell.algorithm for cell in cells if algorithm_of(cell, cell.ranks) is not None}
    found = foresee(profile, sorted(names), landmarks(results.sizes)[-2:], limit=limit)
    write_json(folder / _FORECAST, found.to_json())
    return found


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(file)


def _read_json(file: Path) -> Mapping[str, Any] | None:
    """The object in a file, None where there is no file; a UsageFault says what is wrong with it."""
    try:
        content: object = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as problem:
        raise UsageFault(f"{file} is not JSON ({problem}); remove it, and it is made anew") from None
    if not isinstance(content, dict):
        raise UsageFault(f"{file} holds no object; remove it, and it is made anew")
    return cast("Mapping[str, Any]", content)
