"""MPI's named datatypes as NumPy dtypes, and what may be reduced on each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from mpi4py import MPI
from mpi4py.util import dtlib

__all__ = ["Element", "of_dtype", "of_format", "of_mpi"]

_KINDS = {
    "integer": (
        "AINT COUNT OFFSET SIGNED_CHAR SHORT INT LONG LONG_LONG UNSIGNED_CHAR UNSIGNED_SHORT UNSIGNED UNSIGNED_LONG "
        "UNSIGNED_LONG_LONG INT8_T INT16_T INT32_T INT64_T UINT8_T UINT16_T UINT32_T UINT64_T "
        "INTEGER INTEGER1 INTEGER2 INTEGER4 INTEGER8"
    ),
    "floating": "FLOAT DOUBLE LONG_DOUBLE FLOAT16_T REAL DOUBLE_PRECISION REAL2 REAL4 REAL8",
    "complex": (
        "C_FLOAT_COMPLEX C_DOUBLE_COMPLEX C_LONG_DOUBLE_COMPLEX CXX_FLOAT_COMPLEX CXX_DOUBLE_COMPLEX "
        "CXX_LONG_DOUBLE_COMPLEX COMPLEX DOUBLE_COMPLEX COMPLEX8 COMPLEX16"
    ),
    "logical": "C_BOOL CXX_BOOL",
    "byte": "BYTE",
    "pair": "FLOAT_INT DOUBLE_INT LONG_INT TWOINT SHORT_INT LONG_DOUBLE_INT",
    # Moved as they are and never reduced: what Fortran takes for true differs from compiler to compiler.
    "opaque": "CHAR CHARACTER WCHAR PACKED LOGICAL LOGICAL1 LOGICAL2 LOGICAL4 LOGICAL8",
}


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """One element of a message: NumPy ``dtype``, ``kind`` (which tells what may be reduced on it), MPI ``datatype``.

    ``datatype`` is None for the dtypes that MPI lacks (float16, bfloat16). ``key`` stands for it in caches.
    ``size`` is its bytes in a message, ``extent`` the bytes from one element to the next. For a derived datatype the
    ``dtype`` is that of its bytes.
    """

    dtype: np.dtype[Any]
    kind: str
    datatype: MPI.Datatype | None
    key: int | str
    size: int
    extent: int

    @property
    def name(self) -> str:
        """What messages call it."""
        if self.derived:
            return "a derived datatype"
        return self.datatype.Get_name() if self.datatype is not None else self.dtype.name

    @property
    def derived(self) -> bool:
        """Whether it is a derived datatype, which travels packed and is never reduced here."""
        return self.kind == "derived"


@cache
def _named() -> Mapping[int, Element]:
    """Named datatypes by handle; those that this MPI lacks, or lays out unlike NumPy, are left out."""
    found: dict[int, Element] = {}
    for kind, names in _KINDS.items():
        for name in names.split():
            datatype: MPI.Datatype = getattr(MPI, name, MPI.DATATYPE_NULL)
            if datatype == MPI.DATATYPE_NULL or datatype.Get_size() == 0:
                continue
            extent = datatype.Get_extent()[1]
            dtype = np.dtype(f"V{extent}") if kind == "opaque" else np.dtype(dtlib.to_numpy_dtype(datatype))
            if dtype.itemsize == extent:
                found.setdefault(datatype.handle, Element(dtype, kind, datatype, datatype.handle, extent, extent))
    return MappingProxyType(found)


def of_mpi(datatype: MPI.Datatype) -> Element | None:
    """The element of an MPI datatype; None for the null datatype and for one whose elements do not move forwards."""
    named = _named().get(datatype.handle)
    if named is not None or datatype == MPI.DATATYPE_NULL:
        return named
    size, extent = datatype.Get_size(), datatype.Get_extent()[1]
    return Element(np.dtype(np.uint8), "derived", datatype, datatype.handle, size, extent) if extent > 0 else None


@cache
def of_format(code: str) -> Element | None:
    """The element of a buffer-protocol format in native byte order, or None where mpi4py knows no datatype for it."""
    native = "@<" if np.little_endian else "@>"
    try:
        datatype = MPI.Datatype.fromcode(code[1:] if code[:1] in native and len(code) > 1 else code)
    except (KeyError, ValueError):
        return None
    return of_mpi(datatype)


@cache
def of_dtype(dtype: np.dtype[Any]) -> Element | None:
    """The element of a NumPy dtype in native byte order; None for objects, strings, dates and structures."""
    if dtype.name in ("float16", "bfloat16") and dtype.isnative:
        return Element(dtype, "floating", None, dtype.name, dtype.itemsize, dtype.itemsize)
    if not dtype.isnative or dtype.kind not in "?bBiufcS":
        return None
    return of_format(dtype.char)
