"""From an ``MPI.Op`` and an element type to the function that an executor folds with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from mpi4py import MPI
from numpy.typing import NDArray

from collectives.datatypes import Element
from kernels import reduce
from kernels.cpu.arrays import KINDS

__all__ = ["Combine", "combiner", "name", "on_device"]

Combine = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], object]
"""``combine(left, right, out)`` computes ``out[:] = left ∘ right``; ``out`` is one of the two."""

_NUMBERS = frozenset({"integer", "floating", "complex"})
# MPI 4.1, section 6.9.2: which predefined operation is defined on which group of datatypes.
_DEFINED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        **dict.fromkeys(("sum", "prod"), _NUMBERS),
        **dict.fromkeys(("min", "max"), _NUMBERS - {"complex"}),
        **dict.fromkeys(("land", "lor", "lxor"), frozenset({"integer", "logical"})),
        **dict.fromkeys(("band", "bor", "bxor"), frozenset({"integer", "byte"})),
        **dict.fromkeys(("minloc", "maxloc"), frozenset({"pair"})),
    }
)


@cache
def _names() -> Mapping[int, str]:
    return MappingProxyType({getattr(MPI, known.upper()).handle: known for known in reduce.names()})


def name(op: MPI.Op) -> str:
    """``sum``, ``minloc`` ... for a predefined operation, ``user-defined`` for one made by ``MPI.Op.Create``."""
    return _names().get(op.handle, "predefined" if op.is_predefined else "user-defined")


def combiner(op: MPI.Op, element: Element) -> Combine | None:
    """What folds two arrays of such elements by ``op``; None where MPI does not define it, or could not do it.

    Our own kernels serve the predefined operations, also on float16 and bfloat16; ``MPI_Reduce_local`` the others.
    """
    known = _names().get(op.handle)
    if known is None:
        if op == MPI.OP_NULL or op.is_predefined or element.derived or element.datatype is None:
            return None
        return _by_mpi(op, element.datatype)
    if element.kind not in _DEFINED[known]:
        return None
    kernel = reduce.get(known)
    if kernel.supports(element.dtype):
        return kernel
    return _by_mpi(op, element.datatype) if element.datatype is not None else None


def on_device(combine: Combine, element: Element) -> bool:
    """Whether such a function of ours folds such elements on a device too; MPI's own folds only in the host."""
    return isinstance(combine, reduce.Reduction) and element.dtype in KINDS


def _by_mpi(op: MPI.Op, datatype: MPI.Datatype) -> Combine:
    """``MPI_Reduce_local(in, inout)`` computes ``inout = in ∘ inout``, so only the right side may be the result."""

    def combine(left: NDArray[Any], right: NDArray[Any], out: NDArray[Any]) -> None:
        target = out if out is right else right.copy()
        op.Reduce_local([left, left.size, datatype], [target, target.size, datatype])
        if target is not out:
            out[...] = target

    return combine
