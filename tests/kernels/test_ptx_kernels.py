"""Every kernel in the interpreter: it is understood on each architecture, and compiled as the package compiles it."""

from __future__ import annotations

import pytest

from kernels.cuda import reduce
from kernels.cuda.kernel import ARCHITECTURES, Capability, Kernel
from tests.kernels.cuda_cases import CASES
from tests.ptx import compiled
from tests.ptx.device import Emulated
from tests.ptx.every import every, families
from tests.ptx.harness import identical

# Ampere is not here where it gets Hopper's text, as the next test shows.
DIALECTS = ARCHITECTURES[1:]
each_dialect = pytest.mark.parametrize("capability", DIALECTS, ids="sm_{0[0]}{0[1]}".format)


@each_dialect
def test_the_interpreter_knows_every_instruction_of_every_kernel(capability: Capability) -> None:
    # From the last one on, while test_sass.py, perhaps in another process, compiles from the first one on.
    for kernel in reversed(every()):
        program = compiled.program(kernel, capability)
        assert len(program.entry.parameters) == len(kernel.signature), kernel.name


def test_ampere_and_hopper_get_the_same_text_but_for_the_line_that_names_them() -> None:
    assert not [kernel.name for kernel in every() if not same_but_for_the_target(kernel)]


def same_but_for_the_target(kernel: Kernel) -> bool:
    ampere, hopper = (compiled.ptx(kernel, capability) for capability in ARCHITECTURES[:2])
    return ampere.replace(".target sm_80", ".target sm_90") == hopper


def test_every_module_with_kernels_shows_some() -> None:
    assert {"reduce", "norms", "optimise", "casts", "int8", "sign", "checksum"} <= set(families())
    names = [kernel.name for kernel in every()]
    assert len(names) == len(set(names)), "kernels are told apart by their names"


def test_what_is_interpreted_is_what_the_package_compiles() -> None:
    kernel = reduce.kernel("sum", "float32", 2)
    assert compiled.ptx(kernel, (10, 0)) == compiled.called(kernel, kernel.ptx((10, 0)))


@each_dialect
@pytest.mark.parametrize("family", CASES)
def test_each_family_gives_the_bits_of_the_cpu_on_each_architecture(family: str, capability: Capability) -> None:
    pairs = CASES[family](Emulated(capability))
    assert pairs
    for got, expected in pairs:
        identical(got, expected)
