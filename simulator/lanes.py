"""Many ranks in the place of one: what an algorithm computes with its rank, it computes for all of them at once.

``(rank + 1) % size`` means the same for an array. So an algorithm is called once with a ``Lanes``, and only where its
ranks part ways (a test that some pass and others fail) are they called apart.
"""

from __future__ import annotations

import operator
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

__all__ = ["Diverged", "Lanes"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_LARGEST = (1 << 62) - 1
"""Values beyond this are left to Python's integers, which do not overflow."""


class Diverged(BaseException):
    """Lanes differ where one answer is needed. No ``Exception``: an algorithm must not catch it by accident.

    ``where``: bool, one for each lane, by which the ranks are to be parted; None where nothing but an int will do.
    """

    def __init__(self, where: Bools | None = None) -> None:
        self.where = where


class Lanes:
    """One int for each of many ranks, that computes as an int does.

    ``values``: int64 of shape (lanes,), never written to. A comparison gives a plain bool where all lanes agree. What
    cannot be said for all lanes at once raises ``Diverged``, and so does all that only a real int can do; ``stained``
    then says so to whoever holds these ranks, whatever the algorithm makes of the exception. It passes for an int
    with ``isinstance``; an algorithm that asks for ``type(rank) is int`` is not understood.
    """

    __slots__ = ("_high", "_low", "_stain", "values")

    def __init__(self, values: Ints, low: int, high: int, stain: list[bool] | None = None) -> None:
        """``low`` and ``high`` bound the values, and need not be reached."""
        self.values = values
        self._low = low
        self._high = high
        self._stain = [] if stain is None else stain

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride] - what isinstance looks at
        return int

    @property
    def stained(self) -> bool:
        """Whether these lanes, or any computed from the same ranks, ever failed to stand for an int."""
        return bool(self._stain)

    def _refusal(self, where: Bools | None = None) -> Diverged:
        self._stain.append(True)
        return Diverged(where)

    def _made(self, values: Ints, low: int, high: int) -> Lanes:
        return Lanes(values, low, high, self._stain)

    def _operand(self, other: object) -> tuple[int | Ints, int, int]:
        """The other side of an operation and its bounds."""
        if type(other) is Lanes:
            return other.values, other._low, other._high
        if type(other) is not int:
            if not isinstance(other, SupportsIndex):
                raise self._refusal()
            other = operator.index(other)
        if not -_LARGEST <= other <= _LARGEST:
            raise self._refusal()
        return other, other, other

    def _check(self, *reached: int) -> tuple[int, int]:
        low, high = min(reached), max(reached)
        if low < -_LARGEST or high > _LARGEST:
            raise self._refusal()
        return low, high

    # --- arithmetic -----------------------------------------------------------------------------------------------

    def __add__(self, other: object) -> Lanes:
        values, low, high = self._operand(other)
        return self._made(self.values + values, *self._check(self._low + low, self._high + high))

    __radd__ = __add__

    def __sub__(self, other: object) -> Lanes:
        values, low, high = self._operand(other)
        return self._made(self.values - values, *self._check(self._low - high, self._high - low))

    def __rsub__(self, other: object) -> Lanes:
        return -self + other

    def __neg__(self) -> Lanes:
        return self._made(-self.values, -self._high, -self._low)

    def __pos__(self) -> Lanes:
        return self

    def __invert__(self) -> Lanes:
        return self._made(~self.values, ~self._high, ~self._low)

    def __abs__(self) -> Lanes:
        return self._made(np.abs(self.values), 0, max(abs(self._low), abs(self._high)))

    def __mul__(self, other: object) -> Lanes:
        values, low, high = self._operand(other)
        reached = (self._low * low, self._low * high, self._high * low, self._high * high)
        bounds = self._check(*reached)
        return self._made(self.values * values, *bounds)

    __rmul__ = __mul__

    def __mod__(self, other: object) -> Lanes:
        values, low, high = self._operand(other)
        if low <= 0:
            raise self._refusal()
        if isinstance(values, int):
            return self._modulo(values)
        return self._made(self.values % values, 0, high - 1)

    def _modulo(self, m: int) -> Lanes:
        """Remainders without a division wherever the bounds allow it, for division is ten times as slow."""
        period, last = self._low // m, self._high // m
        if last == period:
            return (
                self._made(self.values - period * m, self._low - period * m, self._high - period * m) if last else self
            )
        if m & (m - 1) == 0:
            return self._made(self.values & (m - 1), 0, m - 1)
        if last == period + 1:
            values = self.values - last * m if last else self.values
            return self._made(values + ((values >> 63) & m), 0, m - 1)
        return self._made(self.values % m, 0, m - 1)

    def __floordiv__(self, other: object) -> Lanes:
        values, low, high = self._operand(other)
        if low <= 0:
            raise self._refusal()
        reached = self._check(self._low // low, self._low // high, self._high // low, self._high // high)
        return self._made(self.values // values, *reached)

    def __divmod__(self, other: object) -> tuple[Lanes, Lanes]:
        return self // other, self % other

    def __lshift__(self, other: object) -> Lanes:
        values, low, high = self._operand(other)
        if low < 0 or high > 62:
            raise self._refusal()
        bounds = self._check(self._low << low, self._low << high, self._high << low, self._high << high)
        return self._made(self.values << values, *bounds)

    def __rshift__(self, other: object) -> Lanes:
        values, low, high = self._operand(other)
        if low < 0 or high > 62:
            raise self._refusal()
        bounds = self._check(self._low >> low, self._low >> high, self._high >> low, self._high >> high)
        return self._made(self.values >> values, *bounds)

    def __and__(self, other: object) -> Lanes:
        values, low, high = self._operand(other)
        if self._low < 0 and low < 0:
            return self._made(self.values & values, -_beyond(self._low, low) - 1, max(self._high, high, 0))
        tops = [top for bottom, top in ((self._low, self._high), (low, high)) if bottom >= 0]
        return self._made(self.values & values, 0, min(tops))

    __rand__ = __and__

    def __or__(self, other: object) -> Lanes:
        values, low, high = self._operand(other)
        return self._made(self.values | values, *self._bits(low, high))

    __ror__ = __or__

    def __xor__(self, other: object) -> Lanes:
        values, low, high = self._operand(other)
        return self._made(self.values ^ values, *self._bits(low, high))

    __rxor__ = __xor__

    def _bits(self, low: int, high: int) -> tuple[int, int]:
        beyond = _beyond(self._low, self._high, low, high)
        return (-beyond - 1 if self._low < 0 or low < 0 else 0), beyond

    def _reflected(self, other: object) -> Lanes:
        """An int as lanes, for operations that do not commute."""
        value, low, high = self._operand(other)
        return self._made(np.full(len(self.values), value, dtype=np.int64), low, high)

    def __rmod__(self, other: object) -> Lanes:
        return self._reflected(other) % self

    def __rfloordiv__(self, other: object) -> Lanes:
        return self._reflected(other) // self

    def __rdivmod__(self, other: object) -> tuple[Lanes, Lanes]:
        return divmod(self._reflected(other), self)

    def __rlshift__(self, other: object) -> Lanes:
        return self._reflected(other) << self

    def __rrshift__(self, other: object) -> Lanes:
        return self._reflected(other) >> self

    # --- tests: one answer for all lanes, or Diverged ---------------------------------------------------------------

    def _decide(self, where: Bools) -> bool:
        held = int(np.count_nonzero(where))
        if 0 < held < len(where):
            raise self._refusal(where)
        return held > 0

    def __lt__(self, other: object) -> bool:
        values, low, high = self._operand(other)
        return self._high < low or (self._low < high and self._decide(self.values < values))

    def __le__(self, other: object) -> bool:
        values, low, high = self._operand(other)
        return self._high <= low or (self._low <= high and self._decide(self.values <= values))

    def __gt__(self, other: object) -> bool:
        return not self <= other

    def __ge__(self, other: object) -> bool:
        return not self < other

    def __eq__(self, other: object) -> bool:
        if other is None or isinstance(other, str):
            return False
        values, low, high = self._operand(other)
        return self._low <= high and low <= self._high and self._decide(self.values == values)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __bool__(self) -> bool:
        return self != 0

    # --- what only a real int can do --------------------------------------------------------------------------------

    def __index__(self) -> int:
        first = int(self.values[0])
        if self._low == self._high or not np.any(self.values != first):
            return first
        raise self._refusal()

    __int__ = __index__

    def __hash__(self) -> int:
        raise self._refusal()

    def __float__(self) -> float:
        raise self._refusal()

    def __complex__(self) -> complex:
        raise self._refusal()

    def __round__(self, digits: object = None) -> int:
        raise self._refusal()

    def __str__(self) -> str:
        raise self._refusal()

    __repr__ = __str__

    def __format__(self, style: str) -> str:
        raise self._refusal()

    def __truediv__(self, other: object) -> float:
        raise self._refusal()

    def __pow__(self, other: object) -> int:
        raise self._refusal()

    __rtruediv__, __rpow__ = __truediv__, __pow__

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[np.generic]:
        raise self._refusal()

    def __array_ufunc__(self, function: object, method: str, *inputs: object) -> NDArray[np.generic]:
        raise self._refusal()

    def __getattr__(self, name: str) -> object:
        if hasattr(int, name):
            raise self._refusal()
        raise AttributeError(f"'int' object has no attribute {name!r}")


def _beyond(*values: int) -> int:
    """The least number of the form 2^k - 1 that no operation on the bits of ``values`` can pass."""
    return (1 << max(value.bit_length() for value in values)) - 1
