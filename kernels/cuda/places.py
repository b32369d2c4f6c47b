"""Where the words of a strided array lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba.cuda import extending

__all__ = ["places"]

inlined = cast("Callable[[Any], Any]", cast("Any", extending).register_jitable)


def places(axes: int, number: Any) -> Any:
    """``function(word, lengths, here, there)``: the word's offsets in bytes on both sides; innermost axis first."""
    if axes == 1:
        return _last
    outer = places(axes - 1, number)

    @inlined
    def offsets(word: Any, lengths: Any, here: Any, there: Any) -> Any:
        inside, outside = word % lengths[0], word // lengths[0]
        a, b = outer(number(outside), lengths[1:], here[1:], there[1:])
        return a + np.int64(inside) * here[0], b + np.int64(inside) * there[0]

    return offsets


@inlined
def _last(word: Any, lengths: Any, here: Any, there: Any) -> Any:
    return np.int64(word) * here[0], np.int64(word) * there[0]
