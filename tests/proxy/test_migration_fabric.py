"""Sessions on devices that stop at any cycle are moved in the middle of kernels."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from proxy_fleet import Fleet

from hal import ProgramImage, list_devices
from hal.errors import DeviceTimeout
from hal.registry import self_tests
from hal.workload import prepare
from proxy import checkpoint
from proxy.client import connect
from proxy.errors import CheckpointRefused
from proxy.info import running_servers
from proxy.launcher import spawn
from proxy.store import Store
from tests.waiting import until

QUEUED_KERNELS = 100  # about a second of them, so that one is running when the suspension comes
MAX_LOOKS = 2000
PRESENT = {info.uri for info in list_devices()}


def needs(*uris: str) -> pytest.MarkDecorator:
    missing = [uri for uri in uris if uri not in PRESENT]
    return pytest.mark.skipif(bool(missing), reason=f"not present: {', '.join(missing)}")


FPGA = needs("fpga-sim:0", "fpga-sim:1")


def fpga_test(overlay: str, name: str):  # type: ignore[no-untyped-def]
    (found,) = [test for test in self_tests("fpga-sim:0") if test.name == f"{overlay}: {name}"]
    return found


def await_kernel(fleet: Fleet, session: str) -> None:
    for _ in range(MAX_LOOKS):
        status = fleet.control("fpga-sim:0").status().session(session)
        if status is not None and status.kernel_in_flight:
            return
    raise AssertionError("no kernel came into flight")


@FPGA
def test_a_kernel_halted_in_its_midst_finishes_on_another_device(fleet: Fleet, store: Path) -> None:
    test = fpga_test("npu-nano", "long")
    for uri in ("fpga-sim:0", "fpga-sim:1"):
        fleet.start(uri)
    device = connect("fpga-sim:0", fleet.root, "job")
    device.configure(test.overlay)
    with device, device.open_context() as context:
        work = prepare(context, test)
        for _ in range(QUEUED_KERNELS):
            work.launch()
        outputs = [bytearray(buffer.size_bytes) for buffer in work.outputs]
        for buffer, into in zip(work.outputs, outputs, strict=True):
            context.read_into(buffer, into)  # waits in the ring, behind the kernel
        seq = context.signal()
        await_kernel(fleet, "job")
        cut = fleet.control("fpga-sim:0").suspend("job", store)
        shot = checkpoint.read(cut, Store(store)).snapshot
        assert [flight.kernel for flight in shot.flights] == [True], "it was not in mid-kernel"
        assert shot.undone
        fleet.servers["fpga-sim:0"].stop()
        fleet.control("fpga-sim:1").resume("job", cut, store)
        assert context.wait(seq, 120.0)
        assert tuple(map(bytes, outputs)) == test.expected


@FPGA
@pytest.mark.parametrize("every_s", [None, 0.01], ids=["from its beginning", "from a checkpoint"])
def test_what_a_fabric_did_is_done_again_when_its_server_is_killed(
    fleet: Fleet, store: Path, every_s: float | None
) -> None:
    """In mid-kernel, with reads behind it; once from a checkpoint that was taken there."""
    test = fpga_test("npu-nano", "long")
    fleet.servers["fpga-sim:0"] = spawn(
        "fpga-sim:0", fleet.root, tied=True, checkpoint_every_s=every_s, store=store, restarts=2
    )
    device = connect("fpga-sim:0", fleet.root, "job")
    device.configure(test.overlay)
    with device, device.open_context() as context:
        work = prepare(context, test)
        for _ in range(2):
            for _ in range(QUEUED_KERNELS):
                work.launch()
            outputs = [bytearray(buffer.size_bytes) for buffer in work.outputs]
            for buffer, into in zip(work.outputs, outputs, strict=True):
                context.read_into(buffer, into)
            seq = context.signal()
            await_kernel(fleet, "job")
            if every_s is not None:
                await_flight(fleet, store)
            (info,) = [info for _, info in running_servers(fleet.root)]
            os.kill(info.pid, signal.SIGKILL)
            assert context.wait(seq, 120.0)
            assert tuple(map(bytes, outputs)) == test.expected


@FPGA
def test_sessions_with_different_overlays_that_share_a_killed_server_s_fabric_go_on(
    fleet: Fleet,
) -> None:
    fleet.servers["fpga-sim:0"] = spawn("fpga-sim:0", fleet.root, tied=True, restarts=2)
    tests = [fpga_test("npu-nano", "mlp"), fpga_test("checksum", "9001-bytes")]
    works = []
    for test in tests:
        device = connect("fpga-sim:0", fleet.root)
        device.configure(test.overlay)
        works.append(prepare(device.open_context(), test))
    for _ in range(2):
        for work in works:
            for _ in range(3):
                work.launch()
        (info,) = [info for _, info in running_servers(fleet.root)]
        os.kill(info.pid, signal.SIGKILL)
        for work in works:
            assert work.read() == work.test.expected


def await_flight(fleet: Fleet, store: Path) -> None:
    """Until a checkpoint was taken in mid-kernel."""

    def was_taken() -> bool:
        fleet.control("fpga-sim:0").status()  # it looks around for this, so for the time, too
        for record in Store(store).records():
            with suppress(CheckpointRefused):  # it has just been replaced
                if checkpoint.read(record, Store(store)).snapshot.flights:
                    return True
        return False

    until(was_taken)


@FPGA
def test_a_session_that_its_worker_halted_is_still_halted_after_a_move(
    fleet: Fleet, store: Path
) -> None:
    """With reads waiting behind the kernel: it can be looked at and saved there, and goes on."""
    test = fpga_test("npu-nano", "long")
    for uri in ("fpga-sim:0", "fpga-sim:1"):
        fleet.start(uri)
    device = connect("fpga-sim:0", fleet.root, "job")
    device.configure(test.overlay)
    with device, device.open_context() as context:
        work = prepare(context, test)
        work.launch()
        outputs = [bytearray(buffer.size_bytes) for buffer in work.outputs]
        for buffer, into in zip(work.outputs, outputs, strict=True):
            context.read_into(buffer, into)
        seq = context.signal()
        context.halt(20.0)
        before = context.peek(work.outputs[0])
        cut = fleet.control("fpga-sim:0").suspend("job", store)
        fleet.control("fpga-sim:1").resume("job", cut, store)
        context.halt(5.0)
        assert context.peek(work.outputs[0]) == before
        assert context.save_state()
        assert context.wait(seq, 120.0)
        assert tuple(map(bytes, outputs)) == test.expected


@FPGA
def test_sessions_with_different_overlays_share_one_fabric(fleet: Fleet) -> None:
    fleet.start("fpga-sim:0")
    tests = [fpga_test("npu-nano", "mlp"), fpga_test("checksum", "2048-bytes")]
    works = []
    for test in tests:
        device = connect("fpga-sim:0", fleet.root)
        device.configure(test.overlay)
        works.append(prepare(device.open_context(), test))
    for _ in range(3):
        for work in works:
            work.launch()
    for work in works:
        assert work.read() == work.test.expected
    assert fleet.control("fpga-sim:0").status().overlay_swaps >= 2


@FPGA
def test_a_session_preempted_by_another_overlay_finishes_on_the_other_device(
    fleet: Fleet, store: Path
) -> None:
    """The demo's fourth act: A in mid-kernel, B takes the device, A goes on elsewhere."""
    for uri in ("fpga-sim:0", "fpga-sim:1"):
        fleet.start(uri)
    long, other = fpga_test("npu-nano", "long"), fpga_test("checksum", "9001-bytes")
    device = connect("fpga-sim:0", fleet.root, "first")
    device.configure(long.overlay)
    first = prepare(device.open_context(), long)
    first.launch()
    seq = first.context.signal()
    cut = fleet.control("fpga-sim:0").suspend("first", store)
    second_device = connect("fpga-sim:0", fleet.root, "second")
    second_device.configure(other.overlay)
    second = prepare(second_device.open_context(), other)
    second.launch()
    assert second.read() == other.expected
    fleet.control("fpga-sim:1").resume("first", cut, store)
    assert first.context.wait(seq, 120.0)
    assert first.read() == long.expected


def test_a_halting_point_that_is_not_reached_in_time_leaves_the_session_running(
    fleet: Fleet, store: Path
) -> None:
    """A kernel that runs longer than the suspension may wait, on a device of whole kernels."""
    fleet.start("cpu:0")
    fleet.start("cpu:1")
    source = b"def slow(grid, a: buffer):\n    np.sort(a)\n    a += 1\n"
    with connect("cpu:0", fleet.root, "job") as device, device.open_context() as context:
        program = context.load(ProgramImage("numpy", source))
        buffer = context.alloc(1 << 20)
        context.finish()
        for _ in range(8):
            context.launch(program, "slow", (buffer.arg(),))
        with pytest.raises(DeviceTimeout, match="goes on"):
            fleet.control("cpu:0").suspend("job", store, timeout_s=0.0)
        assert context.read(buffer, 4) == bytes([8] * 4)
