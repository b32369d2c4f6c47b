"""Schedules written down message by message, for tests that are worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from collectives import catalogue
from collectives.catalogue import Algorithm
from collectives.schedule import Recv, Round, Send

__all__ = ["one_round", "rounds"]


def rounds(*numbered: Sequence[tuple[int, int]], chunks: int = 1) -> Algorithm:
    """Every (source, dest) of a round carries chunk 0, or in a schedule of several chunks the chunk of its index."""

    def function(rank: int, size: int) -> list[Round]:
        return [
            tuple(
                operation
                for index, (source, dest) in enumerate(messages)
                for operation in (
                    *((Send(dest, index % chunks),) if source == rank else ()),
                    *((Recv(source, index % chunks),) if dest == rank else ()),
                )
            )
            for messages in numbered
        ]

    return replace(
        catalogue.get("linear"), name=f"by hand {numbered}", collective="barrier", function=function,
        chunk_count=lambda size, at: chunks,
    )  # fmt: skip


def one_round(*messages: tuple[int, int]) -> Algorithm:
    """All messages at once."""
    return rounds(messages)
