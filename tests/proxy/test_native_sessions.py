"""Sessions on an OpenCL device by either core, and moving what only the native one has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mix_worker import expected, run
from opencl_records import Speaker
from polling import polled
from test_opencl_records import CLAMP_TO_EDGE, IMAGE2D_ARRAY, IMAGE3D, NEAREST, SOURCE, image

from hal import Context, ProgramImage, open_device
from hal.errors import ProgramRejected, StateError, UsageError
from hal.types import BufferArg, Handle
from proxy import operations, records
from proxy.errors import RemoteProtocolError
from proxy.loopback import Loopback
from proxy.native_tenant import NativeTenant
from proxy.records import ObjectArg
from proxy.segment import Line
from proxy.server import Server

ADD = b"kernel void add(global int *a, int by) { a[get_global_id(0)] += by; }"


def test_a_program_computes_what_it_computes_without_the_proxy(opencl_loop: Loopback) -> None:
    with opencl_loop.connect() as device, device.open_context() as context:
        assert run(context, 200) == expected(200)


def test_the_native_core_is_the_usual_one_and_python_can_be_asked_for(root: Path) -> None:
    server = Server(root, "usual", open_device("opencl:0"))
    assert server._engine is not None
    server.close()
    with pytest.raises(UsageError, match="not served natively"):
        Server(root, "cpu", open_device("cpu:0"), core="native")


def test_transfers_larger_than_the_arena_arrive_whole(opencl_loop: Loopback) -> None:
    data = np.random.default_rng(3).bytes(300_001)
    with opencl_loop.connect() as device, device.open_context() as context:
        buffer = context.alloc(len(data) + 7)
        context.write(buffer, data, 5)
        assert context.read(buffer) == bytes(5) + data + bytes(2)


def test_data_may_be_reused_as_soon_as_write_returns(opencl_loop: Loopback) -> None:
    with opencl_loop.connect() as device, device.open_context() as context:
        buffer = context.alloc(50_000)
        data = bytearray(b"a" * 50_000)
        context.write(buffer, data)
        data[:] = b"b" * 50_000
        assert context.read(buffer) == b"a" * 50_000


def test_an_error_of_a_command_is_raised_once_at_the_next_wait(opencl_loop: Loopback) -> None:
    with opencl_loop.connect() as device, device.open_context() as context:
        program, buffer = context.load(ProgramImage("opencl-c", ADD)), context.alloc(64)
        context.launch(program, "nonesuch", (buffer.arg(),))
        with pytest.raises(ProgramRejected, match="nonesuch"):
            context.finish()
        context.finish()


def test_a_closed_session_gives_back_its_memory_and_its_file(native_loop: Loopback) -> None:
    with native_loop.connect("big") as device, device.open_context() as context:
        context.alloc(1 << 20)
        context.finish()
        tenant = native_loop.server.served["big"].tenant
        assert isinstance(tenant, NativeTenant)
        assert tenant.words.used_bytes == 1 << 20
    assert native_loop.server.served == {}
    assert list(native_loop.server.paths.sessions.iterdir()) == []


def test_a_server_of_an_old_epoch_lets_go_without_a_trace(opencl_loop: Loopback) -> None:
    speaker = Speaker(opencl_loop, "moved")
    buffer = speaker.buffer(8)
    speaker.done()
    segment = speaker.channel.segment
    issued, served = segment[Line.ISSUED], opencl_loop.server.served["moved"]
    segment[Line.EPOCH] += 1  # as another server does when it takes over
    speaker.put(records.WriteInline(buffer, 0, b"12345678"))
    opencl_loop.settle()
    assert opencl_loop.server.served == {}
    assert segment[Line.ISSUED] == issued
    assert served.path.exists(), "the file is the newer server's"


def test_an_impossible_head_ends_its_session_and_no_other(opencl_loop: Loopback) -> None:
    bystander = opencl_loop.connect("bystander").open_context()
    kept = bystander.alloc(4)
    for wrong in (2**64 - 1, 1 << 40, 0):
        context = opencl_loop.connect(f"w{wrong}").open_context()
        context.finish()
        segment = context._driver._channel.segment  # type: ignore[attr-defined]
        segment[Line.HEAD] = wrong
        segment.bell.ring()
        opencl_loop.settle()
        with pytest.raises(RemoteProtocolError, match="ring head"):
            context.finish()
    assert bystander.read(kept) == bytes(4)


# ---- moving


def moved(loop: Loopback, other: Loopback, session: str, store: Path) -> None:
    """Suspend on the one server, resume on the other; both stepped by hand."""
    ask: dict[str, Any] = {"session": session, "store": str(store), "timeout_s": 20}
    parking = operations.begin(loop.server, "1", ask | {"do": "suspend"})
    cut = polled(parking)["checkpoint"]
    polled(operations.begin(other.server, "2", ask | {"do": "resume", "checkpoint": cut}))


@pytest.fixture
def pair(native_loop: Loopback, root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two native servers; a worker's wait lets both take turns."""
    other = Loopback(open_device("opencl:1"), root, "other:0", core="native")
    own = native_loop._idle

    def both(seen: int, timeout_s: float) -> None:
        own(seen, timeout_s / 2)
        other._idle(seen, timeout_s / 2)

    monkeypatch.setattr(native_loop, "_idle", both)
    yield native_loop, other
    other.close()


def test_images_samplers_and_queued_commands_move_with_their_session(
    pair: tuple[Loopback, Loopback], tmp_path: Path
) -> None:
    first, second = pair
    speaker = Speaker(first, "job")
    rng = np.random.default_rng(5)
    program, out = speaker.program(SOURCE), speaker.buffer(16 * 4)
    flat, layers, deep, how = (speaker.handle() for _ in range(4))
    pixels = {h: rng.integers(0, 256, 4 * 3 * 5 * 2, np.uint8).tobytes() for h in (layers, deep)}
    speaker.put(
        records.CreateSampler(how, 0, CLAMP_TO_EDGE, NEAREST),
        image(flat, 0x10F1, 2, 1),
        image(layers, IMAGE2D_ARRAY, 3, 5, 0, 2),
        image(deep, IMAGE3D, 3, 5, 2),
    )
    speaker.arena[0:8] = bytes([1, 2, 3, 4, 5, 6, 7, 8])
    speaker.put(records.WriteImage(flat, 0, 0, 0, 2, 1, 1, 8, 0))
    for at, (handle, data) in enumerate(pixels.items()):
        speaker.arena[1024 * at + 64 : 1024 * at + 64 + len(data)] = data
        speaker.put(records.WriteImage(handle, 0, 0, 0, 3, 5, 2, len(data), 1024 * at + 64))
    dropped = speaker.handle()
    speaker.put(image(dropped, IMAGE3D, 3, 5, 2), records.Free(dropped))
    speaker.done()
    first.server.served["job"].tenant.draining = True  # what follows stays in the ring
    speaker.arena[8192 : 8192 + 60] = bytes(range(60))
    speaker.put(records.WriteImage(deep, 0, 0, 1, 3, 5, 1, 60, 8192))
    args = (ObjectArg(flat), ObjectArg(how), BufferArg(Handle(out)))
    speaker.launch(program, "shade", args, (4,))
    moved(first, second, "job", tmp_path / "store")
    assert first.server.served == {} and list(second.server.served) == ["job"]
    found = np.frombuffer(speaker.bytes_of(out, 64), np.float32).reshape(4, 4)
    assert found[:, 0].tolist() == [1, 1, 5, 5]
    back = speaker.buffer(120)
    for handle, expected_bytes in (
        (layers, pixels[layers]),
        (deep, pixels[deep][:60] + bytes(range(60))),
    ):
        speaker.put(records.CopyImageToBuffer(handle, back, 0, 0, 0, 3, 5, 2, 0))
        assert speaker.bytes_of(back, 120) == expected_bytes


def test_pieces_of_an_image_join_to_the_whole(native_loop: Loopback) -> None:
    speaker = Speaker(native_loop, "job")
    data = np.random.default_rng(7).bytes(3 * 5 * 7 * 4)
    picture = speaker.handle()
    speaker.put(image(picture, IMAGE3D, 3, 5, 7))
    speaker.done()
    tenant = native_loop.server.served["job"].tenant
    assert isinstance(tenant, NativeTenant)
    for size in (1, 4, 12, 13, 60, 61, 200, 420):
        for at in range(0, len(data), size):
            tenant.objects.transfer(picture, at, memoryview(data)[at : at + size], write=True)
        pieces = [tenant.peek(picture, at, min(size, 420 - at)) for at in range(0, 420, size)]
        assert b"".join(pieces) == data
    with pytest.raises(UsageError):
        tenant.peek(picture, 400, 21)


def test_a_session_with_images_is_refused_by_the_python_core_and_can_go_on(
    native_loop: Loopback, root: Path, tmp_path: Path
) -> None:
    plain = Loopback(open_device("opencl:1"), root, "plain:0", core="python")
    speaker = Speaker(native_loop, "job")
    picture = speaker.handle()
    speaker.put(image(picture, IMAGE3D, 3, 5, 7))
    speaker.done()
    ask: dict[str, Any] = {"session": "job", "store": str(tmp_path / "s"), "timeout_s": 20}
    parking = operations.begin(native_loop.server, "1", ask | {"do": "suspend"})
    again = ask | {"do": "resume", "checkpoint": polled(parking)["checkpoint"]}
    with pytest.raises(Exception, match="native engine"):
        polled(operations.begin(plain.server, "2", again))
    polled(operations.begin(native_loop.server, "3", again))
    back = speaker.buffer(420)
    speaker.put(records.CopyImageToBuffer(picture, back, 0, 0, 0, 3, 5, 7, 0))
    assert speaker.bytes_of(back, 420) == bytes(420)
    plain.close()


def test_a_saved_state_goes_on_in_another_session(opencl_loop: Loopback) -> None:
    def begun(context: Context) -> Any:
        return context.load(ProgramImage("opencl-c", ADD)), context.alloc(64)

    with opencl_loop.connect() as device:
        context, other = device.open_context(), device.open_context()
        begun(context), begun(other)
        context.finish()
        context.halt()
        other.load_state(context.save_state(), context.last_seq)
        other.finish()
        with pytest.raises(StateError):
            other.load_state(b"HALTPXS1 of nothing", context.last_seq)


# ---- what a checkpoint need not read again


def test_only_what_a_command_may_write_to_counts_as_changed(native_loop: Loopback) -> None:
    speaker = Speaker(native_loop, "job")
    program = speaker.program(SOURCE)
    first, second, third = (speaker.buffer(64) for _ in range(3))
    flat, over = speaker.handle(), speaker.handle()
    speaker.put(image(flat, 0x10F1, 2, 1), image(over, 0x10F6, 4, buffer=third))
    speaker.done()
    tenant = native_loop.server.served["job"].tenant
    assert isinstance(tenant, NativeTenant)
    where = (BufferArg(Handle(second)),)
    commands: list[tuple[records.Command, set[int]]] = [
        (records.WriteInline(first, 0, b"x"), {first}),
        (records.Read(first, 0, 8, 0), set()),
        (records.Copy(first, 0, second, 0, 8), {second}),
        (records.Fill(third, 0, 8, b"x"), {third}),
        (records.CopyRect(first, third, 0, 0, 0, 0, 0, 0, 4, 1, 1, 0, 0, 0, 0), {third}),
        (records.FillImage(flat, 0, 0, 0, 1, 1, 1, bytes(16)), {flat}),
        (records.FillImage(over, 0, 0, 0, 1, 1, 1, bytes(16)), {over, third}),
        (records.CopyImageToBuffer(flat, first, 0, 0, 0, 1, 1, 1, 0), {first}),
        (records.Launch(program, "where", where, (2,), ()), {second}),
        (records.Launch(program, "where", where, (2,), ()), {second}),
        (records.Signal(1), set()),
    ]
    for command, changed in commands:
        before = tenant.changes.count
        speaker.put(command)
        speaker.done()
        handles = (first, second, third, flat, over)
        found = {handle for handle in handles if tenant.changes.newest(handle) > before}
        assert found == changed, command
    speaker.put(records.Free(first))
    speaker.done()
    assert tenant.changes.newest(first) == 0
