"""Faults put into the PTX of real kernels: each is noticed, by a Fault or by a wrong result, and in every run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kernels.cuda import reduce
from kernels.cuda.device import using
from kernels.cuda.kernel import ARCHITECTURES, Capability, Kernel
from tests.ptx.compiled import ptx
from tests.ptx.device import Emulated
from tests.ptx.faults import Fault
from tests.ptx.harness import empty, identical, placed
from tests.ptx.mutants import mutants
from tests.ptx.small import THREADS, block_sum

LIMIT = 3000
"""Instructions; the kernels take a few hundred."""


def sums(device: Emulated) -> None:
    """The sum of two arrays: short and long, both in one place and elsewhere."""
    source = np.random.default_rng(1)
    # The last ones go more than once through each loop, and end where a loop does.
    cases = ((1, 0, 0, 0), (3, 1, 1, 1), (1003, 3, 3, 3), (2049, 0, 1, 2), (28_000, 0, 0, 0), (57_344, 0, 0, 0))
    for size, *offsets in cases:
        left, right = (source.integers(-99, 99, size).astype(np.float32) for _ in range(2))
        *inputs, out = placed(device, [left, right], offsets)
        reduce.fold("sum", inputs, out)
        identical(device.values(out), left + right)


def by_blocks(device: Emulated) -> None:
    """The sum of each block, of whole numbers that any order adds up alike."""
    for size, blocks in ((5, 1), (THREADS, 1), (3 * THREADS + 7, 2), (8 * THREADS, 2), (23 * THREADS + 7, 2)):
        values = np.arange(1, size + 1, dtype=np.float32)
        source, out = device.array(values), empty(device, blocks, np.float32)
        device.launch(block_sum(), blocks, [source.address, out.address, size])
        threads = np.arange(size) // THREADS % blocks
        identical(device.values(out), np.bincount(threads, values, blocks).astype(np.float32))


def noticed(work: Callable[[Emulated], None], capability: Capability, text: str) -> bool:
    device = Emulated(capability, altered=lambda _: text, limit=LIMIT)
    device.multiprocessors = 1
    try:
        with using(device):
            work(device)
    except (Fault, AssertionError):
        return True
    return False


ALIKE = "missing predicate", "missing branch"
"""Without a guard a loop of four vectors may leave its work to the loop of one, or a quotient be taken in 64 bits."""


@pytest.mark.parametrize("capability", ARCHITECTURES[1:], ids="sm_{0[0]}{0[1]}".format)
@pytest.mark.parametrize(("kernel", "work"), [(reduce.kernel("sum", "float32", 2), sums), (block_sum(), by_blocks)])
def test_each_fault_is_noticed(kernel: Kernel, work: Callable[[Emulated], None], capability: Capability) -> None:
    text = ptx(kernel, capability)
    assert not noticed(work, capability, text)
    made = list(mutants(text))
    survived = [mutant.what for mutant in made if not noticed(work, capability, mutant.text)]
    assert len(made) > 30
    assert len(survived) <= 2, survived
    assert all(what.startswith(ALIKE) for what in survived), survived


def test_a_wide_access_at_a_wrong_place_is_a_fault_of_alignment() -> None:
    kernel = reduce.kernel("sum", "float32", 2)
    wide = [mutant for mutant in mutants(ptx(kernel)) if "wrong place" in mutant.what and ".v4" in mutant.what]
    assert len(wide) >= 6
    for mutant in wide:
        device = Emulated(altered=lambda _, text=mutant.text: text)
        with pytest.raises(Fault, match="no multiple of 16"):
            sums(device)


def test_a_dropped_barrier_is_noticed_in_every_run() -> None:
    (mutant,) = [mutant for mutant in mutants(ptx(block_sum())) if "dropped barrier" in mutant.what]
    for size in range(THREADS, 40 * THREADS, 3 * THREADS + 1):
        device = Emulated(altered=lambda _: mutant.text)
        source, out = device.array(np.ones(size, np.float32)), empty(device, 1, np.float32)
        with pytest.raises(Fault, match=r"a race|never written"):
            device.launch(block_sum(), 1, [source.address, out.address, size])
