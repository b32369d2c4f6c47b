"""What an encoding is: float32 numbers in fewer bytes, as many as their count alone tells, and back again."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

__all__ = ["Buffer", "Encoding", "Summable"]

Buffer: TypeAlias = Any
"""A NumPy array, a ``DeviceArray``, or what shows itself by ``__cuda_array_interface__``; contiguous."""


@runtime_checkable
class Encoding(Protocol):
    """A frozen value; what it does depends on its arguments alone, and is the same, bit for bit, on host and device.

    ``values`` and ``residual`` are float32 of one length, ``wire`` is uint8 of ``nbytes(len(values))``; all in one
    place, and none overlaps another. On a device the work is queued on the stream of ``values``.

    Raises TypeError for another dtype, ValueError for another length or a strided or read-only array, BufferError for
    arrays in different places.
    """

    @property
    def name(self) -> str:
        """What ``get`` makes the same encoding of."""
        ...

    def nbytes(self, count: int) -> int:
        """Bytes on the wire for ``count`` elements."""
        ...

    def encode(self, values: Buffer, wire: Buffer, *, counter: int = 0) -> None:
        """Fill ``wire``. ``counter`` (0 to 2**64 - 1) picks the random numbers, where there are any."""
        ...

    def decode(self, wire: Buffer, values: Buffer) -> None:
        """Fill ``values``."""
        ...

    def decode_add(self, wire: Buffer, values: Buffer) -> None:
        """``values += decoded``."""
        ...

    def encode_feedback(self, values: Buffer, wire: Buffer, residual: Buffer, *, counter: int = 0) -> None:
        """Encode x = ``values + residual``; leave in ``values`` what is decoded and in ``residual`` x less that.

        So nothing is lost but put off: decoded + residual = x up to one rounding. Where what is decoded is not finite
        (x was not, or overflowed) the residual is 0: one bad step does not spoil the next.
        Source: Seide et al. 2014 (Interspeech, section 3); Karimireddy et al. 2019 (ICML), algorithm 2.
        """
        ...

    def bound(self, values: Buffer) -> float:
        """A number that |decoded - value| exceeds for no element; inf or NaN where values are not finite."""
        ...


@runtime_checkable
class Summable(Encoding, Protocol):
    """An encoding whose messages can be added without decoding them into memory."""

    def reduce(self, left: Buffer, right: Buffer, out: Buffer, *, count: int, counter: int = 0) -> None:
        """``out`` = the message of the sum of what two messages of ``count`` elements hold; ``out`` may be one."""
        ...
