"""Every kernel in the interpreter: it is understood on each architecture, and compiled as the package compiles it."""

from __future__ import annotations

import pytest

from kernels.cuda import reduce
from kernels.cuda.kernel import ARCHITECTURES, Capability
from tests.kernels.cuda_cases import CASES
from tests.ptx import compiled
from tests.ptx.device import Emulated
from tests.ptx.every import every, families
from tests.ptx.harness import identical


@pytest.mark.parametrize("capability", ARCHITECTURES, ids="sm_{0[0]}{0[1]}".format)
def test_the_interpreter_knows_every_instruction_of_every_kernel(capability: Capability) -> None:
    for kernel in every():
        program = compiled.program(kernel, capability)
        assert len(program.entry.parameters) == len(kernel.signature), kernel.name


def test_every_module_with_kernels_shows_some() -> None:
    assert {"reduce", "norms", "optimise", "casts", "int8", "sign", "checksum"} <= set(families())
    names = [kernel.name for kernel in every()]
    assert len(names) == len(set(names)), "kernels are told apart by their names"


def test_what_is_interpreted_is_what_the_package_compiles() -> None:
    kernel = reduce.kernel("sum", "float32", 2)
    for capability in ARCHITECTURES:
        assert compiled.ptx(kernel, capability) == compiled.called(kernel, kernel.ptx(capability))


@pytest.mark.parametrize("capability", ARCHITECTURES, ids="sm_{0[0]}{0[1]}".format)
@pytest.mark.parametrize("family", CASES)
def test_each_family_gives_the_bits_of_the_cpu_on_each_architecture(family: str, capability: Capability) -> None:
    pairs = CASES[family](Emulated(capability))
    assert pairs
    for got, expected in pairs:
        identical(got, expected)
