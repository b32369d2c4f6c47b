"""A compressed allreduce of vectors on a device by its real kernels, as interpreted PTX: the bits of the host."""

from __future__ import annotations

import numpy as np

from collectives import catalogue
from collectives.compression import virtual
from collectives.compression.memory import Compression
from collectives.executors.encoded import encode_plan
from collectives.executors.encoded_on_device import DeviceCoder, room
from kernels import compress
from tests.ptx.device import Emulated

SIZE, COUNT = 3, 70


def test_the_card_gives_the_bits_of_the_host() -> None:
    # Three ranks by doubling: what is first encoded, what is owed besides, what is owed elsewhere, and a last coding.
    algorithm, encoding = catalogue.get("recursive_doubling"), compress.get("int8:block=64")
    compressions = [Compression(encoding, feedback=True) for _ in range(SIZE)]
    plans = [encode_plan(algorithm, rank, SIZE, COUNT, encoding.nbytes) for rank in range(SIZE)]
    device = Emulated(delayed=True, watched=False)
    owed = [device.array(np.zeros(COUNT, np.float32)) for _ in range(SIZE)]
    wires = [device.allocate(room(plan)) for plan in plans]
    for call in range(2):
        brought = [np.random.default_rng([call, rank]).uniform(-1, 1, COUNT).astype(np.float32) for rank in range(SIZE)]
        expected = virtual.run(algorithm, brought, compressions)
        values = [device.array(array) for array in brought]
        buffers = [
            (np.empty(plan.plan.lengths[0], np.uint8), np.empty(plan.plan.lengths[1], np.uint8)) for plan in plans
        ]
        coders = [
            DeviceCoder(plan, encoding, values[rank], buffers[rank], owed[rank], call * plan.counters, wires[rank])
            for rank, plan in enumerate(plans)
        ]
        for number in range(plans[0].plan.rounds):
            virtual._play(number, plans, coders, buffers)
        for coder in coders:
            coder.finish()
        device.synchronize(values[0].stream)
        for rank in range(SIZE):
            assert device.values(values[rank]).tobytes() == expected[rank].tobytes()
            assert np.array_equal(device.values(owed[rank]), compressions[rank].residual)
