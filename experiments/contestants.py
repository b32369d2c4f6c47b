"""What the benchmark lets compete: an algorithm, or one with an encoding on the wire, spelled ``ring@int8``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectives.catalogue import Algorithm
from experiments.arguments import algorithm
from experiments.errors import UsageFault

if TYPE_CHECKING:
    from kernels.compress import Encoding

__all__ = ["Contestant", "parse"]

_DTYPE = "float32"


@dataclass(frozen=True, slots=True)
class Contestant:
    """``encoding`` is the name of what is on the wire, None for the elements themselves."""

    algorithm: Algorithm
    encoding: str | None = None

    @property
    def label(self) -> str:
        """As it is spelled."""
        return self.algorithm.label if self.encoding is None else f"{self.algorithm.label}@{self.encoding}"

    def require(self, op: str, dtype: str) -> None:
        """Raise UsageFault unless such vectors travel in the encoding, if there is one."""
        if self.encoding is not None and (op, dtype) != ("sum", _DTYPE):
            raise UsageFault(f"{self.label} measures sums of {_DTYPE}, not {op} of {dtype}")

    def off(self, ranks: int) -> float:
        """How far an element of the result may be off: 0 without an encoding."""
        if self.encoding is None:
            return 0.0
        from collectives.compression.bounds import error_bound
        from experiments import payload

        own = [payload.contribution(rank, ranks, payload.PERIOD, _DTYPE, "sum") for rank in range(ranks)]
        return error_bound(self.algorithm, _encoding(self.encoding), [float(abs(one).max()) for one in own])


def parse(text: str) -> Contestant:
    """``ring``, ``chain:segments=16``, ``ring@int8``; UsageFault for what is not known, or could not be checked."""
    name, at, encoding = text.partition("@")
    if not at:
        return Contestant(algorithm(name))
    return Contestant(algorithm(name), _encoding(encoding).name)


def _encoding(text: str) -> Encoding:
    from collectives.compression.shared import Shared
    from kernels import compress

    try:
        found = compress.get(text)
    except (KeyError, ValueError) as fault:
        raise UsageFault(str(fault.args[0])) from fault
    if isinstance(found, Shared):
        raise UsageFault(f"{text} leaves elements out, so a result could not be checked; measure another encoding")
    return found
