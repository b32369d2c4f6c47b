"""Allreduces with compression, for the communicator: what is refused, which plan, the run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI

from collectives import buffers, memory, operations, selection
from collectives.buffers import Block, Declined, Vector
from collectives.catalogue import Algorithm
from collectives.compression.memory import Compress, Compression, Method
from collectives.compression.shared import Gather, Shared, Sum, steps
from collectives.compression.wires import Wires
from collectives.executors.encoded import Encoded, Flat, Floats, encode_plan
from collectives.executors.signature import Signature
from collectives.memory import Workspace
from collectives.places import in_the_host, joined
from collectives.runner import LARGEST_CACHE, Choice, Runner
from collectives.selection import Prices
from kernels.compress import Encoding
from kernels.device_array import DeviceArray

__all__ = ["Compressed", "encoded_prices"]

_FLOAT = np.dtype(np.float32)
_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


@dataclass(frozen=True, slots=True)
class _Key:
    """A kind of call."""

    count: int
    encoding: str
    choice: Choice


class Compressed:
    """Carries out compressed allreduces on one communicator, for one handle of it.

    Plans are kept by kind of call, and so is memory for the longest: the encoded vector, and as much as arrives in one
    round. ``uses`` counts what was run.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._plans: dict[_Key, tuple[Algorithm, Encoded]] = {}
        self._named: dict[str, Compression] = {}
        self._wires, self._work = Wires(), Workspace()
        self.uses = Counter[str]()

    def allreduce(self, send: Block | None, recv: Block, op: MPI.Op, choice: Choice, compress: Compress) -> None:
        """The sum of everybody's vector at everybody, ``compress``ed on its way; computed in float32.

        Float32 on a device is encoded and decoded there, on the stream of ``recv``; whatever else is on a device goes
        through the host. Raises ValueError for what is no sum of floating-point numbers, and for a ``choice`` that
        does not fit.
        """
        compression = self._compression(compress)
        _check(send, recv, op)
        send, recv = _placed(send, recv, compression.method)
        with np.errstate(all="ignore"):  # as MPI does; what is too large for a type is infinite
            self._sum_of(compression, send, recv, choice)
        recv.finish()
        if compression is not compress:
            compression.reset()  # another call by this name may be for another gradient

    def _sum_of(self, compression: Compression, send: Block | None, recv: Block, choice: Choice) -> None:
        if recv.element.dtype == _FLOAT:
            if send is not None:
                memory.copy(recv.octets, send.octets)
            self._sum(compression, recv.array, choice)
            return
        with self._work.borrowed(recv.count, _FLOAT, recv.octets) as values:
            np.copyto(values, (recv if send is None else send).array, casting="unsafe")
            self._sum(compression, values, choice)
            np.copyto(recv.array, values, casting="unsafe")

    def _compression(self, compress: Compress) -> Compression:
        if isinstance(compress, Compression):
            return compress
        name = compress if isinstance(compress, str) else compress.name
        if name not in self._named:
            self._named[name] = Compression(compress)
        return self._named[name]

    def _sum(self, compression: Compression, values: Flat, choice: Choice) -> None:
        if not isinstance(compression.method, Shared):
            self._encode(compression, compression.method, values, choice)
        else:
            assert not isinstance(values, DeviceArray)
            self._share(compression, values, choice)

    # --- an encoding on the wire --------------------------------------------------------------------------------------

    def _encode(self, compression: Compression, encoding: Encoding, values: Flat, choice: Choice) -> None:
        algorithm, encoded = self._plan(values.size, choice, encoding)
        how = f"{algorithm.label}, {compression.name} on the wire"
        self._agree(how, values.size)
        residual = compression.owed(values)
        counter = compression.draw(encoded.counters)
        executor = self._runner.context.executor
        executor.timeout = self._runner.settings.timeout
        with self._wires.coder(encoded, encoding, values, residual, counter) as (coder, buffers):
            executor.run(encoded.plan, buffers, around=coder)
            coder.finish()
        self.uses[how] += 1

    def _plan(self, count: int, choice: Choice, encoding: Encoding) -> tuple[Algorithm, Encoded]:
        key = _Key(count, encoding.name, choice)
        if key not in self._plans:
            if len(self._plans) >= LARGEST_CACHE:
                self._plans.pop(next(iter(self._plans)))
            size = self._runner.size
            if choice is None:
                prices = encoded_prices(self._runner.context.prices, encoding, count)
                algorithm = selection.choose("allreduce", size, 4 * count, prices)
            else:
                algorithm = selection.resolve(choice, "allreduce", size)
            self._plans[key] = algorithm, encode_plan(algorithm, self._runner.rank, size, count, encoding.nbytes)
        return self._plans[key]

    def _agree(self, how: str, count: int) -> None:
        if self._runner.settings.check:
            self._runner.context.executor.verify(Signature("allreduce", how, "sum", "float32", count))

    # --- exact collectives of what is compressed --------------------------------------------------------------------

    def _share(self, compression: Compression, values: Floats, choice: Choice) -> None:
        self._agree(compression.name, values.size)
        for asked in steps(values, self._runner.size, compression):
            if isinstance(asked, Sum):
                self._runner.allreduce(None, buffers.block(asked.values, writable=True), MPI.SUM, choice)
            else:
                self._gather(asked, choice)
        self.uses[compression.name] += 1

    def _gather(self, asked: Gather, choice: Choice) -> None:
        each = asked.mine.size
        recv = buffers.block(asked.every, writable=True)
        starts = tuple(range(0, asked.every.size, each))
        pieces = Vector(recv.octets, (each,) * self._runner.size, starts, recv.finish)
        self._runner.allgather(buffers.block(asked.mine, writable=False), pieces, choice)


def encoded_prices(prices: Prices, method: Method, count: int) -> Prices:
    """Prices of a float32 vector of ``count`` elements for which fewer bytes travel; what is reduced stays as it is."""
    return replace(prices, beta=prices.beta * method.nbytes(count) / (4 * count)) if count else prices


def _check(send: Block | None, recv: Block, op: MPI.Op) -> None:
    if op != MPI.SUM:
        raise ValueError(f"compress= serves sums (op=MPI.SUM), not {operations.name(op)}")
    if recv.element.derived or recv.element.dtype.name not in _FLOATS:
        raise ValueError(f"compress= serves {', '.join(sorted(_FLOATS))}, not {recv.element.name}")
    if send is not None and (send.element.key != recv.element.key or send.count != recv.count):
        raise Declined("different datatypes or counts to send and to receive")


def _placed(send: Block | None, recv: Block, method: Method) -> tuple[Block | None, Block]:
    """Both in one place: where they are, or in the host if there is no way to compress them on the device."""
    if send is not None:
        send, recv = joined(send, recv)
    if isinstance(method, Shared) or recv.element.dtype != _FLOAT:
        send, recv = send and in_the_host(send, writable=False), in_the_host(recv, writable=True)
    return send, recv
