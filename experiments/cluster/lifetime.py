"""Bring a cluster up and take it down, so that nothing is left of it whatever happens in between."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import contextmanager

from experiments import work_folders
from experiments.cluster import holder, state
from experiments.cluster.shape import Shape
from experiments.errors import UsageFault
from experiments.places import Cluster

__all__ = ["current", "down", "raised", "up"]


def up(shape: Shape) -> Cluster:
    """Bring the cluster up that stays until ``down``; leftovers of an earlier one are cleared first.

    Raises UsageFault where one is up already, and where this machine cannot make it.
    """
    with state.locked():
        known = state.read()
        if known is not None and not known.stale():
            raise UsageFault(f"a cluster is up already ({known.shape}); take it down first: ciranda cluster down")
        _clear()
        held, line = holder.start(shape, str(state.file()), while_held=False)
        try:
            state.write(state.State.of(shape, held))
            line.write("go\n")
            line.close()
        except BaseException:
            _clear()
            raise
    return Cluster(shape, held)


def down() -> str:
    """End the cluster that is up, and what is left of others; says what there was."""
    with state.locked():
        known = state.read()
        ended = _clear()
    swept = work_folders.sweep()
    if known is None:
        return "leftovers were cleared" if ended or swept else "no cluster was up"
    return f"{known.shape}: {'down' if ended else 'had ended already, and was cleared'}"


def current() -> Cluster | None:
    """The cluster that is up, None where none is."""
    known = state.read()
    return None if known is None or known.stale() else Cluster(known.shape, known.holder)


@contextmanager
def raised(shape: Shape) -> Generator[Cluster]:
    """A cluster of one's own; it is gone on leaving, and also where this process is killed."""
    mark = f"temporary-{secrets.token_hex(8)}"
    held, line = holder.start(shape, mark, while_held=True)
    try:
        line.write("go\n")
        line.flush()
        yield Cluster(shape, held)
    finally:
        holder.clear(mark)
        line.close()


def _clear() -> int:
    state_file = str(state.file())
    ended = holder.clear(state_file)
    state.forget()
    return ended
