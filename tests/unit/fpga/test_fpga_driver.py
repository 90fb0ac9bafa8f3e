"""The FPGA driver over a simulated fabric: queue, tenants, halting, faults."""

from __future__ import annotations

import random
import struct
from typing import Any

import numpy as np
import pytest

from hal.context import Buffer, Context, Program
from hal.errors import (
    DeviceFault,
    DeviceTimeout,
    OverlayRejected,
    ProgramRejected,
    StateError,
)
from hal.types import Grid, Overlay, ProgramImage, ScalarArg, Seq
from rtl_sim.snapshot import unpack

WORDS = 40
HANG = 0xDEAD
SOURCE = (np.arange(WORDS, dtype=np.uint64) * 3 + 1).tobytes()


class Tenant:
    """A context with a source and a target buffer and the blend program."""

    def __init__(self, rig: Any, overlay: Overlay, words: int = WORDS) -> None:
        self.rig = rig
        self.context: Context = rig.device.open_context()
        self.source: Buffer = self.context.alloc(words * 8)
        self.target: Buffer = self.context.alloc(words * 8 - 3)  # its last beat has padding
        self.program: Program = self.context.load(image(overlay))

    def launch(self, key: int, words: int = WORDS) -> Seq:
        args = [
            self.source.arg(), self.target.arg(), ScalarArg.u32(words), ScalarArg.u32(key),
        ]  # fmt: skip
        self.context.launch(self.program, "blend", args)
        return self.context.signal()

    def run_cycles(self, seq: Seq, cycles: int) -> bool:
        """Let the kernel work for exactly this many clock cycles, unless it is done before."""
        self.rig.shell.first_batch_cycles = cycles
        return self.context.wait(seq, 0.0)

    def finish(self, seq: Seq) -> None:
        assert self.context.wait(seq, 20.0)

    def result(self) -> bytes:
        return self.context.read(self.target)


def image(overlay: Overlay) -> ProgramImage:
    return ProgramImage("overlay", overlay.digest.encode())


def expected(key: int, source: bytes = SOURCE) -> bytes:
    return (np.frombuffer(source, np.uint64) + np.uint64(key)).tobytes()[:-3]


@pytest.fixture
def tenant(rigs: Any, blend: Overlay) -> Tenant:
    made = Tenant(rigs[0], blend)
    made.context.write(made.source, SOURCE)
    return made


def move(tenant: Tenant, rig: Any, overlay: Overlay) -> Tenant:
    """What a proxy does: gather, recreate elsewhere in another order of allocation, load."""
    state = tenant.context.save_state()
    source, target = (tenant.context.peek(buffer) for buffer in tenant.context.buffers)
    last_seq = tenant.context.last_seq
    tenant.context.close()
    other = Tenant.__new__(Tenant)
    other.rig, other.context = rig, rig.device.open_context()
    other.context.alloc(5000).free()  # so that addresses would differ if nothing re-placed them
    other.source, other.target = other.context.alloc(len(source)), other.context.alloc(len(target))
    other.program = other.context.load(image(overlay))
    other.context.write(other.source, source)
    other.context.write(other.target, target)
    other.context.load_state(state, last_seq)
    return other


def test_a_launched_kernel_computes_and_its_signal_completes(tenant: Tenant) -> None:
    seq = tenant.launch(key=5)
    assert not tenant.context.wait(seq, 0.0)
    tenant.finish(seq)
    assert tenant.result() == expected(5)


def test_the_halting_law_holds_at_random_cycles_in_output_and_cycle_count(
    tenant: Tenant, rigs: Any, blend: Overlay
) -> None:
    seq = tenant.launch(key=5)
    start = tenant.rig.shell.cycle
    tenant.finish(seq)
    cycles = tenant.rig.shell.cycle
    dice = random.Random(7)
    cuts = sorted(dice.sample(range(1, cycles - start - 40), 25))
    for cut in cuts:
        tenant = Tenant(rigs[0], blend)
        tenant.context.write(tenant.source, SOURCE)
        rigs[0].driver._owner = None  # as if the fabric had been unused: cycles count from reset
        seq = tenant.launch(key=5)
        assert not tenant.run_cycles(seq, cut)
        tenant.context.halt()
        moved = move(tenant, rigs[1], blend)
        moved.finish(seq)
        assert moved.result() == expected(5), f"cut {cut}"
        assert rigs[1].shell.cycle == cycles, f"cut {cut}"
        moved.context.close()


def test_a_kernel_can_be_moved_many_times(tenant: Tenant, rigs: Any, blend: Overlay) -> None:
    seq = tenant.launch(key=9)
    for hop in range(1, 9):
        assert not tenant.run_cycles(seq, 13)
        tenant.context.halt()
        tenant = move(tenant, rigs[hop % 2], blend)
    tenant.finish(seq)
    assert tenant.result() == expected(9)


def test_a_halted_context_stays_put_until_it_is_waited_for(tenant: Tenant) -> None:
    seq = tenant.launch(key=5)
    tenant.run_cycles(seq, 120)
    tenant.context.halt()
    first = tenant.context.peek(tenant.target)
    assert any(first) and first != expected(5)
    assert tenant.context.save_state() == tenant.context.save_state()
    assert tenant.context.peek(tenant.target) == first
    tenant.finish(seq)
    assert tenant.result() == expected(5)


def test_reads_queue_behind_the_kernel_and_see_its_result(tenant: Tenant) -> None:
    tenant.launch(key=5)
    into = bytearray(tenant.target.size_bytes)
    tenant.context.read_into(tenant.target, into)
    assert not any(into)
    tenant.finish(tenant.context.signal())
    assert bytes(into) == expected(5)


def test_a_write_behind_a_kernel_does_not_change_what_the_kernel_reads(tenant: Tenant) -> None:
    tenant.launch(key=5)
    tenant.context.write(tenant.source, bytes(len(SOURCE)))
    assert tenant.result() == expected(5)
    assert tenant.context.read(tenant.source) == bytes(len(SOURCE))


def test_two_tenants_of_one_fabric_take_turns_and_never_see_each_other(
    tenant: Tenant, rigs: Any, blend: Overlay
) -> None:
    other = Tenant(rigs[0], blend)
    mine = bytes(reversed(SOURCE))
    other.context.write(other.source, mine)
    assert other.source.arg() == tenant.source.arg()  # same handle, same device address
    first = tenant.launch(key=5)
    second = other.launch(key=6)  # waits for the first kernel
    assert tenant.context.wait(first, 0.0)
    other.finish(second)
    assert tenant.result() == expected(5)
    assert other.result() == expected(6, mine)


def test_a_halted_kernel_gives_way_to_another_tenant_and_goes_on_afterwards(
    tenant: Tenant, rigs: Any, blend: Overlay
) -> None:
    seq = tenant.launch(key=5)
    tenant.run_cycles(seq, 100)
    tenant.context.halt()
    partial = tenant.context.peek(tenant.target)
    other = Tenant(rigs[0], blend)
    other.context.write(other.source, SOURCE)
    other.finish(other.launch(key=8))
    assert other.result() == expected(8)
    assert tenant.context.peek(tenant.target) == partial
    tenant.finish(seq)
    assert tenant.result() == expected(5)


def test_a_parked_context_can_be_saved_and_moved(tenant: Tenant, rigs: Any, blend: Overlay) -> None:
    seq = tenant.launch(key=5)
    tenant.run_cycles(seq, 100)
    tenant.context.halt()
    other = Tenant(rigs[0], blend)
    running = other.launch(key=8)
    moved = move(tenant, rigs[1], blend)
    moved.finish(seq)
    assert moved.result() == expected(5)
    other.finish(running)


def test_fabric_state_between_launches_moves_with_the_context(
    tenant: Tenant, rigs: Any, blend: Overlay
) -> None:
    tenant.finish(tenant.launch(key=5))
    memory = tenant.rig.shell.capture()
    tenant.context.halt()
    move(tenant, rigs[1], blend)
    assert rigs[1].shell.capture() == memory


def test_a_state_without_fabric_leaves_nothing_of_what_the_context_had_there(
    tenant: Tenant, rigs: Any, blend: Overlay
) -> None:
    unused = Tenant(rigs[1], blend)
    unused.context.halt()
    state = unused.context.save_state()
    tenant.finish(tenant.launch(key=5))
    assert any(fabric_memory(tenant))
    tenant.context.load_state(state, tenant.context.last_seq)
    tenant.context.write(tenant.source, SOURCE)
    seq = tenant.launch(key=6)
    tenant.context.halt()
    assert not any(fabric_memory(tenant))
    tenant.finish(seq)
    assert tenant.result() == expected(6)


def fabric_memory(tenant: Tenant) -> bytes:
    return unpack(tenant.rig.shell.capture()).segments["mem:store"]


def test_a_configured_away_kernel_refuses_to_go_on_until_its_state_is_loaded(
    tenant: Tenant, rigs: Any, blend: Overlay, other_overlay: Overlay
) -> None:
    seq = tenant.launch(key=5)
    tenant.run_cycles(seq, 100)
    tenant.context.halt()
    state = tenant.context.save_state()
    contents = [tenant.context.peek(buffer) for buffer in tenant.context.buffers]
    rigs[0].device.configure(other_overlay)
    second = Tenant(rigs[0], other_overlay)
    second.context.write(second.source, SOURCE)
    second.finish(second.launch(key=1))
    assert second.result() == expected(1)
    for use in (
        lambda: tenant.context.wait(seq, 0.0),
        lambda: tenant.context.save_state(),
        lambda: tenant.launch(key=5),
        lambda: tenant.context.load_state(state, seq),  # the other overlay is configured
    ):
        with pytest.raises(StateError):
            use()
    rigs[0].device.configure(blend)
    with pytest.raises(StateError):
        tenant.context.wait(seq, 0.0)
    for buffer, content in zip(tenant.context.buffers, contents, strict=True):
        tenant.context.write(buffer, content)
    tenant.context.load_state(state, seq)
    tenant.finish(seq)
    assert tenant.result() == expected(5)


def test_an_idle_program_refuses_to_launch_after_configure_until_loaded_again(
    tenant: Tenant, rigs: Any, blend: Overlay, other_overlay: Overlay
) -> None:
    tenant.finish(tenant.launch(key=5))
    rigs[0].device.configure(blend)  # configured already and idle: nothing happens
    tenant.finish(tenant.launch(key=6))
    rigs[0].device.configure(other_overlay)
    rigs[0].device.configure(blend)
    with pytest.raises(StateError, match="configured anew"):
        tenant.launch(key=7)
    assert tenant.result() == expected(6)
    tenant.program = tenant.context.load(image(blend))
    tenant.finish(tenant.launch(key=7))
    assert tenant.result() == expected(7)


def test_a_hung_kernel_times_out_and_leaves_the_device_usable_after_configure(
    tenant: Tenant, rigs: Any, blend: Overlay
) -> None:
    rigs[0].driver.watchdog_s = 0.05
    seq = tenant.launch(key=HANG)
    assert not tenant.context.wait(seq, 0.02)
    other = Tenant(rigs[0], blend)
    for use in (
        lambda: tenant.context.write(tenant.source, SOURCE),
        lambda: other.launch(key=1),
    ):
        with pytest.raises(DeviceTimeout):
            use()
    rigs[0].device.configure(blend)  # not idle: resets the fabric
    with pytest.raises(StateError):
        tenant.context.wait(seq, 0.0)
    fresh = Tenant(rigs[0], blend)
    fresh.context.write(fresh.source, SOURCE)
    fresh.finish(fresh.launch(key=2))
    assert fresh.result() == expected(2)


def test_closing_a_context_ends_its_hung_kernel(tenant: Tenant, rigs: Any, blend: Overlay) -> None:
    tenant.launch(key=HANG)
    tenant.context.close()
    fresh = Tenant(rigs[0], blend)
    fresh.context.write(fresh.source, SOURCE)
    fresh.finish(fresh.launch(key=2))
    assert fresh.result() == expected(2)


def test_a_kernel_that_leaves_its_buffers_faults_and_harms_nobody(
    tenant: Tenant, rigs: Any, blend: Overlay
) -> None:
    other = Tenant(rigs[0], blend)
    other.context.write(other.source, SOURCE)
    seq = tenant.launch(key=5, words=WORDS + 1000)
    for _ in range(2):
        with pytest.raises(DeviceFault, match="outside"):
            tenant.context.wait(seq, 20.0)
    with pytest.raises(DeviceFault):
        tenant.launch(key=5)
    other.finish(other.launch(key=3))
    assert other.result() == expected(3)


def test_a_fault_in_another_tenants_kernel_is_not_mine(
    tenant: Tenant, rigs: Any, blend: Overlay
) -> None:
    seq = tenant.launch(key=5, words=WORDS + 1000)
    other = Tenant(rigs[0], blend)
    other.context.write(other.source, SOURCE)
    other.finish(other.launch(key=3))
    assert other.result() == expected(3)
    with pytest.raises(DeviceFault):
        tenant.context.wait(seq, 1.0)


def test_arguments_that_do_not_fit_the_manifest_are_rejected(tenant: Tenant) -> None:
    src, dst, n = tenant.source.arg(), tenant.target.arg(), ScalarArg.u32(1)
    launch = tenant.context.launch
    for entry, args, match in (
        ("blend", [src, dst, n], "4 arguments"),
        ("blend", [src, n, n, n], "dst is a buffer"),
        ("blend", [src, dst, dst, n], "n is a scalar"),
        ("blend", [src, dst, ScalarArg(b"12345678"), n], "4 bytes"),
        ("nothing", [src, dst, n, n], "has blend"),
    ):
        with pytest.raises(ProgramRejected, match=match):
            launch(tenant.program, entry, args)
    with pytest.raises(ProgramRejected, match="grid"):
        launch(tenant.program, "blend", [src, dst, n, n], Grid((2,)))
    tenant.finish(tenant.launch(key=1))


def test_overlays_and_programs_that_do_not_belong_here_are_refused(
    tenant: Tenant, rigs: Any, blend: Overlay, other_overlay: Overlay
) -> None:
    with pytest.raises(ProgramRejected, match="configured"):
        tenant.context.load(image(other_overlay))
    wrong = (
        Overlay("00" * 32, blend.manifest, blend.files),
        Overlay(blend.digest, blend.manifest, {**blend.files, "blend.sv": b"module blend;"}),
        Overlay(blend.digest, blend.manifest + b" ", blend.files),
    )
    for overlay in wrong:
        with pytest.raises(OverlayRejected):
            rigs[0].device.configure(overlay)
    tenant.finish(tenant.launch(key=4))
    assert tenant.result() == expected(4)


def test_damaged_states_are_refused_and_change_nothing(
    tenant: Tenant, rigs: Any, blend: Overlay
) -> None:
    seq = tenant.launch(key=5)
    tenant.run_cycles(seq, 90)
    tenant.context.halt()
    state = tenant.context.save_state()
    target = Tenant(rigs[1], blend)
    target.context.write(target.source, SOURCE)
    target.context.halt()
    before = target.context.save_state()
    dice = random.Random(3)
    flips = [dice.randrange(len(state) * 8) for _ in range(200)]
    damaged = [flip(state, bit) for bit in flips]
    damaged += [state[:cut] for cut in range(0, len(state), 97)] + [state + b"x", b"", b"junk" * 99]
    for bad in damaged:
        with pytest.raises(StateError):
            target.context.load_state(bad, seq)
    extra = target.context.alloc(64)
    with pytest.raises(StateError, match="live buffers"):
        target.context.load_state(state, seq)
    extra.free()
    assert target.context.save_state() == before
    target.finish(target.launch(key=2))
    assert target.result() == expected(2)


def flip(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def test_memory_is_given_back_and_bounded(rigs: Any, blend: Overlay) -> None:
    driver = rigs[0].driver
    context = rigs[0].device.open_context()
    context.alloc(4096)
    context.alloc(100).free()
    assert driver.quota.used_bytes == 4096
    context.close()
    assert driver.quota.used_bytes == 0


def test_a_freed_buffer_cannot_be_reached_by_a_kernel(tenant: Tenant, blend: Overlay) -> None:
    address = tenant.context._driver._address(tenant.target.handle)
    spare = tenant.context.alloc(tenant.target.size_bytes)
    stale = address - tenant.context._driver._address(spare.handle)
    assert stale < 0  # addresses only grow, so no offset reaches back; write the register directly
    tenant.target.free()
    low, high = struct.unpack("<II", struct.pack("<Q", address))
    tenant.target = spare
    tenant.context.launch(
        tenant.program,
        "blend",
        [tenant.source.arg(), spare.arg(), ScalarArg.u32(WORDS), ScalarArg.u32(1)],
    )
    tenant.rig.shell.write32(0x1C, low)  # before the first write burst
    tenant.rig.shell.write32(0x20, high)
    with pytest.raises(DeviceFault, match=f"write at device address {address:#x}"):
        tenant.context.wait(tenant.context.signal(), 10.0)
