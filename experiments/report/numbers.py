"""Numbers as the reader of one language writes them: ``1.25 ms`` in English, ``1,25 ms`` in Portuguese."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TypeGuard

from experiments.units import format_bytes, format_rate, format_seconds

__all__ = ["Numbers"]

_QUANTITY = re.compile(r"([-+\d.e]+)(\D*)")
_NARROW_SPACE = "\u202f"  # keeps a number and its unit on one line
_DASH = "–"


@dataclass(frozen=True, slots=True)
class Numbers:
    """A way to print quantities; ``decimal`` is the mark between whole and fraction.

    A value that is missing or not finite prints as a dash, never as ``nan``.
    """

    decimal: str = "."

    def seconds(self, value: float | None) -> str:
        """``0.00125`` as ``1.25 ms``; what is shorter than a hundredth of a nanosecond as ``0 s``."""
        if not _known(value):
            return _DASH
        return self._spaced(format_seconds(value if abs(value) >= 1e-11 else 0.0, digits=3)).replace("us", "µs")

    def count(self, value: int) -> str:
        """``14400`` as ``14 400``, which is clear in every language."""
        return f"{value:,}".replace(",", _NARROW_SPACE)

    def nbytes(self, value: int) -> str:
        """``65536`` as ``64 KiB``."""
        return self._spaced(format_bytes(value))

    def about_bytes(self, value: float) -> str:
        """A size that was computed, to three digits: ``14023.4`` as ``13.7 KiB``."""
        power = max(0, min(4, int(math.log2(value) // 10))) if value >= 1 else 0
        return f"{self.plain(value / 1024**power)}{_NARROW_SPACE}{('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"

    def probability(self, value: float | None) -> str:
        """A p value: ``0.0213`` as ``0.021``, and what is smaller than a thousandth as ``<0.001``."""
        if not _known(value):
            return _DASH
        return self._marked("<0.001" if value < 0.001 else f"{value:.2g}")

    def rate(self, value: float | None) -> str:
        """Bytes per second: ``1.25e9`` as ``1.25 GB/s``."""
        return self._spaced(format_rate(value, digits=3)) if _known(value) else _DASH

    def line_rate(self, value: float | None) -> str:
        """Bytes per second as networks are sold: ``12.5e6`` as ``100 Mbit/s``."""
        return self._spaced(format_rate(value * 8, digits=3).replace("B/s", "bit/s")) if _known(value) else _DASH

    def factor(self, value: float | None) -> str:
        """A ratio of two times: ``2.345`` as ``2.35×``, with fewer digits after the mark from ten up."""
        if not _known(value):
            return _DASH
        digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
        return self._marked(f"{value:.{digits}f}") + "×"

    def percent(self, value: float | None) -> str:
        """A share: ``0.4321`` as ``43 %``, with one digit after the mark below ten per cent, and ``<0.1 %``."""
        if not _known(value):
            return _DASH
        if 0 < value < 0.0005:
            return self._marked(f"<0.1{_NARROW_SPACE}%")
        digits = 1 if abs(value) < 0.0995 else 0
        return self._marked(f"{value * 100:.{digits}f}") + _NARROW_SPACE + "%"

    def plain(self, value: float | None, digits: int = 3) -> str:
        """A number without a unit, to ``digits`` significant digits."""
        return self._marked(f"{value:.{digits}g}") if _known(value) else _DASH

    def _spaced(self, text: str) -> str:
        match = _QUANTITY.fullmatch(text)
        return f"{self._marked(match[1])}{_NARROW_SPACE}{match[2]}" if match else text

    def _marked(self, number: str) -> str:
        return number.replace(".", self.decimal)


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
