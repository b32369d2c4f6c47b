"""What `ciranda doctor` starts on two ranks: does this MPI carry a message, and what is it? Prints one line of JSON."""

from __future__ import annotations

import ctypes
import json
import os

__all__: list[str] = []


def main() -> None:
    """Sum over all ranks, and let rank 0 print the sum, the size, the library and whether it takes GPU memory."""
    import mpi4py
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    total = comm.allreduce(comm.rank + 1)
    if comm.rank == 0:
        facts = {
            "size": comm.size,
            "sum": total,
            "library": MPI.Get_library_version().split("\n")[0].split(",")[0].strip(" \x00"),
            "standard": ".".join(map(str, MPI.Get_version())),
            "mpi4py": mpi4py.__version__,
            "cuda_aware": _cuda_aware(),
        }
        print(json.dumps(facts), flush=True)


def _cuda_aware() -> bool | None:
    """What the library itself answers; None where it has no such question (Open MPI and some vendors have one)."""
    try:
        library = ctypes.CDLL(os.environ.get("MPI4PY_LIBMPI"))
        return bool(library.MPIX_Query_cuda_support())
    except (OSError, AttributeError):
        return None


if __name__ == "__main__":
    main()
