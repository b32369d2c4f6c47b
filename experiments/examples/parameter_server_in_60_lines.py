"""A parameter server teaches handwritten digits to a softmax regression, whose workers need not wait for each other.

    ciranda run -n 4 -- python experiments/examples/parameter_server_in_60_lines.py ssp:2

The last rank keeps the parameters; the others compute. bsp, ssp:2 and async are ways to go on without the slowest.
"""

import sys
import time

import numpy as np
from mpi4py import MPI

from collectives.parameter_server import Configuration, Worker, consistency, start
from experiments.training import datasets
from kernels import optimise

BATCH, STEPS = 64, 100


def gradients(weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Of the cross entropy of a softmax, summed over the samples."""
    scores = x @ weights["matrix"] + weights["bias"]
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    chances[np.arange(len(y)), y] -= 1
    return {"matrix": x.T @ chances, "bias": chances.sum(axis=0)}


def train(worker: Worker, weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> None:
    """Push gradients of this worker's own batches; each answer brings newer weights."""
    random = np.random.default_rng(worker.number)
    for _ in range(STEPS):
        batch = random.choice(len(x), BATCH, replace=False)
        if worker.number == 0:
            time.sleep(0.002)  # a slow machine
        worker.push_pull(None, gradients(weights, x[batch], y[batch]), samples=BATCH)


def main(rule: str) -> None:
    """Start servers and workers, train, and judge the model that each worker has in the end."""
    comm = MPI.COMM_WORLD
    digits = datasets.shared("digits", comm)
    x = digits.inputs.reshape(len(digits.inputs), -1)
    weights = {"matrix": np.zeros((x.shape[1], 10), np.float32), "bias": np.zeros(10, np.float32)}
    servers = Configuration(workers=comm.size - 1, servers=1, consistency=consistency.get(rule))
    mine = start(comm, servers, weights, optimiser=optimise.get("momentum", learning_rate=0.1))
    if isinstance(mine, Worker):
        with mine as worker:
            begin = time.perf_counter()
            train(worker, weights, x, digits.targets)
            seconds, seen = time.perf_counter() - begin, worker.statistics.staleness
        test = digits.test_inputs.reshape(len(digits.test_inputs), -1)
        right = (np.argmax(test @ weights["matrix"] + weights["bias"], axis=1) == digits.test_targets).mean()
        mean = sum(missed * pushes for missed, pushes in seen.items()) / seen.total()
        print(f"worker {worker.number}: {right:.1%} right after {seconds:.2f} s; its pushes missed {mean:.1f} updates")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "ssp:2")
