"""The whole proxy in one process: errors, bounds, hostile workers, and the end of sessions."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mix_worker import expected, run

from hal import Context, Grid, ProgramImage, ScalarArg
from hal.errors import DeviceFault, DeviceLost, OutOfMemory, ProgramRejected, UsageError
from hal.types import Handle, Usage
from proxy import channel as channel_module
from proxy import records, wire
from proxy.channel import Channel
from proxy.client import ProxyContext
from proxy.errors import Backpressure, LeaseExpired, ServerFault, ServerGone, StaleEpoch
from proxy.loopback import Loopback
from proxy.segment import Line, State
from proxy.tenant import Tenant


def channel_of(context: Context) -> Channel:
    inner = context._driver
    assert isinstance(inner, ProxyContext)
    return inner._channel


def tenant_of(loop: Loopback, session: str) -> Tenant:
    return loop.server.served[session].tenant


def test_a_program_computes_what_it_computes_without_the_proxy(loop: Loopback) -> None:
    with loop.connect() as device, device.open_context() as context:
        assert run(context, 120) == expected(120)


def test_transfers_larger_than_the_arena_arrive_whole(loop: Loopback) -> None:
    data = random.Random(3).randbytes(300_001)
    with loop.connect() as device, device.open_context() as context:
        buffer = context.alloc(len(data) + 7)
        context.write(buffer, data, 5)
        assert context.read(buffer) == bytes(5) + data + bytes(2)


def test_data_may_be_reused_as_soon_as_write_returns(loop: Loopback) -> None:
    with loop.connect() as device, device.open_context() as context:
        buffer = context.alloc(5000)
        data = bytearray(b"a" * 5000)
        context.write(buffer, data)
        data[:] = b"b" * 5000
        assert context.read(buffer) == b"a" * 5000


def test_a_device_s_time_is_counted_for_whom_it_worked(loop: Loopback) -> None:
    source = b"def k(grid, a: buffer):\n    for _ in range(1000):\n        a += 1\n"
    with (
        loop.connect("busy") as device,
        device.open_context() as context,
        loop.connect("idle") as other,
        other.open_context(),
    ):
        program, buffer = context.load(ProgramImage("numpy", source)), context.alloc(64)
        began_ns, was_ns = time.perf_counter_ns(), tenant_of(loop, "busy").device_ns
        for _ in range(20):
            context.launch(program, "k", (buffer.arg(),))
        context.finish()
        had_ns = tenant_of(loop, "busy").device_ns - was_ns
        assert 0 < had_ns < time.perf_counter_ns() - began_ns
        assert tenant_of(loop, "idle").device_ns == 0


# ---- errors of commands


def test_an_error_of_a_command_is_raised_once_at_the_next_wait(loop: Loopback) -> None:
    with loop.connect() as device, device.open_context() as context:
        program = context.load(ProgramImage("numpy", b"def k(grid, a: buffer):\n    a += 1\n"))
        buffer = context.alloc(64)
        context.launch(program, "nonesuch", (buffer.arg(),))
        context.launch(program, "k", (buffer.arg(),))
        with pytest.raises(ProgramRejected, match="nonesuch"):
            context.finish()
        assert context.read(buffer) == b"\1" * 64


def test_what_follows_from_an_error_is_not_reported_as_another(loop: Loopback) -> None:
    with loop.connect() as device, device.open_context() as context:
        huge = [context.alloc(context.caps.max_buffer_bytes) for _ in range(3)]
        context.write(huge[2], b"x")
        with pytest.raises(OutOfMemory):
            context.finish()
        for buffer in huge:
            buffer.free()
        context.finish()
        small = context.alloc(10)
        assert context.read(small) == bytes(10)


def test_a_fault_of_the_device_stays(loop: Loopback) -> None:
    with loop.connect() as device, device.open_context() as context:
        program = context.load(ProgramImage("numpy", b"def k(grid, a: buffer):\n    a[99] = 1\n"))
        buffer = context.alloc(10)
        context.launch(program, "k", (buffer.arg(),))
        for _ in range(3):
            with pytest.raises(DeviceFault):
                context.finish()


def test_a_program_that_does_not_build_is_refused_at_load(loop: Loopback) -> None:
    with loop.connect() as device, device.open_context() as context:
        with pytest.raises(ProgramRejected):
            context.load(ProgramImage("numpy", b"def ("))
        assert run(context, 10) == expected(10)


# ---- bounds


def test_a_full_ring_is_backpressure_and_loses_nothing(loop: Loopback) -> None:
    device = loop.connect(backpressure_s=0.02, ring_bytes=4096)
    with device, device.open_context() as context:
        buffer = context.alloc(64)
        context.finish()
        name = next(iter(loop.server.served))
        tenant_of(loop, name).draining = True  # takes nothing: a device that does not keep up
        written = 0
        with pytest.raises(Backpressure):
            for _ in range(1000):
                context.write(buffer, bytes([written % 251]) * 64)
                written += 1
        assert 10 < written < 100
        tenant_of(loop, name).draining = False
        assert context.read(buffer) == bytes([(written - 1) % 251]) * 64


def test_a_full_arena_is_backpressure(loop: Loopback) -> None:
    device = loop.connect(backpressure_s=0.02)
    with device, device.open_context() as context:
        buffer = context.alloc(1 << 20)
        context.finish()
        tenant_of(loop, next(iter(loop.server.served))).draining = True
        with pytest.raises(Backpressure):
            context.write(buffer, bytes(1 << 20))


# ---- hostile and mistaken workers


def bystander(loop: Loopback) -> Context:
    return loop.connect("bystander").open_context()


BAD_RECORDS: list[tuple[str, Callable[[], records.Record]]] = [
    ("arena range", lambda: records.Write(1, 0, 16, 1 << 40)),
    ("arena range", lambda: records.Read(1, 0, 1 << 63, 0)),
    ("numbers rise", lambda: records.Alloc(1, 8, 15)),
    ("seqs rise", lambda: records.Signal(0)),
    ("not a command", lambda: records.GoOn()),
]


@pytest.mark.parametrize(("reason", "record"), BAD_RECORDS)
def test_a_malformed_record_ends_that_session_only(
    loop: Loopback, reason: str, record: Callable[[], records.Record]
) -> None:
    other = bystander(loop)
    context = loop.connect("bad").open_context()
    context.alloc(64)
    channel = channel_of(context)
    channel._put_record(wire.encode(channel.sent + 1, record()))
    with pytest.raises(Exception, match=reason) as caught:
        for _ in range(3):
            context.finish()
    assert getattr(caught.value, "code", "") == "remote_protocol_error"
    assert list(loop.server.served) == ["bystander"]
    assert run(other, 20) == expected(20)


@pytest.mark.parametrize(
    "record",
    [
        records.Write(1, 60, 16, 0),
        records.Read(77, 0, 16, 0),
        records.Copy(1, 0, 1, 2**63, 2**63),
        records.Free(5),
        records.Unload(5),
        records.Launch(3, "k", (), (1,), ()),
        records.Launch(1, "k", (), (), ()),
        records.Alloc(9, 2**63, 15),
    ],
    ids=lambda record: type(record).__name__,
)
def test_a_wrong_command_is_an_error_and_the_session_goes_on(
    loop: Loopback, record: records.Command
) -> None:
    context = loop.connect().open_context()
    buffer = context.alloc(64)
    channel_of(context).put(record)
    with pytest.raises(UsageError):
        context.finish()
    context.write(buffer, b"z" * 64)
    assert context.read(buffer) == b"z" * 64


@given(garbage=st.binary(min_size=16, max_size=400).filter(lambda raw: len(raw) % 8 == 0))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_garbage_in_the_ring_ends_that_session_only(loop: Loopback, garbage: bytes) -> None:
    device = loop.connect(backpressure_s=0.05)
    context = device.open_context()
    channel = channel_of(context)
    channel._put_record(garbage)
    channel._put_record(bytes(64))
    loop.settle()
    other = loop.connect()
    with other.open_context() as good:
        buffer = good.alloc(8)
        good.write(buffer, b"unharmed")
        assert good.read(buffer) == b"unharmed"
    device.close()
    other.close()


@pytest.mark.parametrize("head", [1, 2**64 - 1, 1 << 40])
def test_a_head_that_cannot_be_ends_that_session_only(loop: Loopback, head: int) -> None:
    other = bystander(loop)
    context = loop.connect("bad").open_context()
    segment = channel_of(context).segment
    segment[Line.HEAD] = head - 1 if head == 1 else head
    segment[Line.HEAD] = 2**64 - 8 if head == 1 else head
    loop.settle()
    assert list(loop.server.served) == ["bystander"]
    assert run(other, 10) == expected(10)


def test_a_call_that_is_garbage_ends_that_session_only(loop: Loopback) -> None:
    other = bystander(loop)
    context = loop.connect("bad").open_context()
    segment = channel_of(context).segment
    segment.write_request(b"\xff" * 64)
    segment[Line.REQUEST] = 1
    loop.settle()
    assert list(loop.server.served) == ["bystander"]
    assert run(other, 10) == expected(10)


def test_a_file_that_is_no_session_is_thrown_away(loop: Loopback) -> None:
    incoming = loop.server.paths.incoming
    for name, data in (("a~1", b""), ("b~1", b"x" * 10), ("c~1", bytes(1 << 20))):
        (incoming / name).write_bytes(data)
    loop.server._look_at = 0.0
    loop.settle()
    assert list(incoming.iterdir()) == []
    assert loop.server.served == {}


def test_a_folder_among_files_is_thrown_away(loop: Loopback) -> None:
    paths = loop.server.paths
    for folder in (paths.incoming / "a~1", paths.control / ("a" * 16 + ".request")):
        (folder / "inner").mkdir(parents=True)
    (paths.control / ("b" * 16 + ".request")).write_bytes(b"[" * 200_000)
    loop.server._look_at = 0.0
    loop.settle()
    assert [*paths.incoming.iterdir(), *paths.control.iterdir()] == []


def test_what_nobody_foresaw_ends_one_session_and_is_logged(
    loop: Loopback, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    other = bystander(loop)
    context = loop.connect("bad").open_context()
    context.alloc(64)

    def choke(limit: int) -> bool:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(tenant_of(loop, "bad"), "take_commands", choke)
    with pytest.raises(ServerFault, match="nobody foresaw this"):
        context.finish()
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert list(loop.server.served) == ["bystander"]
    assert run(other, 20) == expected(20)


def test_a_suspension_that_fails_unforeseen_is_answered_and_the_session_goes_on(
    loop: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = bystander(loop)
    buffer = context.alloc(8)
    context.finish()
    asked = {"do": "suspend", "session": "bystander", "store": str(tmp_path), "timeout_s": 5}

    def choke() -> bytes:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(tenant_of(loop, "bystander"), "hidden_state", choke)
    answers = [
        answer_to(loop, asked),
        answer_to(loop, asked | {"store": "nul \0"}),
        answer_to(loop, asked | {"timeout_s": 10**400}),
    ]
    codes = [answer["error"]["code"] for answer in answers]
    assert codes == ["server_fault", "usage_error", "usage_error"]
    context.write(buffer, b"unharmed")
    assert context.read(buffer) == b"unharmed"


def answer_to(loop: Loopback, request: dict[str, object]) -> dict[str, dict[str, str]]:
    control = loop.server.paths.control
    (control / ("a" * 16 + ".request")).write_text(json.dumps(request))
    loop.server._look_at = 0.0
    loop.settle()
    found: dict[str, dict[str, str]] = json.loads((control / ("a" * 16 + ".reply")).read_bytes())
    return found


# ---- while suspended


def held(loop: Loopback, context: Context, monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
    """Let the session look suspended to its worker for so many looks."""
    channel = channel_of(context)
    segment, serve = channel.segment, channel._idle
    segment[Line.STATE] = State.SUSPENDED
    left = [looks]

    def idle(seen: int, timeout_s: float) -> None:
        left[0] -= 1
        if left[0] == 0:
            segment[Line.STATE] = State.RUNNING
        if left[0] > 0:
            channel_module.time.sleep(min(timeout_s, 0.02))
        else:
            serve(seen, timeout_s)

    monkeypatch.setattr(channel, "_idle", idle)
    monkeypatch.setattr(channel_module, "POLL_S", 0.05)


def test_a_wait_goes_on_after_a_suspension_as_if_no_time_had_passed(
    loop: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loop.connect() as device, device.open_context() as context:
        context.finish()
        held(loop, context, monkeypatch, 10)  # 0.2 s, longer than the wait
        assert context.wait(context.signal(), 0.1)


def test_a_poll_returns_in_time_during_a_suspension(
    loop: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loop.connect() as device, device.open_context() as context:
        context.finish()
        held(loop, context, monkeypatch, 10)
        seq = context.signal()
        assert not context.wait(seq, 0.01)
        assert context.wait(seq, 5.0)


def test_a_session_that_is_never_resumed_is_given_up(
    loop: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "PARK_LIMIT_S", 0.1)
    with loop.connect() as device, device.open_context() as context:
        context.finish()
        held(loop, context, monkeypatch, 1000)
        with pytest.raises(LeaseExpired, match="suspended"):
            context.finish()
        channel_of(context).segment[Line.STATE] = State.RUNNING


# ---- names, life


def test_a_name_in_use_is_refused(loop: Loopback) -> None:
    first = loop.connect("name")
    first.open_context()
    with pytest.raises(UsageError, match="in use"):
        loop.connect("name").open_context()


def test_a_name_that_is_a_path_is_refused(loop: Loopback) -> None:
    with pytest.raises(Exception, match="session"):
        loop.connect("../x")


def test_a_closed_session_gives_back_its_memory_and_its_file(loop: Loopback) -> None:
    whole = loop.server.device.info.caps.memory_bytes
    for _ in range(3):
        with loop.connect() as device, device.open_context() as context:
            for _ in range(whole // context.caps.max_buffer_bytes):
                context.alloc(context.caps.max_buffer_bytes)
            context.finish()
    assert loop.server.served == {}
    assert list(loop.server.paths.sessions.iterdir()) == []


def test_a_dropped_session_is_told_so(loop: Loopback) -> None:
    context = loop.connect("doomed").open_context()
    loop.server.end(loop.server.served["doomed"], LeaseExpired("dropped"))
    with pytest.raises(LeaseExpired):
        context.finish()


def test_a_stopped_server_tells_its_workers_at_once(root: Path) -> None:
    from hal import open_device

    loop = Loopback(open_device("cpu:0"), root)
    context = loop.connect().open_context()
    loop.close()
    with pytest.raises(ServerGone) as caught:
        context.finish()
    assert isinstance(caught.value, DeviceLost)


def test_a_server_of_an_old_epoch_lets_go_without_a_trace(loop: Loopback) -> None:
    context = loop.connect("moved").open_context()
    buffer = context.alloc(8)
    context.finish()
    served = loop.server.served["moved"]
    segment = channel_of(context).segment
    segment[Line.EPOCH] += 1  # as another server does when it takes over
    issued = segment[Line.ISSUED]
    context.write(buffer, b"12345678")
    with pytest.raises(StaleEpoch):
        served.tenant.take_commands(1)
        served.tenant.publish()
    loop.settle()
    assert loop.server.served == {}
    assert segment[Line.ISSUED] == issued
    assert served.path.exists(), "the file is the newer server's"


def test_a_handle_made_up_by_the_caller_is_refused_at_home(loop: Loopback) -> None:
    with loop.connect() as device, device.open_context() as context:
        program = context.load(ProgramImage("numpy", b"def k(grid, a: buffer):\n    a += 1\n"))
        from hal.types import BufferArg

        with pytest.raises(UsageError):
            context.launch(program, "k", (BufferArg(Handle(12)),), Grid())
        with pytest.raises(UsageError):
            context.read(context.alloc(8, Usage.KERNEL))
        context.launch(program, "k", (context.alloc(8).arg(),), Grid((8,)))
        with pytest.raises(ProgramRejected):
            context.launch(program, "k", (ScalarArg.u32(1),))
            context.finish()
