"""What there is to measure of the kernels, each family by the list that its own module keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.kernel_places import Place
from kernels import checksum, compress, norms, optimise, reduce
from kernels.cpu.arrays import KINDS

__all__ = ["FAMILIES", "Case"]

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Case:
    """One kernel on arrays of ``nbytes`` bytes each, and what NumPy does for the same end, if it does.

    ``moved``: bytes that have to be read and written at the least, each array's once; a store's reading of the line
    that it writes to is not counted.
    """

    family: str
    kernel: str
    dtype: str
    nbytes: int
    in_place: bool
    moved: int
    run: Call
    numpy: Call | None


def reductions(place: Place, dtype: np.dtype[Any], nbytes: int) -> Iterator[Case]:
    """Two inputs, in place and apart, for each operation; sums of four and of eight."""
    if dtype not in KINDS:
        return
    source, out, *others = (place.array(_values(dtype, nbytes, seed)) for seed in range(9))
    for name in reduce.names():
        reduction = reduce.get(name)
        if not reduction.supports(dtype):
            continue
        fold = reduction.on(dtype) if place.name == "cpu" else reduction
        for in_place, target in ((True, source), (False, out)):
            ufunc = _numpy(place, reduction.function, source, others[0], target)
            yield Case("reduce", name, dtype.name, nbytes, in_place, 3 * source.nbytes,
                       _call(fold, source, others[0], target), ufunc)  # fmt: skip
    if reduce.get("sum").supports(dtype):
        for inputs in (4, 8):
            arrays = [source, *others][:inputs]
            chain = _numpy(place, _chained, arrays, out)
            yield Case("reduce", f"sum of {inputs}", dtype.name, nbytes, False, (inputs + 1) * source.nbytes,
                       _call(reduce.get("sum").fold, arrays, out), chain)  # fmt: skip


def factors(place: Place, dtype: np.dtype[Any], nbytes: int) -> Iterator[Case]:
    """An average of four, and scale-and-add in place."""
    if dtype not in KINDS or not (dtype.kind in "fc" or dtype.name == "bfloat16"):
        return
    *arrays, out = (place.array(_values(dtype, nbytes, seed)) for seed in range(5))
    yield Case("reduce", "average of 4", dtype.name, nbytes, False, 5 * out.nbytes,
               _call(reduce.average, arrays, out), _numpy(place, _mean, arrays, out))  # fmt: skip
    yield Case("reduce", "scale_add", dtype.name, nbytes, True, 3 * out.nbytes,
               _call(reduce.scale_add, out, arrays[0], 0.5, out),
               _numpy(place, _scaled_sum, out, arrays[0], 0.5, out))  # fmt: skip


def encodings(place: Place, dtype: np.dtype[Any], nbytes: int) -> Iterator[Case]:
    """Encoding with error feedback and decoding, of float32."""
    if dtype != np.float32:
        return
    values, residual = (place.array(_values(dtype, nbytes, seed)) for seed in range(2))
    for name in compress.names():
        encoding = compress.get(name)
        wire = place.array(np.zeros(encoding.nbytes(len(values)), np.uint8))
        encoding.encode(values, wire)
        yield Case("compress", f"{name} encode", dtype.name, nbytes, False, 4 * values.nbytes + wire.nbytes,
                   _call(encoding.encode_feedback, values, wire, residual), None)  # fmt: skip
        yield Case("compress", f"{name} decode", dtype.name, nbytes, False, values.nbytes + wire.nbytes,
                   _call(encoding.decode, wire, values), None)  # fmt: skip


def optimisers(place: Place, dtype: np.dtype[Any], nbytes: int) -> Iterator[Case]:
    """One step: weights and state read and written, the gradient read."""
    if dtype.name not in ("float32", "float64"):
        return
    weights, gradient = (place.array(_values(dtype, nbytes, seed)) for seed in range(2))
    for name in optimise.names():
        method = optimise.get(name, learning_rate=1e-3)
        state = method.state(weights)
        moved = 3 * weights.nbytes + 2 * sum(array.nbytes for array in state)
        yield Case("optimise", name, dtype.name, nbytes, True, moved,
                   _call(method.step, weights, gradient, state, 1), None)  # fmt: skip


def measures(place: Place, dtype: np.dtype[Any], nbytes: int) -> Iterator[Case]:
    """Norms and their kin: the array is read once."""
    if dtype.name not in norms.DTYPES:
        return
    array = place.array(_values(dtype, nbytes, 0))
    with_numpy: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "l2": (norms.l2, np.linalg.norm),
        "absmax": (norms.absmax, _largest),
        "nonfinite": (norms.nonfinite, _not_finite),
    }
    for name, (kernel, usual) in with_numpy.items():
        yield Case("norms", name, dtype.name, nbytes, False, array.nbytes,
                   _call(kernel, [array]), _numpy(place, usual, array))  # fmt: skip


def checksums(place: Place, dtype: np.dtype[Any], nbytes: int) -> Iterator[Case]:
    """Of bytes."""
    if dtype != np.uint8:
        return
    array = place.array(_values(dtype, nbytes, 0))
    for name in checksum.names():
        if place.name == "cpu" or name != "xxh64":  # which is one chain, and not for devices
            yield Case("checksum", name, dtype.name, nbytes, False, array.nbytes,
                       _call(checksum.get(name), array), None)  # fmt: skip


FAMILIES: Mapping[str, tuple[Callable[[Place, np.dtype[Any], int], Iterator[Case]], ...]] = MappingProxyType(
    {
        "reduce": (reductions, factors),
        "compress": (encodings,),
        "optimise": (optimisers,),
        "norms": (measures,),
        "checksum": (checksums,),
    }
)
"""What yields the cases of each family for a place, a dtype and a size; nothing for a dtype that is not its own."""


def _values(dtype: np.dtype[Any], nbytes: int, seed: int) -> NDArray[Any]:
    """Small positive numbers: no sum of them overflows, no product vanishes."""
    count = max(1, nbytes // dtype.itemsize)
    return np.resize(np.random.default_rng(seed).integers(1, 3, 4096), count).astype(dtype)


def _call(function: Callable[..., object], *arguments: Any) -> Call:
    return lambda: function(*arguments)


def _numpy(place: Place, function: Callable[..., object], *arguments: Any) -> Call | None:
    """What NumPy does, where NumPy does it; the last argument of a ufunc is where the result goes."""
    if place.name != "cpu":
        return None
    if isinstance(function, np.ufunc):
        *inputs, out = arguments
        return lambda: function(*inputs, out=out)
    return lambda: function(*arguments)


def _chained(arrays: list[Any], out: Any) -> None:
    np.add(arrays[0], arrays[1], out=out)
    for array in arrays[2:]:
        np.add(out, array, out=out)


def _mean(arrays: list[Any], out: Any) -> None:
    _chained(arrays, out)
    np.multiply(out, out.dtype.type(1 / len(arrays)), out=out)


def _scaled_sum(left: Any, right: Any, scale: float, out: Any) -> None:
    np.add(left, right * right.dtype.type(scale), out=out)


def _largest(values: NDArray[Any]) -> Any:
    return np.abs(values).max()


def _not_finite(values: NDArray[Any]) -> int:
    return int(np.count_nonzero(~np.isfinite(values)))
