"""One host's end of the streams that `check` measures: plain sockets, standard library only, no MPI.

Reads one line of JSON for each measurement (``to``: addresses to stream to, ``streams``: how many to expect, ``begin``,
``start`` and ``end`` on the machine's monotonic clock), and answers with the bytes that each sender's stream brought
between ``start`` and ``end``, and the CPU seconds that this process took for it. The streams flow from ``begin`` on.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from typing import Any

__all__: list[str] = []

PORT = 7077
_PIECE = 1 << 16
_PATIENCE = 10.0  # seconds without a byte, after which a stream is taken to be broken


def main() -> None:
    """Serve until the end of the input."""
    with socket.create_server(("", PORT)) as door:
        door.settimeout(_PATIENCE)
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            print(json.dumps(_measure(door, json.loads(line))), flush=True)


def _measure(door: socket.socket, order: dict[str, Any]) -> dict[str, Any]:
    received: dict[str, int] = {}
    outgoing = [threading.Thread(target=_send, args=(address, order)) for address in order["to"]]
    for thread in outgoing:
        thread.start()
    incoming: list[threading.Thread] = []
    for _ in range(order["streams"]):
        stream, (address, _) = door.accept()
        incoming.append(threading.Thread(target=_receive, args=(stream, address, order, received)))
        incoming[-1].start()
    _sleep_until(order["start"])
    before = time.process_time()
    _sleep_until(order["end"])
    cpu = time.process_time() - before
    for thread in [*outgoing, *incoming]:
        thread.join()
    return {"received": received, "cpu": cpu}


def _send(address: str, order: dict[str, Any]) -> None:
    _sleep_until(order["begin"])
    with socket.create_connection((address, PORT), timeout=_PATIENCE) as stream:
        piece = bytes(_PIECE)
        while time.monotonic() < order["end"]:
            stream.sendall(piece)


def _receive(stream: socket.socket, address: str, order: dict[str, Any], received: dict[str, int]) -> None:
    """To the end of the stream, so that nothing of it is under way when the next one starts."""
    buffer, inside = bytearray(4 * _PIECE), 0
    with stream:
        stream.settimeout(_PATIENCE)
        while count := stream.recv_into(buffer):
            if order["start"] <= time.monotonic() < order["end"]:
                inside += count
    received[address] = inside


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


if __name__ == "__main__":
    main()
