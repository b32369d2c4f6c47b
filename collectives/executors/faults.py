"""What can go wrong while ranks work together; importable without MPI."""

from __future__ import annotations

__all__ = ["CollectiveError", "CollectiveMismatch", "CollectiveTimeout"]


class CollectiveError(RuntimeError):
    """A collective call failed half-way; messages of it may still be under way, so its communicator is spent."""


class CollectiveMismatch(CollectiveError):
    """The ranks did not all make the same call: they differ in count, dtype, op, algorithm, collective or root."""


class CollectiveTimeout(CollectiveError):
    """A rank waited longer than its ``timeout`` for others.

    ``rank`` waited for ``seconds`` in ``round`` (from 0) of ``algorithm``; ``pending`` describes each message that
    had not come or had not been taken.
    """

    def __init__(
        self,
        rank: int,
        round: int,  # noqa: A002 - the field's term
        rounds: int,
        algorithm: str,
        seconds: float,
        pending: tuple[str, ...],
    ) -> None:
        super().__init__(
            f"rank {rank} waited {seconds:g} s in round {round} (of rounds 0..{rounds - 1}) of {algorithm}: "
            f"{'; '.join(pending)}. Did every rank make this call? If one is only slow, raise the timeout"
        )
        self.rank, self.round, self.algorithm = rank, round, algorithm
        self.seconds, self.pending = seconds, pending
