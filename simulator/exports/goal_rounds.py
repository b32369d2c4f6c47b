"""Rounds out of dependencies: which operations of a GOAL text belong to one round of all ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import cast

from collectives.schedule import Recv, Round, Send
from simulator.exports.goal_reader import Calc, Goal, Transfer

__all__ = ["rounds"]

Group = tuple[int, int]
"""The transfers of one rank that wait for the same ones: (rank, how many such groups come before)."""


@dataclass(frozen=True, slots=True)
class _Rank:
    """The groups of one rank, and seconds of work before each; ``work`` has one more, for after the last."""

    groups: list[list[int]]
    work: list[float]


def rounds(goal: Goal) -> tuple[list[list[Round]], Mapping[tuple[int, int], float]]:
    """The rounds of every rank, and the seconds of work before them by (rank, round).

    Raises ValueError where groups of ranks cannot be made to fall into common rounds.
    """
    ranks = [_grouped(mine, goal.tick) for mine in goal.ranks]
    number = _numbered(goal, ranks)
    count = 1 + max(number.values(), default=-1)
    played: list[list[Round]] = [[()] * count for _ in ranks]
    compute: dict[tuple[int, int], float] = {}
    for rank, found in enumerate(ranks):
        places = [number[rank, level] for level in range(len(found.groups))]
        for place, group in zip(places, found.groups, strict=True):
            played[rank][place] = _round([goal.ranks[rank][index] for index in group])
        for place, seconds in zip([*places, count], found.work, strict=True):
            if seconds:
                compute[rank, place] = seconds
    return played, compute


def _round(operations: Sequence[Calc | Transfer]) -> Round:
    transfers = [each for each in operations if isinstance(each, Transfer)]
    for kind in (True, False):
        peers = [each.peer for each in transfers if each.sends is kind]
        if len(set(peers)) < len(peers):
            line = next(
                each.line for at, each in enumerate(transfers) if each.peer in peers[:at] and each.sends is kind
            )
            raise ValueError(f"line {line}: a second message on one way in one round cannot be played")
    return tuple(
        Send(each.peer, range(each.nbytes)) if each.sends else Recv(each.peer, range(each.nbytes)) for each in transfers
    )


def _grouped(mine: Sequence[Calc | Transfer], tick: float) -> _Rank:
    """Transfers in groups such that each waits for the whole group before it, and for the same work in between."""
    found = _Rank([], [0.0])
    level: dict[int, int] = {}  # of a transfer its group, of work the group that it follows
    ready: dict[int, float] = {}  # seconds of work behind an operation since the group before it
    after: dict[int, frozenset[int]] = {}  # the transfers that an operation waits for last
    for index in TopologicalSorter({index: each.requires for index, each in enumerate(mine)}).static_order():
        each = mine[index]
        after[index], ready[index] = _waited(each, mine, level, after, ready)
        level[index] = before = max((level[other] for other in after[index]), default=-1)
        if isinstance(each, Calc):
            ready[index] += each.ticks * tick
            found.work[before + 1] = max(found.work[before + 1], ready[index])
            continue
        level[index] = before + 1
        if before + 1 == len(found.groups):
            found.groups.append([])
            found.work.append(0.0)
        found.groups[before + 1].append(index)
    _check_after(mine, found, after)
    _check_work(mine, found, ready)
    return _Rank([sorted(group) for group in found.groups], found.work)


def _waited(
    each: Calc | Transfer,
    mine: Sequence[Calc | Transfer],
    level: Mapping[int, int],
    after: Mapping[int, frozenset[int]],
    ready: Mapping[int, float],
) -> tuple[frozenset[int], float]:
    """The transfers of the latest group that ``each`` waits for, directly or through work, and how long that takes."""
    direct = {other for other in each.requires if isinstance(mine[other], Transfer)}
    through = [other for other in each.requires if isinstance(mine[other], Calc)]
    waited = direct.union(*(after[other] for other in through))
    last = max((level[other] for other in waited), default=-1)
    work = max((ready[other] for other in through if level[other] == last), default=0.0)
    return frozenset(other for other in waited if level[other] == last), work


def _check_after(mine: Sequence[Calc | Transfer], found: _Rank, after: Mapping[int, frozenset[int]]) -> None:
    groups = {index: number for number, group in enumerate(found.groups) for index in group}
    for index, waited in after.items():
        if waited and (missing := set(found.groups[groups[next(iter(waited))]]) - waited):
            line, other = mine[index].line, mine[min(missing)].line
            raise ValueError(f"line {line}: this does not wait for line {other}, so the text is not made of rounds")


def _check_work(mine: Sequence[Calc | Transfer], found: _Rank, ready: Mapping[int, float]) -> None:
    for group, work in zip(found.groups, found.work, strict=False):
        for index in group:
            if ready[index] != work:
                raise ValueError(
                    f"line {mine[index].line}: this does not wait for all the work before its round, so the text is "
                    "not made of rounds"
                )


def _numbered(goal: Goal, ranks: Sequence[_Rank]) -> dict[Group, int]:
    """The round of every group: one for all groups that exchange messages, and after those that they wait for."""
    group_of = {
        (rank, index): (rank, level)
        for rank, found in enumerate(ranks)
        for level, group in enumerate(found.groups)
        for index in group
    }
    parent: dict[Group, Group] = {group: group for group in group_of.values()}

    def head(group: Group) -> Group:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    for one, other in _pairs(goal):
        parent[head(group_of[one])] = head(group_of[other])
    needs: dict[Group, set[Group]] = {head(group): set() for group in parent}
    for rank, level in parent:
        if level:
            needs[head((rank, level))].add(head((rank, level - 1)))
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as fault:
        rank, level = cast("Group", fault.args[1][0])
        line = goal.ranks[rank][ranks[rank].groups[level][0]].line
        raise ValueError(
            f"line {line}: its partners are in different rounds, so the text is not made of rounds"
        ) from None
    number: dict[Group, int] = {}
    for group in order:
        number[group] = 1 + max((number[before] for before in needs[group]), default=-1)
    return {group: number[head(group)] for group in parent}


def _pairs(goal: Goal) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Both ends of every message as (rank, index): equal tags of one edge meet in listed order."""
    ends: dict[tuple[int, int, int], tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {}
    for rank, mine in enumerate(goal.ranks):
        for index, each in enumerate(mine):
            if isinstance(each, Transfer):
                edge = (rank, each.peer) if each.sends else (each.peer, rank)
                ends.setdefault((*edge, each.tag), ([], []))[not each.sends].append((rank, index))
    return [pair for sends, recvs in ends.values() for pair in zip(sends, recvs, strict=True)]
