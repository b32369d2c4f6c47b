"""Threads in the interpreter: how they part and meet again, what warps exchange, and the memory that they share."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ptx.memory import aligned
from tests.ptx.snippets import run

# Every thread's place in p0 (32-bit elements) is left in %x2, its index in the block in %r0, its lane in %r1.
PLACE = """mov.u32 %r0, %tid.x; mov.u32 %r1, %laneid; ld.param.u64 %x1, [p0];
    mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mad.lo.u32 %r4, %r2, %r3, %r0;
    mad.wide.u32 %x2, %r4, 4, %x1;"""


def collatz(start: int) -> int:
    steps = 0
    while start > 1:
        start, steps = (3 * start + 1 if start % 2 else start // 2), steps + 1
    return steps


def test_threads_part_at_branches_and_loops_and_each_gets_its_own_result() -> None:
    out = np.zeros(3 * 64, np.int32)
    code = f"""{PLACE}
        mov.u32 %r5, %r4; mov.u32 %r6, 0;
        LOOP: setp.le.s32 %p1, %r5, 1; @%p1 bra DONE;
        add.s32 %r6, %r6, 1; and.b32 %r7, %r5, 1; setp.eq.s32 %p2, %r7, 0; @%p2 bra EVEN;
        mad.lo.s32 %r5, %r5, 3, 1; bra LOOP;
        EVEN: shr.u32 %r5, %r5, 1; bra LOOP;
        DONE: st.global.u32 [%x2], %r6;"""
    run(code, out, threads=64, blocks=3, limit=100_000)
    assert out.tolist() == [collatz(start) for start in range(out.size)]


def test_what_a_guard_holds_back_changes_nothing() -> None:
    out = np.zeros(64, np.int32)
    run(f"{PLACE} setp.lt.u32 %p1, %r0, 5; mov.u32 %r5, 7; @%p1 mov.u32 %r5, 1; @!%p1 st.global.u32 [%x2], %r5;",
        out, threads=64)  # fmt: skip
    assert out.tolist() == [0] * 5 + [7] * 59


SHUFFLES = {
    "down": lambda lane: lane + 3 if lane + 3 < 32 else lane,
    "up": lambda lane: lane - 3 if lane >= 3 else lane,
    "bfly": lambda lane: lane ^ 3,
    "idx": lambda lane: 3,
}


@pytest.mark.parametrize("mode", SHUFFLES)
def test_a_shuffle_reads_the_lane_that_ptx_says(mode: str) -> None:
    out, inside = np.zeros(96, np.int32), np.zeros(96, np.int32)
    clamp = 0 if mode == "up" else 31
    code = f"""{PLACE} shfl.sync.{mode}.b32 %r5|%p1, %r0, 3, {clamp}, -1; st.global.u32 [%x2], %r5;
        selp.b32 %r6, 1, 0, %p1; ld.param.u64 %x3, [p1]; mad.wide.u32 %x4, %r4, 4, %x3; st.global.u32 [%x4], %r6;"""
    run(code, out, inside, threads=96)
    read = [SHUFFLES[mode](thread % 32) for thread in range(96)]
    assert out.tolist() == [thread // 32 * 32 + lane for thread, lane in enumerate(read)]
    assert inside.tolist() == [int(mode in ("bfly", "idx") or lane != thread % 32) for thread, lane in enumerate(read)]


def test_a_shuffle_stays_within_its_segment() -> None:
    out = np.zeros(32, np.int32)
    run(f"{PLACE} shfl.sync.down.b32 %r5, %r0, 6, {24 << 8 | 31}, -1; st.global.u32 [%x2], %r5;", out)
    assert out.tolist() == [lane + 6 if lane % 8 + 6 < 8 else lane for lane in range(32)]


def test_halves_of_a_warp_shuffle_apart_and_meet_again() -> None:
    out = np.zeros(64, np.int32)
    code = f"""{PLACE} setp.lt.u32 %p1, %r1, 16; @%p1 bra LOW;
        shfl.sync.bfly.b32 %r5, %r0, 1, 31, 0xffff0000; bra MET;
        LOW: shfl.sync.bfly.b32 %r5, %r0, 2, 31, 0x0000ffff;
        MET: shfl.sync.bfly.b32 %r6, %r5, 16, 31, -1; st.global.u32 [%x2], %r6;"""
    run(code, out, threads=64)
    assert out.tolist() == [thread ^ 16 ^ (2 if thread & 16 else 1) for thread in range(64)]


def test_votes_and_reductions_of_a_warp() -> None:
    expected = {
        "vote.sync.ballot.b32 %r5, %p1, -1;": lambda warp: 0b111 if warp == 0 else 0,
        "vote.sync.any.pred %p2, %p1, -1; selp.b32 %r5, 1, 0, %p2;": lambda warp: int(warp == 0),
        "vote.sync.all.pred %p2, %p1, -1; selp.b32 %r5, 1, 0, %p2;": lambda warp: 0,
        "vote.sync.uni.pred %p2, %p1, -1; selp.b32 %r5, 1, 0, %p2;": lambda warp: int(warp != 0),
        "redux.sync.add.s32 %r5, %r0, -1;": lambda warp: sum(range(32 * warp, 32 * warp + 32)),
        "redux.sync.max.u32 %r5, %r0, -1;": lambda warp: 32 * warp + 31,
    }
    for code, answer in expected.items():
        out = np.zeros(64, np.int32)
        run(f"{PLACE} setp.lt.u32 %p1, %r0, 3; {code} st.global.u32 [%x2], %r5;", out, threads=64)
        assert out.tolist() == [answer(thread // 32) for thread in range(64)], code


def test_a_barrier_lets_one_thread_read_what_another_wrote() -> None:
    out = np.zeros(2 * 64, np.int32)
    code = f"""{PLACE} mov.u64 %x3, box; mad.wide.u32 %x4, %r0, 4, %x3; st.shared.u32 [%x4], %r4;
        bar.sync 0;
        sub.u32 %r5, 63, %r0; mad.wide.u32 %x5, %r5, 4, %x3; ld.shared.u32 %r6, [%x5]; st.global.u32 [%x2], %r6;"""
    run(code, out, threads=64, blocks=2, declared=".shared .align 4 .b8 box[256];")
    assert out.tolist() == [*range(63, -1, -1), *range(127, 63, -1)]


def test_generic_addresses_find_shared_and_local_memory() -> None:
    for space in ("shared", "local"):
        out = np.zeros(32, np.int32)
        code = f"""{PLACE} mov.u64 %x3, box; cvta.{space}.u64 %x4, %x3; mad.wide.u32 %x4, %r0, 4, %x4;
            st.u32 [%x4], %r0; ld.u32 %r5, [%x4]; st.u32 [%x2], %r5;"""
        run(code, out, declared=f".{space} .align 4 .b8 box[128];")
        assert out.tolist() == list(range(32)), space


def test_atomics_lose_nothing_and_give_back_what_was_there() -> None:
    total, before = np.array([5], np.uint32), np.zeros(128, np.uint32)
    code = """mov.u32 %r0, %tid.x; mov.u32 %r2, %ctaid.x; mad.lo.u32 %r4, %r2, 64, %r0; ld.param.u64 %x1, [p0];
        ld.param.u64 %x2, [p1]; mad.wide.u32 %x3, %r4, 4, %x2;
        atom.global.add.u32 %r5, [%x1], 3; st.global.u32 [%x3], %r5;"""
    run(code, total, before, threads=64, blocks=2)
    assert total[0] == 5 + 3 * 128
    assert sorted(before.tolist()) == list(range(5, 5 + 3 * 128, 3))


def test_atomics_of_each_kind() -> None:
    for operation, start, answer in (("max.s32", -9, 31), ("min.s32", 9, 0), ("and.b32", -1, 0), ("or.b32", 0, 31),
                                     ("exch.b32", 99, 31)):  # fmt: skip
        cell = np.array([start], np.int32)
        run(f"ld.param.u64 %x1, [p0]; mov.u32 %r0, %tid.x; atom.global.{operation} %r5, [%x1], %r0;", cell)
        assert cell[0] == answer, operation
    cell = np.array([0], np.int32)
    run("ld.param.u64 %x1, [p0]; mov.u32 %r0, %tid.x; add.u32 %r1, %r0, 1; "
        "atom.global.cas.b32 %r5, [%x1], %r0, %r1;", cell)  # fmt: skip
    assert cell[0] == 32, "each thread finds what the one before it left"
    sums = np.zeros(1, np.float32)
    run("ld.param.u64 %x1, [p0]; mov.u32 %r0, %tid.x; cvt.rn.f32.u32 %r1, %r0; red.global.add.f32 [%x1], %r1;", sums)
    assert sums[0] == sum(range(32))


def test_vectors_go_to_memory_and_back_in_order() -> None:
    memory = aligned(1024).view(np.uint32)
    memory[:128] = np.arange(128)
    code = """mov.u32 %r0, %tid.x; ld.param.u64 %x1, [p0]; mad.wide.u32 %x2, %r0, 16, %x1;
        ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%x2]; st.global.v4.u32 [%x2+512], {%r4, %r3, %r2, %r1};"""
    run(code, memory)
    assert memory[128:].reshape(32, 4).tolist() == memory[:128].reshape(32, 4)[:, ::-1].tolist()
