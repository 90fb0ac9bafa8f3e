"""A session halted on one server goes on, bit for bit, on another: the halting law with processes.

The worker is never told. What is checked is always the end result, against a computation that no
proxy touched, and that a failure on the way leaves everything able to go on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from mix_worker import expected, run
from polling import polled
from proxy_fleet import Fleet, read_until, result_of

from hal import ProgramImage, list_devices
from hal.errors import DeviceTimeout, StateError, UsageError
from hal.registry import self_tests
from hal.workload import prepare
from proxy import checkpoint, operations
from proxy.client import ProxyContext, connect
from proxy.errors import CheckpointRefused, LeaseExpired, ServerGone
from proxy.info import running_servers
from proxy.launcher import spawn
from proxy.loopback import Loopback
from proxy.reattach import reattach
from proxy.segment import Line
from proxy.store import Store

STEPS = 1200
QUEUED_KERNELS = 100  # about a second of them, so that one is running when the suspension comes
MAX_LOOKS = 2000
PRESENT = {info.uri for info in list_devices()}


def needs(*uris: str) -> pytest.MarkDecorator:
    missing = [uri for uri in uris if uri not in PRESENT]
    return pytest.mark.skipif(bool(missing), reason=f"not present: {', '.join(missing)}")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


OPENCL = needs("opencl:0", "opencl:1")
PAIRS = [
    pytest.param("cpu:0", "cpu:1", None, None, id="cpu"),
    pytest.param("opencl:0", "opencl:1", "native", "native", id="opencl", marks=OPENCL),
    pytest.param("opencl:0", "opencl:1", "native", "python", id="to-python", marks=OPENCL),
    pytest.param("opencl:0", "opencl:1", "python", "native", id="to-native", marks=OPENCL),
]


@pytest.mark.parametrize(("first", "second", "core", "other_core"), PAIRS)
def test_a_run_moved_in_its_middle_ends_as_one_that_is_not(
    fleet: Fleet, store: Path, first: str, second: str, core: str | None, other_core: str | None
) -> None:
    old = fleet.start(first, core=core)
    worker = fleet.worker(first, "job", STEPS)
    read_until(worker, "step 100")
    cut = fleet.control(first).suspend("job", store)
    assert fleet.control(first).status().sessions == ()
    old.stop()  # nothing of the session is left there
    assert worker.poll() is None
    fleet.start(second, core=other_core)
    epoch = fleet.control(second).resume("job", cut, store)
    assert epoch == 2
    assert result_of(worker) == expected(STEPS)


def test_a_run_moved_to_and_fro_many_times_ends_as_one_that_is_not(
    fleet: Fleet, store: Path
) -> None:
    names = ["cpu:0", "cpu:0-twin"]  # two servers of one device
    for name in names:
        fleet.start("cpu:0", name)
    worker = fleet.worker(names[0], "job", STEPS)
    read_until(worker, "step 50")
    for hop in range(6):
        cut = fleet.control(names[hop % 2]).suspend("job", store)
        epoch = fleet.control(names[(hop + 1) % 2]).resume("job", cut, store)
        assert epoch == hop + 2
    assert result_of(worker) == expected(STEPS)


def test_a_snapshot_is_taken_while_the_session_goes_on(fleet: Fleet, store: Path) -> None:
    fleet.start("cpu:0")
    worker = fleet.worker("cpu:0", "job", STEPS)
    read_until(worker, "step 50")
    first = fleet.control("cpu:0").snapshot("job", store)
    second = fleet.control("cpu:0").snapshot("job", store)
    assert first != second
    assert result_of(worker) == expected(STEPS)


def test_commands_enqueued_while_suspended_are_done_afterwards(fleet: Fleet, store: Path) -> None:
    for name in ("a", "b"):
        fleet.start("cpu:0", name)
    with connect("a", fleet.root, "job") as device, device.open_context() as context:
        buffer = context.alloc(100_000)
        context.write(buffer, b"1" * 100_000)
        context.finish()
        cut = fleet.control("a").suspend("job", store)
        context.write(buffer, b"2" * 50_000)  # arena and ring are the worker's own
        seq = context.signal()
        assert not context.wait(seq, 0.05)
        fleet.control("b").resume("job", cut, store)
        assert context.wait(seq, 30.0)
        assert context.read(buffer) == b"2" * 50_000 + b"1" * 50_000


def test_a_context_opened_after_a_move_is_where_the_session_is(fleet: Fleet, store: Path) -> None:
    for name in ("a", "b"):
        fleet.start("cpu:0", name)
    with connect("a", fleet.root, "job") as device:
        first = device.open_context()
        first.finish()
        cut = fleet.control("a").suspend("job", store)
        resumed = threading.Timer(0.2, fleet.control("b").resume, ("job", cut, store))
        resumed.start()
        second = device.open_context()  # waits for the move to end
        resumed.join()
        assert fleet.control("a").status().sessions == ()
        fleet.servers["a"].stop()
        second.finish()
        first.close()
        second.close()
        device.open_context().finish()
        (third,) = fleet.control("b").status().sessions
        assert third.name == "job.3"


def test_a_dead_worker_s_session_goes_on_from_its_checkpoint(fleet: Fleet, store: Path) -> None:
    """Worker and server are killed after the snapshot: only the store is left."""
    server = fleet.start("cpu:0", "a")
    worker = fleet.worker("a", "job", 30_000)
    read_until(worker, "step 50")
    cut = fleet.control("a").snapshot("job", store)
    worker.kill()
    worker.wait()
    server.kill()
    body = checkpoint.read(cut, Store(store))
    state = next(iter(body.snapshot.log.buffers))
    fleet.start("cpu:1", "b")
    assert fleet.control("b").resume("job", cut, store) == 2
    found = reattach("b", "job", fleet.root)
    assert len(found.buffers) == 3
    assert len(found.programs) == 1
    if not body.snapshot.undone:
        assert found.context.read(found.buffers[0]) == b"".join(body.contents(state))
    found.context.finish()
    found.context.close()


# ---- what must be refused, with everything as it was


def suspended(fleet: Fleet, store: Path) -> tuple[subprocess.Popen[str], str]:
    fleet.start("cpu:0")
    worker = fleet.worker("cpu:0", "job", STEPS)
    read_until(worker, "step 50")
    return worker, fleet.control("cpu:0").suspend("job", store)


def pack_files(store: Path) -> list[Path]:
    return sorted((store / "packs").iterdir())


def test_any_damage_to_a_checkpoint_is_refused_and_the_session_can_go_on(
    fleet: Fleet, store: Path
) -> None:
    worker, cut = suspended(fleet, store)
    control = fleet.control("cpu:0")
    record = store / "records" / cut
    for path in [record, *pack_files(store)]:
        whole = path.read_bytes()
        if not whole:
            continue
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 4
        for damaged in (whole[:-1], b"", bytes(flipped)):
            path.write_bytes(damaged)
            with pytest.raises(CheckpointRefused):
                control.resume("job", cut, store)
        path.write_bytes(whole)
    assert control.status().sessions == ()
    control.resume("job", cut, store)
    assert result_of(worker) == expected(STEPS)


def test_a_checkpoint_of_a_later_version_is_refused(fleet: Fleet, store: Path) -> None:
    worker, cut = suspended(fleet, store)
    body = json.loads(Store(store).load(cut))
    for change in ({"version": 99}, {"wire": 99}, {"log": body["log"] | {"version": 9}}):
        with Store(store).writing() as batch:
            newer = batch.commit(json.dumps(body | change).encode())
        with pytest.raises(CheckpointRefused, match=r"version|reads"):
            fleet.control("cpu:0").resume("job", newer, store)
    fleet.control("cpu:0").resume("job", cut, store)
    assert result_of(worker) == expected(STEPS)


def test_a_checkpoint_of_another_part_is_refused_and_resumes_on_its_own(
    fleet: Fleet, store: Path
) -> None:
    worker, cut = suspended(fleet, store)
    fleet.start("noop:0")
    with pytest.raises(CheckpointRefused, match="part"):
        fleet.control("noop:0").resume("job", cut, store)
    fleet.control("cpu:0").resume("job", cut, store)
    assert result_of(worker) == expected(STEPS)


def test_a_checkpoint_of_an_earlier_point_is_refused_while_the_worker_lives(
    fleet: Fleet, store: Path
) -> None:
    fleet.start("cpu:0")
    worker = fleet.worker("cpu:0", "job", STEPS)
    read_until(worker, "step 50")
    control = fleet.control("cpu:0")
    early = control.snapshot("job", store)
    read_until(worker, "step 200")
    cut = control.suspend("job", store)
    with pytest.raises(CheckpointRefused, match="another point"):
        control.resume("job", early, store)
    control.resume("job", cut, store)
    assert result_of(worker) == expected(STEPS)


def test_a_session_that_runs_is_not_resumed_a_second_time(fleet: Fleet, store: Path) -> None:
    worker, cut = suspended(fleet, store)
    fleet.start("cpu:1")
    fleet.control("cpu:0").resume("job", cut, store)
    if worker.poll() is None:
        with pytest.raises((StateError, CheckpointRefused)):
            fleet.control("cpu:1").resume("job", cut, store)
    assert result_of(worker) == expected(STEPS)


def test_of_two_requests_to_resume_a_session_one_is_refused_and_harms_nothing(
    loop: Loopback, store: Path
) -> None:
    """Both were accepted before either was done, as when they wait for one fabric."""
    context = loop.connect("job").open_context()
    buffer = context.alloc(9)
    context.write(buffer, b"unharmed.")
    context.finish()
    ask = {"session": "job", "store": str(store), "timeout_s": 5}
    parking = operations.begin(loop.server, "1", ask | {"do": "suspend"})
    answer = polled(parking)
    again = ask | {"do": "resume", "checkpoint": answer["checkpoint"]}
    first, second = (operations.begin(loop.server, name, again) for name in "ab")
    resumed = polled(first)
    assert (resumed["epoch"], resumed["issued"]) == (2, answer["issued"])
    with pytest.raises(StateError, match="running"):
        polled(second)
    assert list(loop.server.served) == ["job"]
    assert context.read(buffer) == b"unharmed."


def test_an_epoch_that_a_worker_wrote_harms_no_resume(loop: Loopback, store: Path) -> None:
    context = loop.connect("job").open_context()
    buffer = context.alloc(9)
    context.write(buffer, b"unharmed.")
    context.finish()
    ask = {"session": "job", "store": str(store), "timeout_s": 5}
    answer = polled(operations.begin(loop.server, "1", ask | {"do": "suspend"}))
    inner = context._driver
    assert isinstance(inner, ProxyContext)
    inner._channel.segment[Line.EPOCH] = 2**64 - 1
    again = ask | {"do": "resume", "checkpoint": answer["checkpoint"]}
    assert polled(operations.begin(loop.server, "2", again))["epoch"] == 2
    assert context.read(buffer) == b"unharmed."


def test_a_session_that_was_dropped_while_its_resume_waited_is_not_made_anew(
    loop: Loopback, store: Path
) -> None:
    loop.connect("job").open_context().alloc(9)
    loop.settle()
    ask = {"session": "job", "store": str(store), "timeout_s": 5}
    answer = polled(operations.begin(loop.server, "1", ask | {"do": "suspend"}))
    again = ask | {"do": "resume", "checkpoint": answer["checkpoint"]}
    waiting = operations.begin(loop.server, "2", again)
    operations.begin(loop.server, "3", {"do": "drop", "session": "job"}).poll()
    with pytest.raises(StateError, match="dropped"):
        polled(waiting)
    assert loop.server.served == {}


def test_an_earlier_checkpoint_is_refused_although_no_command_came_between(
    loop: Loopback, store: Path
) -> None:
    """A load is a call: it moves the session on, but not the ring."""
    context = loop.connect("job").open_context()
    context.alloc(9)
    context.finish()
    ask = {"session": "job", "store": str(store), "timeout_s": 5}
    early = polled(operations.begin(loop.server, "1", ask | {"do": "snapshot"}))
    context.load(ProgramImage("numpy", b"def k(grid, a: buffer):\n    a += 1\n"))
    late = polled(operations.begin(loop.server, "2", ask | {"do": "suspend"}))
    again = ask | {"do": "resume"}
    with pytest.raises(CheckpointRefused, match="another point"):
        polled(operations.begin(loop.server, "3", again | {"checkpoint": early["checkpoint"]}))
    polled(operations.begin(loop.server, "4", again | {"checkpoint": late["checkpoint"]}))
    context.finish()


def test_a_session_that_is_not_there_cannot_be_suspended(fleet: Fleet, store: Path) -> None:
    fleet.start("cpu:0")
    with pytest.raises(UsageError, match="not served"):
        fleet.control("cpu:0").suspend("nobody", store)


def test_a_store_that_cannot_be_written_leaves_the_session_running(
    fleet: Fleet, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    fleet.start("cpu:0")
    worker = fleet.worker("cpu:0", "job", STEPS)
    read_until(worker, "step 50")
    with pytest.raises(StateError, match="could not be stored"):
        fleet.control("cpu:0").suspend("job", tmp_path / "file")
    assert result_of(worker) == expected(STEPS)


def test_a_suspended_session_that_is_dropped_ends_its_worker(fleet: Fleet, store: Path) -> None:
    fleet.start("cpu:0")
    context = connect("cpu:0", fleet.root, "job").open_context()
    context.alloc(64)
    context.finish()
    fleet.control("cpu:0").suspend("job", store)
    assert fleet.control("cpu:0").drop("job")
    assert not fleet.control("cpu:0").drop("job")
    with pytest.raises(LeaseExpired, match="dropped"):
        context.finish()


# ---- crash points

DURABLE_STEPS = (  # of the suspension below
    *("blob", "pack", "rename", "commit", "rename", "committed", "park", "parked"),
)


@pytest.mark.parametrize("fatal", range(len(DURABLE_STEPS) + 1))
def test_a_server_killed_at_a_durable_step_leaves_a_whole_checkpoint_or_none(
    fleet: Fleet, store: Path, fatal: int
) -> None:
    """The earlier checkpoint stays valid whatever happens; the new one is there or it is not."""
    fleet.start("cpu:1")
    with connect("cpu:1", fleet.root, "earlier") as device, device.open_context() as context:
        run(context, 20)
        before = fleet.control("cpu:1").snapshot("earlier", store)
    process = fleet.start_fragile(fatal)
    try:
        context = connect("fragile", fleet.root, "job").open_context()
        content = b"content " * 375
        buffer = context.alloc(len(content))
        context.write(buffer, content)
        context.finish()
        control, healthy = fleet.control("fragile"), fleet.control("cpu:1")
        if fatal == len(DURABLE_STEPS):
            healthy.resume("job", control.suspend("job", store), store)
            assert context.read(buffer) == content
            return
        with pytest.raises(ServerGone):
            control.suspend("job", store)
        new = [record for record in Store(store).records() if record != before]
        assert len(new) == (fatal >= DURABLE_STEPS.index("committed"))
        if DURABLE_STEPS[fatal].startswith("park"):  # its worker waits, and never knows
            healthy.resume("job", new[0], store)
            assert context.read(buffer) == content
            return
        with pytest.raises(ServerGone):
            context.finish(60.0)
        for record in new:
            healthy.resume("job", record, store)
            found = reattach("cpu:1", "job", fleet.root)
            assert found.context.read(found.buffers[0]) == content
        checkpoint.read(before, Store(store))
    finally:
        process.kill()
        process.wait()


# ---- devices that stop at any cycle

SOON_S = 30.0
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
    give_up = time.monotonic() + SOON_S
    while True:
        fleet.control("fpga-sim:0").status()  # it looks around for this, so for the time, too
        for record in Store(store).records():
            with suppress(CheckpointRefused):  # it has just been replaced
                if checkpoint.read(record, Store(store)).snapshot.flights:
                    return
        assert time.monotonic() < give_up
        time.sleep(0.02)


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
