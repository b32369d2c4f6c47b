"""The machine code of every kernel for Ampere, Hopper and Blackwell: wide accesses, many in flight, nothing spilled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernels.cuda import reduce
from kernels.cuda.kernel import ARCHITECTURES, Capability, Kernel
from tests.ptx import machine_code, rules
from tests.ptx.compiled import program
from tests.ptx.every import every
from tests.ptx.small import copying
from tests.ptx.snippets import module
from tests.ptx.syntax import parse

GOOD = reduce.kernel("sum", "float32", 2)


@pytest.mark.parametrize("capability", ARCHITECTURES, ids="sm_{0[0]}{0[1]}".format)
def test_every_kernel_fits_and_what_is_vectorised_moves_128_bits(capability: Capability) -> None:
    codes = machine_code.assembled(every(), capability)
    complaints = [complaint for code in codes for complaint in rules.fits(code)]
    complaints += [told for code in codes if code.kernel.vectorised for told in rules.vectorised(code)]
    assert not complaints, "\n".join(complaints)


def test_no_sum_of_a_product_is_left_for_ptxas_to_fuse() -> None:
    complaints = [told for kernel in every() for told in rules.contracted(kernel.name, program(kernel).entry)]
    assert not complaints, "\n".join(complaints)


def complaints_of(kernel: Kernel, most: int | None = None) -> str:
    (code,) = machine_code.assembled([kernel], (9, 0), most)
    return "\n".join([*rules.fits(code), *rules.vectorised(code)])


def test_a_kernel_as_it_should_be_gives_no_cause_for_complaint() -> None:
    assert not complaints_of(GOOD)


def test_scalar_accesses_few_loads_in_flight_spills_and_too_many_registers_are_complained_of() -> None:
    assert "copying_1 for sm_90 has no loop with a 128-bit access" in complaints_of(copying(1))
    assert "has 1 loads and 32768 bytes in flight, where 43000 are needed" in complaints_of(copying(4))
    assert "beside its 128-bit accesses" in complaints_of(copying(4, narrow_store=True))
    assert "spills" in complaints_of(GOOD, most=24)
    assert "registers, where 16 are allowed" in complaints_of(replace(GOOD, registers=16))


def test_a_product_and_a_sum_without_rounding_are_complained_of() -> None:
    fused = module([], "mul.f32 %r1, %r2, %r3; mov.u32 %r4, %r5; add.f32 %r4, %r1, %r5;")
    assert "may be fused" in "".join(rules.contracted("fused", parse(fused)))
    for product, total in (("mul.rn.f32", "add.f32"), ("mul.f32", "add.rn.f32"), ("mul.lo.s32", "add.s32")):
        apart = f"{product} %r1, %r2, %r3; {total} %r4, %r1, %r5;"
        assert not list(rules.contracted("apart", parse(module([], apart))))
