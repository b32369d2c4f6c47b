"""The kernels of ``kernels.cuda.optimise``: what a thread loads, computes by the formula and stores."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Any, cast, get_args, get_type_hints

import numpy as np
from numba import cuda as numba_cuda
from numba.cuda import extending

from kernels.cuda import exact, halves
from kernels.cuda.kernel import Kernel
from kernels.cuda.vector import lanes
from kernels.formulas import optimise as formulas

__all__ = ["COEFFICIENTS", "kernel"]

COEFFICIENTS = 8
"""Numbers that a formula takes at most."""

cuda = cast("Any", numba_cuda)
overload = cast("Callable[..., Callable[[Any], Any]]", cast("Any", extending).overload)
inlined = cast("Callable[[Any], Any]", cast("Any", extending).register_jitable)


@overload(formulas.times, strict=False)
def _times(left: Any, right: Any) -> Any:
    def product(left: Any, right: Any) -> Any:
        return exact.times(left, right)

    return product


for _formula in (formulas.trust, *formulas.FORMULAS):
    inlined(_formula)


@cache
def kernel(formula: Callable[..., Any], weights: str, gradient: str, copy: str | None, *, trusted: bool) -> Kernel:
    """The kernel for a formula and the dtypes of its arrays."""
    name = "_".join((formula.__name__, weights, gradient, *([copy] if copy else []), *(["trusted"] if trusted else [])))
    types = (*["int64"] * 11, *[weights] * (1 + COEFFICIENTS))
    registers = 96 if weights == "float64" else 80
    return Kernel(name, _strided(formula, weights, gradient, copy, trusted=trusted), types, registers=registers)


def _states(formula: Callable[..., Any]) -> int:
    """How many arrays of state a formula takes: its parameters but weight, gradient and coefficients."""
    return len(signature(formula).parameters) - 3


def _numbers(formula: Callable[..., Any]) -> int:
    """How many coefficients it takes, as their type says."""
    return len(get_args(get_type_hints(formula)["c"]))


def _strided(formula: Callable[..., Any], weights: str, gradient: str, copy: str | None, *, trusted: bool) -> Any:
    """A grid-stride loop over single elements at both ends, and one over groups."""
    halved = any(kind in halves.HALVES for kind in (gradient, copy))
    group = 2 * lanes(weights).count
    pace = group if halved else group // 2
    single = _step(formula, weights, gradient, copy, 1)
    grouped = _step(formula, weights, gradient, copy, group)
    times, load, real, numbers = formulas.times, lanes("float64").one, getattr(np, weights), _numbers(formula)

    def step(
        weights: int, gradient: int, first: int, second: int, target: int, copy: int, trust: int,
        head: int, groups: int, count: int, apart: int,
        scale: float, c0: float, c1: float, c2: float, c3: float, c4: float, c5: float, c6: float, c7: float,
    ) -> None:  # fmt: skip
        rate = times(c0, real(load(trust))) if trusted else c0
        c = (rate, c1, c2, c3, c4, c5, c6, c7)[:numbers]
        places = (weights, gradient, first, second, target, copy)
        start, stride = cuda.grid(1), cuda.gridsize(1)
        i = start
        while i < count - groups * group:
            single(places, i if i < head else i + groups * group, apart, scale, c)
            i += stride
        i = start
        while i < groups:
            grouped(places, head + i * pace, apart, scale, c)
            i += stride

    return step


def _step(formula: Callable[..., Any], weights: str, gradient: str, copy: str | None, count: int) -> Any:
    """``function(places, index, apart, scale, c)`` for ``count`` elements from ``index`` on; loads before stores."""
    load, store, size = _moves(weights, count)
    load_gradient, _, gradient_size = _moves(gradient, count)
    _, store_copy, copy_size = _moves(copy or weights, count)
    compute, states, copied = _lanes(formula, gradient, copy, count), _states(formula), copy is not None

    @inlined
    def step(places: Any, index: int, apart: int, scale: float, c: Any) -> None:
        weights, gradient, first, second, target, copy = places
        w, g = load(weights + index * size, apart), load_gradient(gradient + index * gradient_size, apart)
        a = load(first + index * size, apart) if states > 0 else w
        b = load(second + index * size, apart) if states > 1 else w
        w, a, b, half = compute(w, g, a, b, scale, c)
        store(target + index * size, apart, w)
        if states > 0:
            store(first + index * size, apart, a)
        if states > 1:
            store(second + index * size, apart, b)
        if copied:
            store_copy(copy + index * copy_size, apart, half)

    return step


@cache
def _moves(dtype: str, count: int) -> tuple[Any, Any, int]:
    """``load(address, apart)`` and ``store(address, apart, tuple)`` of ``count`` elements, and an element's size."""
    about = lanes("uint16" if dtype in halves.HALVES else dtype)
    if count == 1:
        return *_single(about.one, about.put), about.itemsize
    if count == about.count:
        return *_whole(about.load, about.store), about.itemsize
    return *_both(about.load, about.store, about.count), about.itemsize


def _single(one: Any, put: Any) -> tuple[Any, Any]:
    @inlined
    def load(address: int, apart: int) -> Any:
        return (one(address),)

    @inlined
    def store(address: int, apart: int, values: Any) -> None:
        put(address, values[0])

    return load, store


def _whole(load_one: Any, store_one: Any) -> tuple[Any, Any]:
    @inlined
    def load(address: int, apart: int) -> Any:
        return load_one(address)

    @inlined
    def store(address: int, apart: int, values: Any) -> None:
        store_one(address, values)

    return load, store


def _both(load_one: Any, store_one: Any, middle: int) -> tuple[Any, Any]:
    @inlined
    def load(address: int, apart: int) -> Any:
        return load_one(address) + load_one(address + apart)

    @inlined
    def store(address: int, apart: int, values: Any) -> None:
        store_one(address, values[:middle])
        store_one(address + apart, values[middle:])

    return load, store


def _lanes(formula: Callable[..., Any], gradient: str, copy: str | None, count: int) -> Any:
    """``function(w, g, a, b, scale, c)`` of tuples of ``count`` numbers: the formula by lanes, and the rounded copy."""
    if count == 1:
        return _lane(formula, gradient, copy)
    part, middle = _lanes(formula, gradient, copy, count // 2), count // 2

    @inlined
    def both(w: Any, g: Any, a: Any, b: Any, scale: float, c: Any) -> Any:
        w0, a0, b0, half0 = part(w[:middle], g[:middle], a[:middle], b[:middle], scale, c)
        w1, a1, b1, half1 = part(w[middle:], g[middle:], a[middle:], b[middle:], scale, c)
        return w0 + w1, a0 + a1, b0 + b1, half0 + half1

    return both


def _lane(formula: Callable[..., Any], gradient: str, copy: str | None) -> Any:
    update, times = (_stateless, _with_one, _with_two)[_states(formula)](formula), formulas.times
    widened, narrowed = _converters(gradient)[0], _converters(copy)[1]

    @inlined
    def lane(w: Any, g: Any, a: Any, b: Any, scale: float, c: Any) -> Any:
        new, first, second = update(w[0], times(widened(g[0]), scale), a[0], b[0], c)
        return (new,), (first,), (second,), (narrowed(new),)

    return lane


def _stateless(formula: Callable[..., Any]) -> Any:
    @inlined
    def update(w: float, g: float, a: float, b: float, c: Any) -> Any:
        return formula(w, g, c), a, b

    return update


def _with_one(formula: Callable[..., Any]) -> Any:
    @inlined
    def update(w: float, g: float, a: float, b: float, c: Any) -> Any:
        w, a = formula(w, g, a, c)
        return w, a, b

    return update


def _with_two(formula: Callable[..., Any]) -> Any:
    @inlined
    def update(w: float, g: float, a: float, b: float, c: Any) -> Any:
        return formula(w, g, a, b, c)

    return update


def _converters(dtype: str | None) -> tuple[Any, Any]:
    """To a number that can be computed with, and from it."""
    if dtype == "float16":
        return halves.float16_to_float32, halves.float32_to_float16
    if dtype == "bfloat16":
        return halves.bfloat16_to_float32, halves.float32_to_bfloat16
    return _same, _same


@inlined
def _same(value: Any) -> Any:
    return value
