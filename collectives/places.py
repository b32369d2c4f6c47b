"""Where the buffers of one call are: brought together in one place and on one stream, or to the host."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from collectives import devices
from collectives.buffers import Block, Vector
from collectives.memory import nothing, place
from kernels.device_array import DeviceArray

__all__ = ["in_the_host", "joined"]

Piece = TypeVar("Piece", Block, Vector)


def joined(send: Block, recv: Piece) -> tuple[Block, Piece]:
    """Both in one place and, on a device, on the stream of ``recv``; each stream waits for what the other does.

    A buffer without bytes is wherever the other is. Raises ValueError for buffers in two places.
    """
    one, other = send.octets, recv.octets
    if isinstance(one, DeviceArray) and isinstance(other, DeviceArray) and one.device is other.device:
        return (_on_stream_of(send, recv, one, other), recv) if one.stream != other.stream else (send, recv)
    if not isinstance(one, DeviceArray) and not isinstance(other, DeviceArray):
        return send, recv
    if not one.nbytes:
        return replace(send, octets=nothing(other)), recv
    if not other.nbytes:
        return send, replace(recv, octets=nothing(one))
    raise ValueError(f"sendbuf is {place(one)} and recvbuf {place(other)}: bring both to one place")


def _on_stream_of(send: Block, recv: Block | Vector, one: DeviceArray, other: DeviceArray) -> Block:
    device, mine, stream = one.device, one.stream, other.stream
    device.wait(stream, device.record(mine))
    finish = recv.finish

    def both() -> None:
        finish()
        device.wait(mine, device.record(stream))

    recv.finish = both
    return replace(send, octets=one.on(stream))


def in_the_host(block: Block, *, writable: bool) -> Block:
    """The block, copied to the host where it is on a device, and back by ``finish``."""
    if not isinstance(block.octets, DeviceArray):
        return block
    host, back = devices.fetched(block.octets, writable=writable)
    finish = block.finish

    def both() -> None:
        back()
        finish()

    return replace(block, octets=host, finish=both if writable else finish)
