"""What a kernel may not do, done in a few lines of PTX: each is raised, with instruction, thread and address."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ptx.faults import Fault
from tests.ptx.memory import aligned
from tests.ptx.snippets import run

PLACE = "mov.u32 %r0, %tid.x; mov.u32 %r1, %laneid; ld.param.u64 %x1, [p0]; mad.wide.u32 %x2, %r0, 4, %x1;"
BOX = ".shared .align 4 .b8 box[512]; .shared .align 4 .b8 other[512];"
IN_BOX = "mov.u64 %x3, box; mad.wide.u32 %x4, %r0, 4, %x3;"


def words(count: int) -> np.ndarray:
    return aligned(4 * count).view(np.uint32)


def test_an_access_outside_of_every_buffer() -> None:
    memory = words(33)
    told = (
        r"kernel snippet: block 0, thread 32 reaches 4 bytes at 0x\w+, which is outside of every buffer \(p0 is .*\) "
        r"\(line \d+, 'st.global.u32 \[%x2\+4\], %r0'\)"
    )
    with pytest.raises(Fault, match=told):
        run(f"{PLACE} st.global.u32 [%x2+4], %r0;", memory, threads=64)
    with pytest.raises(Fault, match="thread 0 reaches 4 bytes"):
        run(f"{PLACE} ld.global.u32 %r2, [%x2+-4];", memory)
    with pytest.raises(Fault, match="thread 24 reaches 16 bytes"):
        run(f"{PLACE} and.b64 %x2, %x2, -16; ld.global.v4.u32 {{%r2, %r3, %r4, %r5}}, [%x2+16];", words(32)[:-1])


def test_an_access_that_is_not_aligned_to_its_width() -> None:
    with pytest.raises(Fault, match=r"thread 1 reaches 16 bytes at 0x\w+4, which is no multiple of 16"):
        run(f"{PLACE} ld.global.v4.u32 {{%r2, %r3, %r4, %r5}}, [%x2];", words(64))


def test_a_write_to_what_is_read_only() -> None:
    memory = words(32)
    memory.flags.writeable = False
    with pytest.raises(Fault, match=r"thread 0 writes to .* in p0, which is read-only"):
        run(f"{PLACE} st.global.u32 [%x2], %r0;", memory)


@pytest.mark.parametrize("space", ["shared", "local"])
def test_reading_what_was_never_written(space: str) -> None:
    code = f"{PLACE} {IN_BOX} setp.ne.u32 %p1, %r0, 9; @%p1 st.{space}.u32 [%x4], %r0; ld.{space}.u32 %r2, [%x4];"
    with pytest.raises(Fault, match=f"thread 9 reads {space} memory at offset 0x64, where nothing was ever written"):
        run(code, words(32), declared=BOX.replace("shared", space))


def test_leaving_a_variable_of_shared_memory() -> None:
    with pytest.raises(
        Fault, match="thread 128 reaches 4 bytes of shared memory at offset 0x240, which is in no variable"
    ):
        run(f"{PLACE} {IN_BOX} st.shared.u32 [%x4], %r0;", words(32), threads=160, declared=BOX)


RACE_IN_BLOCK = (
    "block 0, thread .* and block 0, thread .* reach {} memory at .*, one of them writes, with no barrier between"
)


def test_a_barrier_that_is_missing_is_a_race_however_the_threads_run() -> None:
    code = f"""{PLACE} {IN_BOX} st.shared.u32 [%x4], %r0; BARRIER
        sub.u32 %r2, 127, %r0; mad.wide.u32 %x5, %r2, 4, %x3; ld.shared.u32 %r3, [%x5]; st.global.u32 [%x2], %r3;"""
    memory = words(128)
    run(code.replace("BARRIER", "bar.sync 0;"), memory, threads=128, declared=BOX)
    assert memory.tolist() == list(range(127, -1, -1))
    with pytest.raises(Fault, match=RACE_IN_BLOCK.format("shared")):
        run(code.replace("BARRIER", ""), memory, threads=128, declared=BOX)
    with pytest.raises(Fault, match=RACE_IN_BLOCK.format("shared")):
        run(code.replace("BARRIER", "bar.warp.sync -1;"), memory, threads=128, declared=BOX)


def test_within_a_warp_its_own_barrier_is_enough() -> None:
    code = f"""{PLACE} {IN_BOX} st.shared.u32 [%x4], %r0; BARRIER
        xor.b32 %r2, %r0, 5; mad.wide.u32 %x5, %r2, 4, %x3; ld.shared.u32 %r3, [%x5]; st.global.u32 [%x2], %r3;"""
    run(code.replace("BARRIER", "bar.warp.sync -1;"), words(128), threads=128, declared=BOX)
    with pytest.raises(Fault, match=RACE_IN_BLOCK.format("shared")):
        run(code.replace("BARRIER", ""), words(128), threads=128, declared=BOX)


def test_two_threads_write_overlapping_bytes_of_global_memory() -> None:
    with pytest.raises(Fault, match=RACE_IN_BLOCK.format("global")):
        run("mov.u32 %r0, %tid.x; shr.u32 %r0, %r0, 1; ld.param.u64 %x1, [p0]; mad.wide.u32 %x2, %r0, 4, %x1;"
            "st.global.u32 [%x2], %r0;", words(32))  # fmt: skip
    with pytest.raises(Fault, match=RACE_IN_BLOCK.format("global")):  # of different widths
        run(f"{PLACE} setp.eq.u32 %p1, %r0, 0; @%p1 st.global.u64 [%x1], %x1; st.global.u8 [%x2+1], %r0;", words(32))


def test_two_blocks_write_or_read_and_write_the_same_bytes() -> None:
    reads = "ld.global.u32 %r3, [%x2]; mov.u32 %r2, %ctaid.x; setp.eq.u32 %p1, %r2, 0;"
    for code in ("st.global.u32 [%x2], %r0;", f"{reads} @%p1 st.global.u32 [%x2], %r0;"):
        with pytest.raises(Fault, match=r"block 0, thread .* and block 1, thread .* in different blocks"):
            run(f"{PLACE} {code}", words(32), blocks=2)
        # Also where the two do not run together in the interpreter.
        with pytest.raises(Fault, match="in different blocks"):
            run(f"{PLACE} {code}", words(1024), blocks=40, threads=1024)


def test_an_atomic_races_with_a_plain_access_but_not_with_another_atomic() -> None:
    atomic = "red.global.add.u32 [%x1], %r0;"
    run(f"{PLACE} {atomic}", words(1), blocks=2)
    with pytest.raises(Fault, match="a race"):
        run(f"{PLACE} {atomic} ld.global.u32 %r2, [%x1];", words(1))


def test_a_barrier_that_not_all_threads_of_a_block_reach() -> None:
    for skipped, does in (("ret", "has ended"), ("bra AFTER", "has ended")):
        with pytest.raises(
            Fault, match=f"barrier divergence: block 0, thread 40 {does}, while others of its block wait"
        ):
            run(f"{PLACE} setp.eq.u32 %p1, %r0, 40; @%p1 {skipped}; bar.sync 0; AFTER: ret;", words(1), threads=64)
    with pytest.raises(Fault, match=r"barrier divergence: block 0, thread \d+ waits at another in line \d+"):
        run(f"{PLACE} setp.lt.u32 %p1, %r0, 40; @%p1 bra TWO; bar.sync 0; bra END; TWO: bar.sync 0; END: ret;",
            words(1), threads=64)  # fmt: skip


def test_a_shuffle_to_which_not_all_its_threads_come() -> None:
    with pytest.raises(Fault, match=r"not converged: block 0, thread \d+ waits for lanes \[3\] of its warp"):
        run(
            f"{PLACE} setp.eq.u32 %p1, %r1, 3; @%p1 bra END; shfl.sync.bfly.b32 %r2, %r0, 1, 31, -1; END: ret;",
            words(1),
        )
    with pytest.raises(Fault, match="thread 16 is not in its own member mask"):
        run(f"{PLACE} shfl.sync.bfly.b32 %r2, %r0, 1, 31, 0xffff;", words(1))
    with pytest.raises(Fault, match="reads lane 1 of its warp, which is not there to be read"):
        run(f"{PLACE} setp.eq.u32 %p1, %r1, 0; @%p1 shfl.sync.down.b32 %r2, %r0, 1, 31, 1;", words(1))


def test_a_loop_without_an_end() -> None:
    with pytest.raises(Fault, match=r"no end after 500 instructions \(line \d+"):
        run(f"{PLACE} LOOP: add.u32 %r0, %r0, 1; bra LOOP;", words(1), limit=500)


def test_a_trap_is_told() -> None:
    with pytest.raises(Fault, match="block 0, thread 7 traps"):
        run(f"{PLACE} setp.eq.u32 %p1, %r0, 7; @%p1 trap;", words(1))
