"""Checkpoints of one session after another: what changed is read and stored, and nothing else."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_worker import expected
from polling import polled
from proxy_fleet import Fleet, read_until, result_of

from hal import Context, Grid, ProgramImage, list_devices, open_device
from hal.errors import StateError
from proxy import checkpoint, operations, records
from proxy.client import connect
from proxy.errors import ServerGone
from proxy.known import CHUNK_BYTES, PIECE_BYTES, Changes
from proxy.launcher import spawn
from proxy.loopback import Loopback
from proxy.reattach import reattach
from proxy.store import Store
from proxy.store.garbage import collect, usage, verify
from tests.waiting import until

MAX_LOOKS = 5000
BUFFER_BYTES = 2 * CHUNK_BYTES + PIECE_BYTES + 77
SOURCES = {
    "numpy": b"def bump(grid, a: buffer, b: buffer):\n    a[5] += 1\n",
    "opencl-c": b"kernel void bump(global uchar *a, global const uchar *b) { a[5] += 1; }",
}
DEVICES = ["cpu:0", "opencl:0"]  # of the Python core and of the native engine
PRESENT = {info.uri for info in list_devices()}


def bump(context: Context) -> ProgramImage:
    form = next(form for form in SOURCES if form in context.caps.formats)
    return ProgramImage(form, SOURCES[form])


@pytest.fixture(params=DEVICES)
def loop(request: pytest.FixtureRequest, root: Path) -> Iterator[Loopback]:
    if request.param not in PRESENT:
        pytest.skip("not present")
    found = Loopback(open_device(request.param), root)
    yield found
    found.close()


def noise(nbytes: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(nbytes)


def ask(loop: Loopback, session: str, do: str, store: object, **more: object) -> dict[str, Any]:
    request = {"do": do, "session": session, "store": str(store), "timeout_s": 5} | more
    return polled(operations.begin(loop.server, "1", request))


def filled(loop: Loopback, session: str, *seeds: int) -> tuple[Context, list[Any]]:
    context = loop.connect(session).open_context()
    buffers = [context.alloc(BUFFER_BYTES) for _ in seeds]
    for buffer, seed in zip(buffers, seeds, strict=True):
        context.write(buffer, noise(BUFFER_BYTES, seed))
    context.finish()
    return context, buffers


def test_buffers_that_nothing_wrote_to_are_not_even_read_again(loop: Loopback, root: Path) -> None:
    context, buffers = filled(loop, "job", 1, 2, 3)
    first = ask(loop, "job", "snapshot", root / "store")
    assert first["read_bytes"] == first["changed_bytes"] == 3 * BUFFER_BYTES
    context.write(buffers[1], b"x", PIECE_BYTES + 3)
    context.read(buffers[2])
    second = ask(loop, "job", "snapshot", root / "store")
    assert second["read_bytes"] == BUFFER_BYTES
    assert second["changed_bytes"] == PIECE_BYTES
    assert second["stored_bytes"] < 1.05 * PIECE_BYTES
    third = ask(loop, "job", "snapshot", root / "store")
    assert third["read_bytes"] == third["changed_bytes"] == 0
    assert third["stored_bytes"] < 10_000


def test_a_launch_may_have_written_to_each_of_its_buffers_and_to_no_other(
    loop: Loopback, root: Path
) -> None:
    context, (a, b, _) = filled(loop, "job", 1, 2, 3)
    program = context.load(bump(context))
    ask(loop, "job", "snapshot", root / "store")
    context.launch(program, "bump", (a.arg(), b.arg()), Grid((1,)))
    context.finish()
    second = ask(loop, "job", "snapshot", root / "store")
    assert second["read_bytes"] == 2 * BUFFER_BYTES
    assert second["changed_bytes"] == PIECE_BYTES


def test_equal_replicas_are_stored_once(loop: Loopback, root: Path) -> None:
    for number in range(4):
        filled(loop, f"replica{number}", 7, 8)
    stored = [
        ask(loop, f"replica{n}", "snapshot", root / "store")["stored_bytes"] for n in range(4)
    ]
    assert sum(stored) < 1.02 * stored[0]
    assert usage(Store(root / "store"), checkpoint.blobs_of).ratio > 3.9


def test_a_checkpoint_right_after_a_move_reads_nothing(loop: Loopback, root: Path) -> None:
    """What was restored is known."""
    context, buffers = filled(loop, "job", 1, 2)
    cut = ask(loop, "job", "suspend", root / "store")["checkpoint"]
    ask(loop, "job", "resume", root / "store", checkpoint=cut)
    assert ask(loop, "job", "snapshot", root / "store")["read_bytes"] == 0
    context.write(buffers[0], b"y")
    context.finish()
    changed = ask(loop, "job", "snapshot", root / "store")
    assert changed["read_bytes"] == BUFFER_BYTES
    assert changed["changed_bytes"] == PIECE_BYTES
    assert context.read(buffers[1]) == noise(BUFFER_BYTES, 2)


def test_what_is_known_but_no_longer_stored_is_stored_again(loop: Loopback, root: Path) -> None:
    context, (buffer,) = filled(loop, "job", 1)
    first = ask(loop, "job", "snapshot", root / "store")
    other = ask(loop, "job", "snapshot", root / "elsewhere")
    assert other["stored_bytes"] > BUFFER_BYTES
    store = Store(root / "store")
    store.forget(first["checkpoint"])
    collect(store, checkpoint.blobs_of)
    again = ask(loop, "job", "suspend", root / "store")
    assert verify(store, checkpoint.blobs_of).damaged == ()
    ask(loop, "job", "resume", root / "store", checkpoint=again["checkpoint"])
    assert context.read(buffer) == noise(BUFFER_BYTES, 1)


def test_sessions_move_through_a_store_at_a_url(loop: Loopback) -> None:
    url = f"memory://checkpoints-{os.getpid()}"
    context, (buffer,) = filled(loop, "job", 4)
    cut = ask(loop, "job", "suspend", url)["checkpoint"]
    ask(loop, "job", "resume", url, checkpoint=cut)
    assert context.read(buffer) == noise(BUFFER_BYTES, 4)


def test_a_suspension_waits_while_garbage_is_collected(loop: Loopback, root: Path) -> None:
    filled(loop, "job", 1)
    request = {"do": "suspend", "session": "job", "store": str(root / "store"), "timeout_s": 5}
    with Store(root / "store").files.lock(exclusive=True):
        waiting = operations.begin(loop.server, "1", request)
        assert waiting.poll() is None
    answer = polled(waiting)
    resume = request | {"do": "resume", "checkpoint": answer["checkpoint"]}
    with Store(root / "store").files.lock(exclusive=True):
        waiting = operations.begin(loop.server, "2", resume)
        assert waiting.poll() is None
    assert polled(waiting)["epoch"] == 2


class Reference:
    """Buffers of a few bytes, and a command for each way to write to one."""

    def __init__(self, loop: Loopback) -> None:
        self.context = loop.connect("job").open_context()
        self.program = self.context.load(bump(self.context))
        self.buffers = [self.context.alloc(64) for _ in range(3)]

    def do(self, what: int, a: int, b: int) -> None:
        first, second = self.buffers[a], self.buffers[b]
        if what == 0:
            self.context.write(first, bytes((a + b,)), b)
        elif what == 1 and a != b:
            self.context.copy(first, second, 32)
        elif what == 2 and a != b:
            self.context.launch(self.program, "bump", (first.arg(), second.arg()), Grid((1,)))
        elif what == 3:
            first.free()
            self.buffers[a] = self.context.alloc(64)
        elif what == 4:
            self.context.write(first, bytes(3000)[:64])

    def contents(self) -> list[bytes]:
        return [self.context.read(buffer) for buffer in self.buffers]


@pytest.mark.parametrize("device", DEVICES)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 2)), max_size=25))
@settings(max_examples=30, deadline=None)
def test_whatever_a_session_does_each_checkpoint_holds_what_its_buffers_hold(
    tmp_path_factory: pytest.TempPathFactory, device: str, commands: list[tuple[int, int, int]]
) -> None:
    """5: a checkpoint, of which most are then incremental; and one at the end."""
    folder = tmp_path_factory.mktemp("c")
    loop = Loopback(open_device(device), folder / "root")
    try:
        session = Reference(loop)
        for what, a, b in (*commands, (5, 0, 0)):
            if what < 5:
                session.do(what, a, b)
                continue
            right = session.contents()
            taken = ask(loop, "job", "snapshot", folder / "store")
            shot = checkpoint.read(taken["checkpoint"], Store(folder / "store"))
            found = [b"".join(shot.contents(buffer)) for buffer in shot.snapshot.log.buffers]
            assert sorted(found) == sorted(right)
    finally:
        loop.close()


def test_a_change_is_counted_for_what_is_written_to_and_for_nothing_else() -> None:
    changes = Changes()
    commands: list[tuple[records.Command, set[int]]] = [
        (records.Alloc(1, 8, 15), {1}),
        (records.Write(2, 0, 4, 0), {2}),
        (records.WriteInline(3, 0, b"1234"), {3}),
        (records.Copy(1, 0, 2, 0, 4), {2}),
        (records.Read(1, 0, 4, 0), set()),
        (records.Signal(4), set()),
    ]
    for command, written in commands:
        before = changes.count
        changes.note(command)
        assert {b for b in (1, 2, 3) if changes.newest(b) > before} == written, command


RGBA, UINT8, IMAGE2D = 0x10B5, 0x10DA, 0x10F1  # of OpenCL


@pytest.mark.skipif("opencl:0" not in PRESENT, reason="not present")
def test_the_native_engine_counts_changes_of_buffers_and_images_alike(root: Path) -> None:
    loop = Loopback(open_device("opencl:0"), root)
    try:
        context = loop.connect("job").open_context()
        put = context._driver._channel.put  # type: ignore[attr-defined]
        a, b = (context.alloc(4096).handle for _ in range(2))
        image, other, over = 101, 102, 103
        for handle, under in ((image, 0), (other, 0), (over, b)):
            kind = 0x10F6 if under else IMAGE2D  # the third is a 1D image over a buffer
            size = (64, 0 if under else 16, 0)
            put(records.CreateImage(handle, RGBA, UINT8, kind, 1, *size, 0, 0, 0, under))
        context.finish()
        box = (0, 0, 0, 8, 4, 1)
        color = bytes(16)
        commands: list[tuple[records.Command, set[int]]] = [
            (records.Fill(a, 0, 64, b"1234"), {a}),
            (records.CopyRect(a, b, 0, 0, 0, 0, 0, 0, 8, 4, 1, 16, 0, 16, 0), {b}),
            (records.WriteRect(a, 0, 0, 0, 8, 4, 1, 16, 0, 0), {a}),
            (records.ReadRect(a, 0, 0, 0, 8, 4, 1, 16, 0, 0), set()),
            (records.Read(b, 0, 64, 0), set()),
            (records.WriteImage(image, *box, 128, 0), {image}),
            (records.ReadImage(image, *box, 128, 0), set()),
            (records.CopyImage(image, other, 0, 0, 0, 0, 0, 0, 8, 4, 1), {other}),
            (records.CopyImageToBuffer(image, a, *box, 0), {a}),
            (records.CopyBufferToImage(a, other, 0, *box), {other}),
            (records.FillImage(image, *box, color), {image}),
            (records.FillImage(over, 0, 0, 0, 8, 1, 1, color), {over, b}),
        ]
        tenant = loop.server.served["job"].tenant
        for command, written in commands:
            before = tenant.changes.count
            put(command)
            context.finish()
            after = tenant.changes
            assert {h for h in (a, b, image, other, over) if after.newest(h) > before} == written, (
                command
            )
    finally:
        loop.close()


def test_a_disk_that_is_full_leaves_the_session_running_and_the_store_usable(
    fleet: Fleet, tmp_path: Path
) -> None:
    """A file may have so many bytes only: the disk's other way to be full, without a disk."""
    store, steps = tmp_path / "store", 1200
    server = fleet.start("cpu:0")
    worker = fleet.worker("cpu:0", "job", steps)
    read_until(worker, "step 50")
    control = fleet.control("cpu:0")
    unlimited = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (2000, unlimited[1]))
    with pytest.raises(StateError, match=r"could not be stored.*haltere store gc"):
        control.suspend("job", store)
    assert Store(store).records() == []
    assert not list((store / "packs").iterdir())
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unlimited)
    control.resume("job", control.suspend("job", store), store)
    assert result_of(worker) == expected(steps)


# ---- checkpoints that nobody asks for


def test_named_sessions_that_moved_on_are_checkpointed_and_the_newest_is_kept(root: Path) -> None:
    store = Store(root / "store")
    loop = Loopback(open_device("cpu:0"), root, checkpoint_every_s=0.01, store=root / "store")
    try:
        context = loop.connect("job").open_context()
        nameless = loop.connect().open_context()
        buffer = context.alloc(1000)
        nameless.alloc(1000)
        for turn in range(3):
            context.write(buffer, bytes((turn,)) * 1000)
            nameless.finish()
            context.finish()
            for _ in range(MAX_LOOKS):
                loop.server.step()
                loop.server.rest(0.001)
                found = [checkpoint.read(record, store) for record in store.records()]
                held = [b"".join(shot.contents(1)) for shot in found if 1 in shot.pieces]
                if held == [bytes((turn,)) * 1000]:
                    break
            assert held == [bytes((turn,)) * 1000], "the newest, and no other"
            assert found[0].snapshot.position.session == "job"
    finally:
        loop.close()


def test_what_they_leave_behind_in_the_store_is_collected(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.automatic.GARBAGE_BYTES", 1_000_000)
    packs = root / "store" / "packs"
    loop = Loopback(open_device("cpu:0"), root, checkpoint_every_s=0.01, store=root / "store")
    try:
        context = loop.connect("job").open_context()
        buffer = context.alloc(200_000)
        stored = largest = 0
        for turn in range(40):
            context.write(buffer, random.Random(turn).randbytes(200_000))
            context.finish()
            before = Store(root / "store").records()
            for _ in range(MAX_LOOKS):
                loop.server.step()
                loop.server.rest(0.001)
                if Store(root / "store").records() != before:
                    break
            largest = max(largest, sum(path.stat().st_size for path in packs.glob("[!.]*")))
            stored += 200_000
        assert largest < stored / 2
        (record,) = Store(root / "store").records()
        shot = checkpoint.read(record, Store(root / "store"))
        assert b"".join(shot.contents(1)) == random.Random(39).randbytes(200_000)
    finally:
        loop.close()


def test_what_a_server_that_was_killed_had_checkpointed_by_itself_goes_on_elsewhere(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALTERE_RESTART_S", "0")
    server = spawn(
        "cpu:0", fleet.root, tied=True, checkpoint_every_s=0.05, store=tmp_path / "store"
    )
    with connect("cpu:0", fleet.root, "job") as device, device.open_context() as context:
        buffer = context.alloc(5000)
        context.write(buffer, b"kept " * 1000)
        context.finish()
        until(Store(tmp_path / "store").records)
        server.kill()
        with pytest.raises(ServerGone):
            context.finish()
    fleet.start("cpu:1")
    (record,) = Store(tmp_path / "store").records()
    fleet.control("cpu:1").resume("job", record, tmp_path / "store")
    found = reattach("cpu:1", "job", fleet.root)
    assert found.context.read(found.buffers[0]) == b"kept " * 1000
    found.context.close()


def test_a_store_that_fails_leaves_sessions_alone(root: Path) -> None:
    (root / "file").write_bytes(b"")
    loop = Loopback(open_device("cpu:0"), root, checkpoint_every_s=0.01, store=root / "file")
    try:
        context = loop.connect("job").open_context()
        buffer = context.alloc(8)
        context.write(buffer, b"unharmed")
        for _ in range(400):
            loop.server.step()
            loop.server.rest(0.001)
        assert context.read(buffer) == b"unharmed"
    finally:
        loop.close()
