"""A server as a state machine: a message in, answers out. It knows no MPI, no clock and no thread.

What it does depends on the messages and their order alone: two servers that handle the same messages in the same order
have the same bits, which is what replication and recovery rest on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.consistency import Ledger, Pushed
from collectives.parameter_server.messages import Coding, Envelope, Kind, Message, Refused, as_bytes, text
from collectives.parameter_server.payloads import Floats, decoded, told
from collectives.parameter_server.shard import Asked, Push, Shard
from collectives.parameter_server.sharding import Part, Sharding
from collectives.parameter_server.snapshots import Arrays, restored, snapshot
from collectives.parameter_server.statistics import ServerStatistics
from kernels import compress
from kernels.optimise import LAMB, LARS, Optimiser

__all__ = ["Server", "layerwise"]


def layerwise(optimiser: Optimiser) -> bool:
    """Whether the optimiser needs each layer as a whole, so that no tensor may be cut."""
    return isinstance(optimiser, LAMB | LARS)


class Server:
    """Server ``number`` of ``configuration``, with the parts that it keeps of the flat float32 vector ``weights``.

    ``parts``: those to keep where it is not its own of ``sharding`` (a replica has its neighbours' as well).
    Memory: its parts and their optimiser's state; in lockstep also every worker's push of the clock under way.
    Raises ValueError for an optimiser that needs whole layers where a tensor is cut.
    """

    def __init__(
        self,
        configuration: Configuration,
        sharding: Sharding,
        number: int,
        weights: Floats,
        optimiser: Optimiser,
        *,
        parts: Iterable[Part] | None = None,
    ) -> None:
        self.configuration, self.sharding, self.number = configuration, sharding, number
        self.optimiser = optimiser
        self.encoding = None if configuration.encoding is None else compress.get(configuration.encoding)
        kept = sharding.by_server.get(number, ()) if parts is None else parts
        self.shards = {part.number: self._shard(part, weights) for part in kept}
        self.ended = set[int]()
        self.statistics = ServerStatistics()
        self._handlers = {
            Kind.PUSH: self._push, Kind.PULL: self._pull, Kind.PUSH_PULL: self._push,
            Kind.JOIN: self._join, Kind.LEAVE: self._leave, Kind.END: self._end, Kind.EXPLAIN: self._explain,
        }  # fmt: skip

    @property
    def finished(self) -> bool:
        """Whether all workers have said that they will ask for nothing more."""
        return len(self.ended) == self.configuration.workers

    def handle(self, message: Message, source: int | None = None) -> list[Envelope]:
        """The answers to a message of rank ``source``, and those that others have waited for.

        Raises Refused, and changes nothing, for a message that cannot be meant.
        """
        if source is not None and source != message.worker:
            raise Refused(f"{told(message)} came from rank {source}")
        if not 0 <= message.worker < self.configuration.workers:
            raise Refused(f"{told(message)}: there are workers 0 to {self.configuration.workers - 1}")
        if message.kind not in self._handlers:
            raise Refused(f"{told(message)} is nothing that a server is asked")
        return self._handlers[message.kind](message)

    def leave(self, worker: int, *, for_good: bool = False) -> list[Envelope]:
        """``worker`` is gone (``for_good``: and will not come back): nobody waits for it. The answers now due."""
        if for_good:
            self.ended.add(worker)
        answers: list[Envelope] = []
        for shard in self.shards.values():
            self.statistics.updates += len(shard.leave(worker))
            answers += self._released(shard)
        return answers

    def awaited(self, part: int) -> str:
        """What the part waits for, in words."""
        shard = self.shards[part]
        ledger, clocks = shard.ledger, shard.ledger.clocks
        behind = [worker for worker in sorted(clocks) if clocks[worker] <= ledger.completed]
        missing = ", ".join(map(str, behind)) or "nobody"
        return (
            f"part {part} at server {self.number}: {ledger.completed} clocks are over, and push "
            f"{ledger.completed + 1} is awaited from workers {missing}"
        )

    def snapshot(self) -> Arrays:
        """The whole state as named arrays, copied: parameters, optimiser, ledgers, pushes that wait."""
        found = [snapshot(shard) for shard in self.shards.values()]
        arrays = {name: array for each in found for name, array in each.items()}
        return arrays | {"ended": np.array(sorted(self.ended), np.int64)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a snapshot of a server with the same parts. Workers that waited must ask again.

        Raises KeyError or ValueError, and changes nothing, where it does not fit.
        """
        shards = {number: restored(shard, arrays) for number, shard in self.shards.items()}
        self.shards, self.ended = shards, set(arrays["ended"].tolist())

    def _shard(self, part: Part, weights: Floats) -> Shard:
        ledger = Ledger.start(self.configuration.consistency, range(self.configuration.workers))
        if not layerwise(self.optimiser):
            return Shard.start(part, weights, self.optimiser, ledger)
        held = list(self.sharding.within(part))
        if cut := [name for name, lo, hi in held if (lo, hi) != self.sharding.tensors[name]]:
            raise ValueError(
                f"{self.optimiser.name} needs whole layers, and part {part.number} holds a piece of {', '.join(cut)}: "
                "plan the sharding with whole=True"
            )
        layers = tuple((lo - part.lo, hi - part.lo) for _, lo, hi in held)
        return Shard.start(part, weights, self.optimiser, ledger, layers)

    def _of(self, message: Message) -> Shard:
        """The part that the message is about."""
        if message.part not in self.shards:
            kept = ", ".join(map(str, self.shards)) or "none"
            raise Refused(f"{told(message)}: server {self.number} keeps parts {kept}")
        shard = self.shards[message.part]
        if message.worker not in shard.ledger.clocks:
            raise Refused(f"{told(message)}: the worker has left, and must join again")
        return shard

    def _push(self, message: Message) -> list[Envelope]:
        shard = self._of(message)
        push = self._taken(shard, message)
        try:
            pushed, before = shard.push(message, push)
        except ValueError as error:
            raise Refused(str(error)) from None
        self.statistics.pushed(message.worker, pushed.reception, pushed.staleness, len(pushed.updates))
        if message.kind is Kind.PUSH:
            return [Envelope(message.worker, _acknowledgement(message, shard, pushed)), *self._released(shard)]
        shard.ask(message.worker, Asked(message.request, pushed.reception, pushed.staleness, before))
        return self._released(shard)

    def _taken(self, shard: Shard, message: Message) -> Push:
        if message.coding is Coding.ROWS and len(list(self.sharding.within(shard.part))) != 1:
            raise Refused(f"{told(message)} has rows of one tensor, and the part holds several")
        if message.samples < 1:
            raise Refused(f"{told(message)} is a gradient of {message.samples} samples")
        rate = message.learning_rate
        if rate is not None and not 0 <= rate < math.inf:
            raise Refused(f"{told(message)} has a learning rate of {rate}")
        return Push(decoded(message, shard.part.count, self.encoding), message.samples, rate)

    def _pull(self, message: Message) -> list[Envelope]:
        shard = self._of(message)
        shard.ask(message.worker, Asked(message.request))
        return self._released(shard)

    def _join(self, message: Message) -> list[Envelope]:
        """The worker gets all parts at once, with the clocks from which it counts on: the message's if it is later.

        Who has got different clocks for different parts asks again with the latest of them.
        """
        self.ended.discard(message.worker)
        released: list[Envelope] = []
        for shard in self.shards.values():
            self.statistics.updates += len(shard.join(message.worker, message.clock))
            released += self._released(shard)
        asked = Asked(message.request)
        answers = [_parameters(shard, message.worker, asked) for shard in self.shards.values()]
        return [*released, *answers, _done(message)]

    def _leave(self, message: Message) -> list[Envelope]:
        return [*self.leave(message.worker), _done(message)]

    def _end(self, message: Message) -> list[Envelope]:
        return [*self.leave(message.worker, for_good=True), _done(message)]

    def _explain(self, message: Message) -> list[Envelope]:
        words = self.awaited(self._of(message).part.number)
        return [Envelope(message.worker, text(Kind.EXPLAINED, message.worker, words, request=message.request))]

    def _released(self, shard: Shard) -> list[Envelope]:
        return [_parameters(shard, worker, shard.asked.pop(worker)) for worker in shard.ledger.released()]


def _parameters(shard: Shard, worker: int, asked: Asked) -> Envelope:
    ledger = shard.ledger
    numbers = shard.shown() if asked.parameters is None else asked.parameters
    message = Message(
        Kind.PARAMETERS, worker, shard.part.number, max(ledger.completed, ledger.clocks[worker]), as_bytes(numbers),
        request=asked.request, reception=asked.reception, staleness=asked.staleness, version=ledger.version,
    )  # fmt: skip
    return Envelope(worker, message)


def _acknowledgement(message: Message, shard: Shard, pushed: Pushed) -> Message:
    return Message(
        Kind.ACK, message.worker, message.part, message.clock, request=message.request,
        reception=pushed.reception, staleness=pushed.staleness, version=shard.ledger.version,
    )  # fmt: skip


def _done(message: Message) -> Envelope:
    return Envelope(message.worker, Message(Kind.ACK, message.worker, message.part, request=message.request))
