"""How gradients are summed over the ranks: by which algorithm, in how many bytes and, by prediction, how fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collectives import selection
from collectives.catalogue import Algorithm
from collectives.compression.bounds import bytes_sent
from experiments.errors import UsageFault

if TYPE_CHECKING:
    from collectives import Communicator, Compression

__all__ = ["Sum", "Sums"]


class Sums:
    """Allreduces on ``comm``, which nothing else uses, by the algorithm called so, or by the fastest by prediction.

    ``compress``: an encoding of ``kernels.compress``, with error feedback, or "" for float32 as it is. Collective.
    UsageFault where there is no such algorithm or encoding.
    """

    def __init__(self, comm: Communicator, algorithm: str = "", compress: str = "") -> None:
        self.comm, self.compress = comm, compress
        comm.Barrier()  # from here on all ranks have the prices of rank 0
        try:
            self._given = selection.resolve(algorithm, "allreduce", comm.size) if algorithm else None
            comm.explain("allreduce", 4, compress=compress or None)
        except (KeyError, ValueError) as fault:
            raise UsageFault(str(fault.args[0])) from None

    def algorithm(self, nbytes: int) -> Algorithm:
        """For a vector of so many bytes."""
        if self._given is not None:
            return self._given
        found = self.comm.explain("allreduce", nbytes, compress=self.compress or None).algorithm
        assert found is not None  # some algorithm of the catalogue works for any number of ranks
        return found

    def seconds(self, nbytes: int) -> float:
        """How long a sum of so many bytes takes by the closed form, with the prices of rank 0's profile."""
        prices = self.comm.explain("allreduce", nbytes).prices
        return self.algorithm(nbytes).cost(self.comm.size).seconds(nbytes, prices.alpha, prices.beta, prices.gamma)

    def sent(self, count: int, itemsize: int = 4) -> int:
        """Bytes that this rank sends for a vector of so many elements."""
        algorithm = self.algorithm(count * itemsize)
        if self.compress:
            from collectives.compression.explained import on_wire

            prices = self.comm.explain("allreduce", count * itemsize).prices
            return on_wire(algorithm, self.comm.rank, self.comm.size, count * itemsize, self.compress, prices).sent
        return bytes_sent(algorithm, self.comm.rank, self.comm.size, count, lambda elements: elements * itemsize)

    def of(self, vector: Any) -> Sum:
        """The sum of this vector, which may be called again and again."""
        from collectives import Compression

        lost = Compression(self.compress, feedback=True) if self.compress else None
        return Sum(self.comm, vector, self.algorithm(vector.nbytes), lost)


@dataclass(slots=True, eq=False)
class Sum:
    """A call sums ``vector`` over all ranks, in place. ``compression`` remembers what was lost, for the next call."""

    comm: Communicator
    vector: Any
    algorithm: Algorithm
    compression: Compression | None

    def __call__(self) -> None:
        """An allreduce."""
        from mpi4py import MPI

        self.comm.Allreduce(MPI.IN_PLACE, self.vector, algorithm=self.algorithm, compress=self.compression)
