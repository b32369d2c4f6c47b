"""One host's end of the streams that `check` measures: plain sockets, standard library only, no MPI.

A measurement has two orders, each a line of JSON: first ``to`` (addresses to stream to) and ``streams`` (how many to
expect), which is answered when they are connected; then ``begin``, ``start`` and ``end`` on the machine's monotonic
clock, which is answered with the bytes that each sender's stream brought between ``start`` and ``end``, and the CPU
seconds that this process took for it. The streams flow from ``begin`` on.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

__all__: list[str] = []

PORT = 7077
_PIECE = 1 << 16
_PATIENCE = 10.0  # seconds without a byte, after which a stream is taken to be broken


def main() -> None:
    """Serve until the end of the input."""
    with socket.create_server(("", PORT)) as door:
        door.settimeout(_PATIENCE)
        _tell({"ready": True})
        for line in sys.stdin:
            order = json.loads(line)
            outgoing = [socket.create_connection((address, PORT), timeout=_PATIENCE) for address in order["to"]]
            incoming = [door.accept() for _ in range(order["streams"])]
            _tell({"joined": True})
            _tell(_measured(outgoing, {address: stream for stream, (address, _) in incoming}))


def _measured(outgoing: Sequence[socket.socket], incoming: Mapping[str, socket.socket]) -> dict[str, Any]:
    moments: dict[str, float] = json.loads(sys.stdin.readline())
    received: dict[str, int] = {}
    threads = [threading.Thread(target=_send, args=(stream, moments)) for stream in outgoing]
    threads += [threading.Thread(target=_receive, args=(*item, moments, received)) for item in incoming.items()]
    for thread in threads:
        thread.start()
    _sleep_until(moments["start"])
    before = time.process_time()
    _sleep_until(moments["end"])
    cpu = time.process_time() - before
    for thread in threads:
        thread.join()
    return {"received": received, "cpu": cpu}


def _send(stream: socket.socket, moments: Mapping[str, float]) -> None:
    _sleep_until(moments["begin"])
    piece = bytes(_PIECE)
    with stream:
        while time.monotonic() < moments["end"]:
            stream.sendall(piece)


def _receive(
    address: str, stream: socket.socket, moments: Mapping[str, float], received: MutableMapping[str, int]
) -> None:
    """To the end of the stream, so that nothing of it is under way when the next one starts."""
    buffer, inside = bytearray(4 * _PIECE), 0
    with stream:
        stream.settimeout(_PATIENCE)
        while count := stream.recv_into(buffer):
            if moments["start"] <= time.monotonic() < moments["end"]:
                inside += count
    received[address] = inside


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _tell(answer: Mapping[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
