"""Event files for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["TensorBoard"]

_STEP = {"loss": "train/loss", "accuracy": "train/accuracy", "learning_rate": "train/learning_rate",
         "seconds": "time/step_seconds", "exposed_seconds": "time/exposed_seconds",
         "bytes_sent": "network/bytes_sent"}  # fmt: skip
_EVALUATION = {"loss": "test/loss", "accuracy": "test/accuracy"}


class TensorBoard:
    """Records as scalars in ``folder``. Where ranks are apart, curves of single steps are rank 0's."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))

    def write(self, record: dict[str, Any]) -> None:
        """The numbers of a step, or of an evaluation."""
        if record.get("rank", 0):
            return
        names = {"step": _STEP, "evaluation": _EVALUATION}.get(record["kind"], {})
        for key, name in names.items():
            if record[key] is not None:
                self._writer.add_scalar(name, record[key], record["step"])
        if record.get("staleness"):
            self._writer.add_scalar("staleness/mean", sum(record["staleness"]) / len(record["staleness"]),
                                    record["step"])  # fmt: skip

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()
