"""What `ciranda doctor` starts on two ranks: does this MPI carry a message, and what is it? Prints one line of JSON."""

from __future__ import annotations

import json

__all__: list[str] = []


def main() -> None:
    """Sum over all ranks, and let rank 0 print the sum, the size, the library and whether it takes GPU memory."""
    import mpi4py
    from mpi4py import MPI

    from collectives import cuda_aware

    comm = MPI.COMM_WORLD
    total = comm.allreduce(comm.rank + 1)
    if comm.rank == 0:
        found = cuda_aware.examine()
        facts = {
            "size": comm.size,
            "sum": total,
            "library": MPI.Get_library_version().split("\n")[0].split(",")[0].strip(" \x00"),
            "standard": ".".join(map(str, MPI.Get_version())),
            "mpi4py": mpi4py.__version__,
            "cuda_aware": found.aware,
            "cuda_evidence": [str(one) for one in found.evidence],
        }
        print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
