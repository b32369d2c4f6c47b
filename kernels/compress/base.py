"""What all encodings do alike: check the arrays, and hand them to the form for where they live."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any, ClassVar

from kernels.compress.encoding import Buffer
from kernels.compress.place import checked_counter, fitting, form, writable

__all__ = ["Formed", "FormedSum"]


class Formed(ABC):
    """An encoding (see ``Encoding``) whose work is done by the functions of ``kernels.cpu.X`` and ``kernels.cuda.X``,

    X being ``module``; they take flat arrays, the encoding itself and the counter. Subclasses are frozen dataclasses.
    """

    __slots__ = ()
    module: ClassVar[str]

    @property
    def name(self) -> str:
        """The module's, and the parameters that are not the usual ones."""
        given = [(field, getattr(self, field.name)) for field in fields(self)]  # pyright: ignore[reportArgumentType]
        chosen = [f"{field.name}={value}" for field, value in given if value != field.default]
        return f"{self.module}:{','.join(chosen)}" if chosen else self.module

    @abstractmethod
    def nbytes(self, count: int) -> int:
        """Bytes on the wire for ``count`` elements."""

    def encode(self, values: Buffer, wire: Buffer, *, counter: int = 0) -> None:
        """Fill ``wire``."""
        (values,), (wire,) = fitting(self.nbytes, [values], [wire])
        checked_counter(counter)
        writable(wire)
        self._form(values).encode(values, wire, self, counter)

    def decode(self, wire: Buffer, values: Buffer) -> None:
        """Fill ``values``."""
        (values,), (wire,) = fitting(self.nbytes, [values], [wire])
        writable(values)
        self._form(values).decode(wire, values, self)

    def decode_add(self, wire: Buffer, values: Buffer) -> None:
        """``values += decoded``, in one pass."""
        (values,), (wire,) = fitting(self.nbytes, [values], [wire])
        writable(values)
        self._form(values).decode_add(wire, values, self)

    def encode_feedback(self, values: Buffer, wire: Buffer, residual: Buffer, *, counter: int = 0) -> None:
        """Encode with error feedback."""
        (values, residual), (wire,) = fitting(self.nbytes, [values, residual], [wire])
        checked_counter(counter)
        writable(values, wire, residual)
        self._form(values).encode_feedback(values, wire, residual, self, counter)

    def _form(self, flat: Any) -> Any:
        return form(self.module, flat)


class FormedSum(Formed):
    """One that can add messages as well; see ``Summable``."""

    __slots__ = ()

    def reduce(self, left: Buffer, right: Buffer, out: Buffer, *, count: int, counter: int = 0) -> None:
        """``out`` = the message of the sum of what two messages of ``count`` elements hold."""
        _, (left, right, out) = fitting(self.nbytes, [], [left, right, out], count)
        checked_counter(counter)
        writable(out)
        self._form(out).reduce(left, right, out, count, self, counter)
