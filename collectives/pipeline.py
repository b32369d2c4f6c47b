"""Pipeline orders as values: what each stage of a model computes after what, proven, timed, run and drawn.

A model is cut into ``stages``, and a batch into ``micro`` micro-batches. An order is a pure function
``(stage, stages, micro) -> actions``: the stage's ``Forward(i)`` and ``Backward(i)`` in the order in which it does
them. Messages are implied: activations go to the next stage after each Forward, gradients to the one before after
each Backward.

Sources: Huang et al., "GPipe: efficient training of giant neural networks using pipeline parallelism" (NeurIPS 2019),
section 2.3; Narayanan et al., "PipeDream: generalized pipeline parallelism for DNN training" (SOSP 2019), section 3.2;
Narayanan et al., "Efficient large-scale language model training on GPU clusters using Megatron-LM" (SC 2021), section
2.2: the same with a flush at the end of each batch, which is what ``1f1b`` means here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from types import MappingProxyType

from collectives.blocking import check_blocking
from collectives.schedule import Recv, Round, ScheduleError, Send

__all__ = ["Action", "Backward", "Forward", "Order", "Proof", "Slot", "bubble", "cut", "get", "gpipe", "names",
           "one_forward_one_backward", "prove", "timeline"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forward:
    """The forward pass of a micro-batch through this stage's layers."""

    micro: int


@dataclass(frozen=True, slots=True)
class Backward:
    """The backward pass of a micro-batch through this stage's layers; what its forward pass kept is free after it."""

    micro: int


Action = Forward | Backward
Order = Callable[[int, int, int], Iterable[Action]]


def gpipe(stage: int, stages: int, micro: int) -> Iterator[Action]:
    """All forward, then all backward, the last first: every stage keeps the activations of ``micro`` micro-batches."""
    yield from map(Forward, range(micro))
    yield from map(Backward, reversed(range(micro)))


def one_forward_one_backward(stage: int, stages: int, micro: int) -> Iterator[Action]:
    """As soon as a backward pass can be done it is: stage s keeps at most min(micro, stages − s) micro-batches."""
    ahead = min(micro, stages - stage - 1)
    yield from map(Forward, range(ahead))
    for number in range(micro - ahead):
        yield Forward(ahead + number)
        yield Backward(number)
    yield from map(Backward, range(micro - ahead, micro))


_ORDERS: Mapping[str, Order] = MappingProxyType({"gpipe": gpipe, "1f1b": one_forward_one_backward})


def names() -> list[str]:
    """All orders, as ``get`` knows them."""
    return list(_ORDERS)


def get(name: str) -> Order:
    """The order of that name; ValueError lists the known ones."""
    if name not in _ORDERS:
        raise ValueError(f"no pipeline order is called {name!r}; known: {', '.join(_ORDERS)}")
    return _ORDERS[name]


def bubble(stages: int, micro: int) -> float:
    """Share of a step in which a stage has nothing to do, if all stages are alike and messages take no time.

    (p − 1) / (m + p − 1), for both orders (GPipe, section 2.3; Megatron-LM, section 2.2.1, states it over m).
    """
    return (stages - 1) / (micro + stages - 1)


# --- when: an order with times ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slot:
    """One action of one stage, from ``start`` to ``end``."""

    stage: int
    action: Action
    start: float
    end: float


def timeline(
    order: Order, micro: int, forward: Sequence[float], backward: Sequence[float], message: float = 0.0
) -> list[list[Slot]]:
    """When each stage does what, in units of the times given: one list a stage, in the stage's order.

    ``forward[s]`` and ``backward[s]``: what stage s takes for a micro-batch; ``message``: how long one takes from a
    stage to its neighbour, with no two in each other's way. Raises ScheduleError where stages wait in a circle.
    """
    stages = len(forward)
    queues = [list(order(stage, stages, micro)) for stage in range(stages)]
    ends: dict[tuple[int, Action], float] = {}
    done: list[list[Slot]] = [[] for _ in queues]
    moved = True
    while moved:
        moved = False
        for stage, queue in enumerate(queues):
            while len(done[stage]) < len(queue):
                action = queue[len(done[stage])]
                needed = _needs(stage, stages, action)
                if needed is not None and needed not in ends:
                    break
                arrival = 0.0 if needed is None else ends[needed] + message * (needed[0] != stage)
                start = max(arrival, done[stage][-1].end if done[stage] else 0.0)
                end = start + (forward if isinstance(action, Forward) else backward)[stage]
                done[stage].append(Slot(stage, action, start, end))
                ends[stage, action] = end
                moved = True
    _check_finished(queues, [len(slots) for slots in done])
    return done


def _needs(stage: int, stages: int, action: Action) -> tuple[int, Action] | None:
    """What must be over before, and at which stage; None for the input."""
    if isinstance(action, Forward):
        return (stage - 1, action) if stage else None
    return (stage + 1, action) if stage + 1 < stages else (stage, Forward(action.micro))


def _check_finished(queues: Sequence[Sequence[Action]], done: Sequence[int]) -> None:
    stuck = [
        f"stage {stage} waits before {queue[count]} for {_told(_needs(stage, len(queues), queue[count]))}"
        for stage, (queue, count) in enumerate(zip(queues, done, strict=True))
        if count < len(queue)
    ]
    if stuck:
        raise ScheduleError(f"the stages wait for each other: {'; '.join(stuck)}")


def _told(needed: tuple[int, Action] | None) -> str:
    return "nothing" if needed is None else f"{needed[1]} of stage {needed[0]}"


# --- whether: the prover ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found while an order was proven.

    ``kept``: by stage, the most micro-batches whose activations it holds. ``bubble``: share of a step in which a stage
    is idle, all stages alike and a backward pass twice a forward pass.
    """

    stages: int
    micro: int
    kept: tuple[int, ...]
    bubble: float


def prove(order: Order, stages: int, micro: int, *, blocking: bool = False) -> Proof:
    """Prove an order for so many stages and micro-batches, or raise ScheduleError naming the stage and the action.

    Every micro-batch goes forward and then backward once at every stage; neighbours do the same passes in the same
    order, so messages need no names; and no stages wait in a circle, with sends that never wait. With ``blocking``
    also if each send waits until it is received, under which ``1f1b`` hangs.
    """
    if stages < 1 or micro < 1:
        raise ValueError(f"a pipeline has at least one stage and one micro-batch, got {stages} and {micro}")
    queues = [list(order(stage, stages, micro)) for stage in range(stages)]
    kept = tuple(_check_stage(stage, queue, micro) for stage, queue in enumerate(queues))
    for stage, (before, after) in enumerate(pairwise(queues)):
        _check_neighbours(stage, before, after)
    ends = timeline(order, micro, [1.0] * stages, [2.0] * stages)
    if blocking:
        check_blocking([list(_rounds(stage, stages, queue)) for stage, queue in enumerate(queues)])
    return Proof(stages, micro, kept, 1 - 3 * micro / max(slots[-1].end for slots in ends))


def _check_stage(stage: int, queue: Sequence[Action], micro: int) -> int:
    """Once forward, then once backward; returns the most that are between the two."""
    open_: set[int] = set()
    seen: set[Action] = set()
    peak = 0
    for action in queue:
        if action in seen or not 0 <= action.micro < micro:
            raise ScheduleError(f"stage {stage}: {action} comes twice, or is not one of {micro} micro-batches")
        seen.add(action)
        if isinstance(action, Forward):
            open_.add(action.micro)
        elif action.micro in open_:
            open_.remove(action.micro)
        else:
            raise ScheduleError(f"stage {stage}: {action} comes before its forward pass")
        peak = max(peak, len(open_))
    wanted = [kind(number) for kind in (Forward, Backward) for number in range(micro)]
    if missing := [action for action in wanted if action not in seen]:
        raise ScheduleError(f"stage {stage}: {missing[0]} is missing")
    return peak


def _check_neighbours(stage: int, before: Sequence[Action], after: Sequence[Action]) -> None:
    for kind in (Forward, Backward):
        here, there = ([action for action in queue if type(action) is kind] for queue in (before, after))
        for one, other in zip(here, there, strict=True):
            if one != other:
                raise ScheduleError(f"stage {stage} does {one} where stage {stage + 1} does {other}: messages cross")


def _rounds(stage: int, stages: int, queue: Iterable[Action]) -> Iterator[Round]:
    """What a stage receives and sends, a round for each action, a micro-batch being a chunk."""
    for action in queue:
        step = 1 if isinstance(action, Forward) else -1
        received = (Recv(stage - step, action.micro),) if 0 <= stage - step < stages else ()
        sent = (Send(stage + step, action.micro),) if 0 <= stage + step < stages else ()
        yield (*received, *sent)


# --- which layers -------------------------------------------------------------------------------------------------


def cut(costs: Sequence[float], stages: int) -> tuple[tuple[int, int], ...]:
    """Cut layers of these costs into ``stages`` runs, none empty, so that the dearest run is as cheap as can be.

    Returns where each begins and ends. ValueError if there are fewer layers than stages. O(stages · layers²).
    """
    if not 1 <= stages <= len(costs):
        raise ValueError(f"{len(costs)} layers can be cut into 1 to {len(costs)} stages, not into {stages}")
    sums = list(accumulate(costs, initial=0.0))
    best: list[tuple[float, tuple[int, ...]]] = [(total, (0, end)) for end, total in enumerate(sums)]
    for stage in range(1, stages):
        best = [
            min(
                ((max(best[at][0], sums[end] - sums[at]), (*best[at][1], end)) for at in range(stage, end)),
                default=(float("inf"), ()),
            )
            for end in range(len(sums))
        ]
    return tuple(pairwise(best[-1][1]))
