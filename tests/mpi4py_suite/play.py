"""Runs modules of mpi4py's own test-suite on this rank, with Communicator in the place of Intracomm.

    ciranda run -n 3 -- play.py FOLDER native|ours testPickle,... test_cco_buf test_cco_vec ...

FOLDER is the ``test`` folder of mpi4py's source distribution. Tests whose name holds a part of the third argument are
left out. The last line of rank 0 is a JSON object that says what ran, what was skipped and why, what our algorithms
did, and what was passed on to mpi4py's own methods and why.
"""

import json
import logging
import sys
import unittest
from collections import Counter
from collections.abc import Iterator

from mpi4py import MPI

from collectives import Communicator, devices
from collectives.executors.interpreted import Interpreted

WORLD = MPI.COMM_WORLD


class Tally(logging.Handler):
    """Counts what the communicators log: each call that goes to mpi4py's own method."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.counts[record.getMessage()] += 1


def count_runs() -> Counter[str]:
    """From now on every plan that an executor carries out is counted by its algorithm."""
    counts: Counter[str] = Counter()
    run = Interpreted.run

    def counted(self, plan, buffers, combine=None):
        counts[plan.algorithm] += 1
        return run(self, plan, buffers, combine)

    Interpreted.run = counted
    return counts


def chosen(suite: unittest.TestSuite, left_out: list[str]) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from chosen(test, left_out)
        elif not any(part in test.id() for part in left_out):
            yield test


def main() -> int:
    folder, whose, left_out, *modules = sys.argv[1:]
    runs, tally = count_runs(), Tally()
    logger = logging.getLogger("ciranda")
    logger.addHandler(tally)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    if whose == "ours":
        MPI.COMM_WORLD, MPI.COMM_SELF = Communicator(MPI.COMM_WORLD), Communicator(MPI.COMM_SELF)
        MPI.Intracomm = Communicator
    if not devices.count():
        sys.modules["numba"] = None  # type: ignore[assignment] - its arrays are device arrays there, and want a driver
    sys.path.insert(0, folder)
    suite = unittest.TestSuite(chosen(unittest.defaultTestLoader.loadTestsFromNames(modules), left_out.split(",")))
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(suite)
    mine = {
        "run": result.testsRun,
        "failed": [str(test) for test, _ in (*result.failures, *result.errors)],
        "skipped": Counter(reason for _, reason in result.skipped),
        "runs": runs,
        "passed_on": tally.counts,
    }
    everyone = WORLD.gather(mine)
    if everyone is not None:
        print(json.dumps({**mine, "failed": [name for one in everyone for name in one["failed"]]}), flush=True)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
