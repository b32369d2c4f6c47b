"""The executor for device memory whose addresses MPI takes (CUDA-aware): messages go from device to device."""

from __future__ import annotations

from collections.abc import Sequence

from collectives.executors.on_device import Fold3, OnDevice, commit
from collectives.executors.plan import Plan
from collectives.executors.wire import Wire
from kernels.device_array import DeviceArray

__all__ = ["Direct"]


class Direct(OnDevice[Wire]):
    """Sends from and receives into device memory.

    MPI knows nothing of streams, so before messages start, everything queued so far is waited for: the caller's own
    work, and folds and packs of ours. Where nothing was queued since, nothing is waited for.
    """

    name = "direct"

    def _tie(self, plan: Plan, buffers: Sequence[DeviceArray], scratch: DeviceArray) -> Wire:
        return Wire(self._host.comm, plan, buffers, scratch)

    def _carry_out(self, tied: Wire, plan: Plan, where: DeviceArray, combine: Fold3 | None) -> None:
        device, stream, deadline = where.device, where.stream, self._host.deadline()
        queued = True  # perhaps by the caller
        for step in tied.steps:
            for staged, mine in step.packs:
                device.copy(staged, mine, stream)
            if queued or step.packs:
                device.synchronize(stream)
            self._host.exchange(step, plan, deadline)
            for one in step.commits:
                commit(one.fold, one.mine, one.incoming, combine)
            queued = bool(step.commits)
