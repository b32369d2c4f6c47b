"""Loads, stores and atomics. Source: PTX ISA 9.0, sections 9.7.9 (ld, st, cvta, isspacep) and 9.7.13 (atom, red)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.ptx.faults import Unknown
from tests.ptx.memory import LOCAL, SHARED
from tests.ptx.operands import KINDS, Opcode, Read, Step, sink, source
from tests.ptx.races import ATOMIC
from tests.ptx.syntax import Address, Immediate, Operand, Symbol, Vector
from tests.ptx.threads import Array, Threads

__all__ = ["ACCESS", "Operands"]

Operands = tuple[Operand, ...]
SPACES = ("global", "shared", "shared::cta", "local", "const", "param")
ORDERINGS = ("weak", "relaxed", "acquire", "release", "acq_rel", "volatile")
SCOPES = ("cta", "gpu", "sys")
HINTS = ("ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc", "L1::no_allocate", "L1::evict_first", "L1::evict_last",
         "L1::evict_normal", "L1::evict_unchanged", "L2::64B", "L2::128B", "L2::256B", "unified")  # fmt: skip


def load(opcode: Opcode, operands: Operands) -> Step:
    """``ld``, of one element or a vector; a parameter is read from the launch's arguments."""
    (kind,) = opcode.kind()
    space = _space(opcode)
    dtype, text = KINDS[kind].dtype, opcode.text
    targets = operands[0].parts if isinstance(operands[0], Vector) else (operands[0],)
    _counted(opcode, len(targets))
    writes = [sink(target, kind) for target in targets]
    if space == "param":
        return _argument(operands[1], kind, writes[0])
    where = _address(operands[1])

    def step(threads: Threads) -> None:
        width = dtype.itemsize * len(writes)
        values = threads.spaces.load(threads, space, where(threads), width, text)
        columns = values.view(dtype).reshape(-1, len(writes))
        for number, write in enumerate(writes):
            write(threads, columns[:, number])

    return step


def _argument(operand: Operand, kind: str, write: Callable[[Threads, Array], None]) -> Step:
    if not isinstance(operand, Address) or not isinstance(operand.base, Symbol):
        raise Unknown(f"the parameter {operand}")
    name, offset, dtype = operand.base.name, operand.offset, KINDS[kind].dtype

    def step(threads: Threads) -> None:
        write(threads, np.frombuffer(threads.spaces.arguments[name], dtype, 1, offset))

    return step


def store(opcode: Opcode, operands: Operands) -> Step:
    """``st``, of one element or a vector."""
    (kind,) = opcode.kind()
    space = _space(opcode)
    values = operands[1].parts if isinstance(operands[1], Vector) else (operands[1],)
    _counted(opcode, len(values))
    where, reads, text = _address(operands[0]), [source(value, kind) for value in values], opcode.text

    def step(threads: Threads) -> None:
        addresses = where(threads)
        columns = np.empty((addresses.size, len(reads)), KINDS[kind].dtype)
        for number, read in enumerate(reads):
            columns[:, number] = read(threads)
        packed = columns.view(f"V{columns.itemsize * len(reads)}")[:, 0]
        threads.spaces.store(threads, space, addresses, packed, text)

    return step


def _space(opcode: Opcode) -> str:
    """The state space; what is said of caches and ordering changes nothing here."""
    for words in (ORDERINGS, SCOPES, HINTS, HINTS):
        opcode.take(*words)
    space = opcode.take(*SPACES).removesuffix("::cta")
    return {"": "generic", "const": "global"}.get(space, space)


def _counted(opcode: Opcode, count: int) -> None:
    vector = opcode.take("v2", "v4", "v8")
    if count != int(vector[1:] or 1 if vector else 1):
        opcode.unknown()


def _address(operand: Operand) -> Read:
    """What computes the addresses of the active threads."""
    if not isinstance(operand, Address):
        raise Unknown(f"the address {operand}")
    offset = np.uint64(operand.offset % (1 << 64))
    if isinstance(operand.base, Immediate):
        constant = np.uint64(operand.base.value + operand.offset)
        return lambda threads: np.full(threads.indices().size, constant)
    name = operand.base.name
    if isinstance(operand.base, Symbol):
        return lambda threads: threads.named(name)[threads.active].astype(np.uint64) + offset
    return lambda threads: threads.register(name)[threads.active].astype(np.uint64) + offset


def update(opcode: Opcode, operands: Operands) -> Step:
    """``atom`` (which gives back what was there) and ``red``: thread after thread, in their order."""
    (kind,) = opcode.kind()
    space = _space(opcode)
    combine = UPDATES[opcode.need(*UPDATES)]
    opcode.take("noftz")
    if opcode.name == "atom":
        write, operands = sink(operands[0], kind), operands[1:]
    else:
        write = sink(Symbol("_"), kind)
    where, reads, text = _address(operands[0]), [source(operand, kind) for operand in operands[1:]], opcode.text
    dtype = KINDS[kind].dtype

    def step(threads: Threads) -> None:
        addresses = where(threads)
        before = np.empty(addresses.size, dtype)
        given = [np.broadcast_to(read(threads), addresses.size) for read in reads]
        everyone, spaces = threads.active, threads.spaces
        indices = threads.indices()
        for turn in _turns(addresses):
            threads.active = indices[turn]
            old = spaces.load(threads, space, addresses[turn], dtype.itemsize, text, ATOMIC).view(dtype)
            new = combine(old, *(values[turn] for values in given)).astype(dtype)
            spaces.store(threads, space, addresses[turn], new.view(f"V{dtype.itemsize}"), text, ATOMIC)
            before[turn] = old
        threads.active = everyone
        write(threads, before)

    return step


def _turns(addresses: Array) -> list[Array]:
    """Positions by turns, in each of which no address comes twice."""
    order = np.argsort(addresses, kind="stable")
    ranked = addresses[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    turn = np.arange(order.size) - np.repeat(starts, np.diff(np.append(starts, order.size)))
    return [order[turn == number] for number in range(int(turn.max()) + 1)]


def to_space(opcode: Opcode, operands: Operands) -> Step:
    """``cvta``: a generic address from one in a state space, or ``.to`` that space."""
    (kind,) = opcode.kind()
    back = opcode.take("to")
    base = {"global": 0, "const": 0, "shared": SHARED, "local": LOCAL, "param": 0}[_named(opcode)]
    write, read = sink(operands[0], kind), source(operands[1], kind)
    moved = np.uint64(base)
    return lambda threads: write(threads, read(threads) - moved if back else read(threads) + moved)


def _named(opcode: Opcode) -> str:
    return opcode.need(*SPACES).removesuffix("::cta")


UPDATES: dict[str, Callable[..., Array]] = {
    "add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "exch": lambda old, new: new,
    "cas": lambda old, wanted, new: np.where(old == wanted, new, old),
    "inc": lambda old, limit: np.where(old >= limit, 0, old + 1),
    "dec": lambda old, limit: np.where((old == 0) | (old > limit), limit, old - 1),
}  # fmt: skip

ACCESS: dict[str, Callable[[Opcode, Operands], Step]] = {
    "ld": load, "ldu": load, "st": store, "atom": update, "red": update, "cvta": to_space,
}  # fmt: skip
