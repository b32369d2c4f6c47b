"""What training makes small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.training.arrays import namespace
from experiments.training.flat import Array

__all__ = ["SoftmaxCrossEntropy"]


@dataclass(frozen=True, slots=True)
class SoftmaxCrossEntropy:
    """−ln of the probability that softmax gives to the target, in nats, summed over the predictions.

    Outputs of shape (..., classes), integer targets of shape (...). The greatest output is taken from all before
    ``exp``, so no finite output overflows; of equal greatest outputs the first is the prediction.
    """

    def __call__(self, outputs: Array, targets: Array) -> tuple[float, int, Array]:
        """The loss is added up in float64; the gradient, softmax less one at the target, has the outputs' dtype."""
        rows, wanted = outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1)
        right = (rows.argmax(1) == wanted).sum()
        slopes = rows - rows.max(1, keepdims=True)
        at = (namespace(rows).arange(len(rows)), wanted)
        of_target = slopes[at]
        namespace(rows).exp(slopes, out=slopes)
        total = slopes.sum(1, keepdims=True)
        loss = (namespace(rows).log(total[:, 0]) - of_target).sum(dtype=np.float64)
        slopes /= total
        slopes[at] -= 1
        return float(loss), int(right), slopes.reshape(outputs.shape)
