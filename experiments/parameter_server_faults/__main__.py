"""How many runs of each fault test hung, lost an acknowledged update, or ended with a wrong model.

python -m experiments.parameter_server_faults --runs 100 --only server --only job --json faults.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from experiments.machine import cores

__all__ = ["command"]


def command(
    runs: Annotated[int, typer.Option(min=1, help="How often each fault test runs.")] = 10,
    only: Annotated[list[str] | None, typer.Option(help="This fault test alone; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Of the first run; each draws who dies when by its own.")] = 1,
    output: Annotated[Path | None, typer.Option("--json", help="Write a record for each run here.")] = None,
) -> None:
    """Run fault tests of the parameter server: real ranks, killed (SIGKILL) at random moments. Exit code 1 for a fault.

    Example: python -m experiments.parameter_server_faults --runs 100
    """
    from experiments.parameter_server_faults.scenarios import SCENARIOS

    names = only or list(SCENARIOS)
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise typer.BadParameter(f"no fault test is called {unknown[0]!r}; known: {', '.join(SCENARIOS)}")
    records: list[dict[str, object]] = []
    for name in names:
        records += _all(name, runs, seed)
        if output is not None:
            _write(output, records)
    if faults := sum(bool(record["hung"] or record["lost"] or record["wrong"]) for record in records):
        typer.echo(f"error: {faults} of {len(records)} runs hung, lost an update or ended with a wrong model", err=True)
        raise typer.Exit(1)


def _all(name: str, runs: int, seed: int) -> list[dict[str, object]]:
    from experiments.parameter_server_faults.scenarios import CLOCKS, SCENARIOS, models
    from experiments.parameter_server_faults.trial import SECONDS, Verdict, run, special

    scenario = SCENARIOS[name]
    expected = {worker: models(scenario, CLOCKS, worker) for worker in range(scenario.configuration.workers)}
    verdicts: list[Verdict] = []
    for number in range(seed, seed + runs):
        verdicts.append(run(name, number, expected[special(scenario, scenario.plan(number, SECONDS))]))
        if not verdicts[-1].fine:
            last = verdicts[-1]
            typer.echo(f"{name}, seed {number}: {last.hung or last.lost or last.wrong}", err=True)
    counts = {what: sum(bool(getattr(each, what)) for each in verdicts) for what in ("hung", "lost", "wrong")}
    crowded = scenario.configuration.ranks > cores()
    typer.echo(
        f"{name:13} {runs} runs, {sum(each.dead for each in verdicts)} ranks killed: {counts['hung']} hung, "
        f"{counts['lost']} lost an acknowledged update, {counts['wrong']} wrong models"
        f"; {sum(each.seconds for each in verdicts) / runs:.1f} s a run"
        f"{', more ranks than cores' if crowded else ''}  ({scenario.about})"
    )
    return [{**asdict(each), "ranks": scenario.configuration.ranks, "oversubscribed": crowded} for each in verdicts]


def _write(output: Path, records: Sequence[object]) -> None:
    from experiments.environment import collect

    output.write_text(json.dumps({"environment": collect(), "records": records}, indent=1) + "\n", encoding="utf-8")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(command)

if __name__ == "__main__":
    app()
