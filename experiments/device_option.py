"""`--device`: where the vectors of a measurement lie."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.errors import UsageFault

__all__ = ["DEVICES", "Device", "require"]

DEVICES = ("cpu", "cuda")

Device = Annotated[str, typer.Option(help="Where the vectors lie: cpu, or cuda for each rank's card.")]


def require(device: str) -> None:
    """UsageFault for a kind of device that is not known, or that this machine lacks."""
    if device not in DEVICES:
        raise UsageFault(f"device {device!r} is not known; use one of {', '.join(DEVICES)}")
    if device == "cuda":
        from kernels.cuda import presence

        if not presence.count():
            raise UsageFault("there is no CUDA device on this machine (ciranda doctor tells more); leave --device out")
