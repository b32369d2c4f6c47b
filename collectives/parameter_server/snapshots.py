"""The whole state of a server's part as named arrays, and back: what a checkpoint writes and a new replica is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectives.parameter_server.consistency import Ledger
from collectives.parameter_server.shard import Push, Shard

__all__ = ["Arrays", "restored", "snapshot"]

Arrays = dict[str, NDArray[Any]]

_OWN_RATE = -1.0


def snapshot(shard: Shard) -> Arrays:
    """Copies of all that the part is, by names that begin with its number.

    ``counters``: version, closed clocks, steps; ``clocks`` and ``seen``: int64 of shape (workers, 2);
    ``held/CLOCK/WORKER``: a push that waits, with its samples and learning rate in ``terms/CLOCK/WORKER``.
    """
    number, ledger = shard.part.number, shard.ledger
    arrays: Arrays = {
        "parameters": shard.parameters.copy(),
        "counters": np.array([ledger.version, ledger.closed, shard.steps], np.int64),
        "clocks": _pairs(ledger.clocks),
        "seen": _pairs(ledger.seen),
    }
    arrays |= {f"state/{i}": array.copy() for i, array in enumerate(shard.state)}
    for clock, worker, push in _held(shard):
        rate = _OWN_RATE if push.learning_rate is None else push.learning_rate
        arrays[f"held/{clock}/{worker}"] = push.gradient.copy()
        arrays[f"terms/{clock}/{worker}"] = np.array([push.samples, rate])
    return {f"{number}/{name}": array for name, array in arrays.items()}


def restored(shard: Shard, arrays: Mapping[str, NDArray[Any]]) -> Shard:
    """The shard with the state in ``arrays``; who waits for parameters is forgotten, and must ask again.

    KeyError for an array that is missing, ValueError for one of another length.
    """
    own = f"{shard.part.number}/"
    mine = {name.removeprefix(own): array for name, array in arrays.items() if name.startswith(own)}
    state = tuple(_fitting(shard, f"state/{i}", mine).copy() for i in range(len(shard.state)))
    version, closed, steps = map(int, mine["counters"])
    held: dict[int, dict[int, Push]] = {}
    for name in mine:
        if name.startswith("held/"):
            clock, worker = map(int, name.removeprefix("held/").split("/"))
            samples, rate = map(float, mine[f"terms/{clock}/{worker}"])
            push = Push(_fitting(shard, name, mine).copy(), int(samples), None if rate == _OWN_RATE else rate)
            held.setdefault(clock, {})[worker] = push
    ledger = Ledger(
        shard.consistency, dict(mine["clocks"].tolist()), version, closed, dict(mine["seen"].tolist()),
        {clock: set(pushes) for clock, pushes in held.items()},
    )  # fmt: skip
    parameters = _fitting(shard, "parameters", mine).copy()
    return Shard(shard.part, parameters, shard.optimiser, ledger, shard.layers, state, held, steps=steps)


def _held(shard: Shard) -> Iterable[tuple[int, int, Push]]:
    return ((clock, worker, push) for clock, pushes in shard.held.items() for worker, push in pushes.items())


def _pairs(numbers: Mapping[int, int]) -> NDArray[np.int64]:
    return np.array(sorted(numbers.items()), np.int64).reshape(-1, 2)


def _fitting(shard: Shard, name: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    array = arrays[name]
    if array.shape != (shard.part.count,) or array.dtype != np.float32:
        raise ValueError(
            f"{name} of part {shard.part.number} is {array.dtype} of shape {array.shape}, and the part has "
            f"{shard.part.count} elements of float32"
        )
    return array
