"""Data parallel: every rank has the model and a share of each batch, and one allreduce makes of all gradients theirs.

ciranda run -n 4 -- python experiments/examples/ddp_in_40_lines.py
"""

import numpy as np
from mpi4py import MPI

from collectives import Communicator
from experiments.training import datasets

BATCH, STEPS, RATE = 60, 200, 0.5


def gradient(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the cross entropy of a softmax regression, summed over the samples."""
    scores = x @ weights
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    chances[np.arange(len(y)), y] -= 1
    return x.T @ chances


def main() -> None:
    """Train, and let rank 0 judge the model that all have."""
    comm = Communicator(MPI.COMM_WORLD)
    digits = datasets.shared("digits", comm)
    x, test = (each.reshape(len(each), -1) for each in (digits.inputs, digits.test_inputs))
    weights, same = np.zeros((x.shape[1], digits.classes), np.float32), np.random.default_rng(0)
    for _ in range(STEPS):
        batch = same.choice(len(x), BATCH, replace=False)[comm.rank :: comm.size]  # a share of the same batch
        comm.Allreduce(MPI.IN_PLACE, total := gradient(weights, x[batch], digits.targets[batch]))
        weights -= RATE / BATCH * total
    if comm.rank == 0:
        right = (np.argmax(test @ weights, axis=1) == digits.test_targets).mean()
        print(f"{comm.size} ranks: {right:.1%} right")


if __name__ == "__main__":
    main()
