"""The colours of messages: one a chunk where each message carries one, else one to combine and one to copy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulator import Message

__all__ = ["COPY", "REDUCE", "Colouring", "chunk_colour", "colouring"]

REDUCE, COPY = "#d8632a", "#3b7dd8"
"""Combining and copying; a pair that readers with any common colour blindness can tell apart."""


@dataclass(frozen=True, slots=True)
class Colouring:
    """``of_chunk[i]`` is the colour of chunk i; where it is empty, messages are coloured by what they are for."""

    of_chunk: tuple[str, ...]

    def of(self, message: Message) -> str:
        """The colour of a message as ``#rrggbb``."""
        if self.of_chunk:
            return self.of_chunk[message.chunks.spans[0][0]]
        return REDUCE if message.folds else COPY


def colouring(messages: Sequence[Message], chunks: int) -> Colouring:
    """By chunk if there are two or more and each message carries just one, else by what the message is for."""
    by_chunk = chunks > 1 and all(len(message.chunks) == 1 for message in messages)
    return Colouring(tuple(chunk_colour(index, chunks) for index in range(chunks)) if by_chunk else ())


def chunk_colour(index: int, count: int) -> str:
    """``#rrggbb`` of chunk ``index`` of ``count``: hues evenly round the circle.

    Neighbours differ in lightness too, for eyes that see few hues.
    """
    lightness = 0.62 if index % 2 == 0 else 0.70
    return _oklch(lightness, 0.145, math.tau * index / count + 0.75)


def _oklch(lightness: float, chroma: float, hue: float) -> str:
    """sRGB of a colour in OKLCh, where equal steps look equal (Björn Ottosson, "A perceptual color space", 2020)."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(min(1.0, max(0.0, channel)))):02x}" for channel in linear)


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
