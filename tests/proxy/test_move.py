"""A session copied ahead while it runs, then moved: bit for bit, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mix_worker import expected
from polling import polled
from proxy_fleet import Fleet, read_until, result_of

from hal import Context, Grid, ProgramImage, list_devices, open_device
from hal.errors import DeviceLost, HalError, Unsupported
from proxy import checkpoint, operations
from proxy.client import connect
from proxy.errors import CheckpointRefused, ProxyError, ServerGone
from proxy.known import CHUNK_BYTES, PIECE_BYTES
from proxy.loopback import Loopback
from proxy.move import move
from proxy.reattach import reattach
from proxy.store import Store

STEPS = 1200
BUFFER_BYTES = 2 * CHUNK_BYTES + 1000
SOURCES = {
    "numpy": b"def bump(grid, a: buffer):\n    a[::3_000_000] += 1\n",
    "opencl-c": b"kernel void bump(global uchar *a) { a[get_global_id(0) * 3000000] += 1; }",
}
DEVICES = ["cpu:0", "opencl:0"]  # of the Python core and of the native engine
PRESENT = {info.uri for info in list_devices()}


def bump(context: Context) -> ProgramImage:
    form = next(form for form in SOURCES if form in context.caps.formats)
    return ProgramImage(form, SOURCES[form])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(params=DEVICES)
def pair(request: pytest.FixtureRequest, root: Path) -> Iterator[tuple[Loopback, Loopback]]:
    if request.param not in PRESENT:
        pytest.skip("not present")
    loops = tuple(Loopback(open_device(request.param), root, name) for name in ("a", "b"))
    yield loops[0], loops[1]
    for loop in loops:
        loop.close()


def begin(loop: Loopback, do: str, store: Path, **more: object) -> operations.Operation:
    request = {"do": do, "session": "job", "store": str(store), "timeout_s": 5}
    return operations.begin(loop.server, "1", request | more)


# ---- ahead of a checkpoint


@pytest.mark.parametrize("device", DEVICES)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=20))
@settings(max_examples=10, deadline=None)
def test_what_is_written_while_buffers_are_read_ahead_is_in_the_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, device: str, commands: list[tuple[int, int]]
) -> None:
    """Between any two slices the session does something; one chunk is a slice."""
    folder = tmp_path_factory.mktemp("c")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxy.sweep.SLICE_CHUNKS", 1)
        patch.setattr("proxy.sweep.WORTH_BYTES", 0)
        loop = Loopback(open_device(device), folder / "root")
        try:
            context = loop.connect("job", ring_bytes=64 << 10, arena_bytes=1 << 20).open_context()
            program = context.load(bump(context))
            buffers = [context.alloc(BUFFER_BYTES) for _ in range(3)]
            context.finish()
            storing = begin(loop, "snapshot", folder / "store")
            answer, left = storing.poll(), list(commands)
            while answer is None:
                if left and not loop.server.served["job"].tenant.draining:
                    _do(context, program, buffers, *left.pop())
                answer = storing.poll()
            right = sorted(context.read(buffer) for buffer in buffers)
            shot = checkpoint.read(answer["checkpoint"], Store(folder / "store"))
            found = [b"".join(shot.contents(buffer)) for buffer in shot.snapshot.log.buffers]
            assert sorted(found) == right
        finally:
            loop.close()


def _do(context: Context, program: Any, buffers: list[Any], what: int, which: int) -> None:
    target = buffers[which]
    if what == 0:
        context.write(target, bytes((what + which + 1,)) * 5000, CHUNK_BYTES - 2500)
    elif what == 1:
        context.launch(program, "bump", (target.arg(),), Grid((1,)))
    elif what == 2:
        context.copy(buffers[which - 1], target, 5000, 0, CHUNK_BYTES)
    elif what == 3:
        target.free()
        buffers[which] = context.alloc(BUFFER_BYTES)
        context.write(buffers[which], b"new")
    context.finish()


def test_little_is_left_for_the_time_a_session_stands_still(loop: Loopback, store: Path) -> None:
    context = loop.connect("job").open_context()
    buffers = [context.alloc(64 << 20) for _ in range(3)]
    context.finish()
    storing, polls, written = begin(loop, "snapshot", store), 0, False
    answer = storing.poll()
    while answer is None:
        polls += 1
        if polls >= 5 and not written and not loop.server.served["job"].tenant.draining:
            written = True
            context.write(buffers[0], b"x")
            context.finish()
        answer = storing.poll()
    assert polls > 10
    assert answer["read_bytes"] > 192 << 20
    assert answer["last_bytes"] == PIECE_BYTES


# ---- ahead of a move


def test_a_target_uploads_only_what_it_was_not_prepared_for(
    pair: tuple[Loopback, Loopback], store: Path
) -> None:
    old, new = pair
    context = old.connect("job").open_context()
    kept, freed = context.alloc(BUFFER_BYTES), context.alloc(BUFFER_BYTES)
    program = context.load(bump(context))
    context.write(kept, bytes(range(256)) * 1000)
    context.finish()
    first = polled(begin(old, "snapshot", store))
    prepared = polled(begin(new, "prepare", store, checkpoint=first["checkpoint"]))
    assert prepared["uploaded_bytes"] == 2 * BUFFER_BYTES
    freed.free()
    made = context.alloc(1000)
    context.write(made, b"made")
    context.write(kept, b"changed", PIECE_BYTES)
    context.launch(program, "bump", (kept.arg(),), Grid((1,)))
    right = [context.read(buffer) for buffer in (kept, made)]
    second = polled(begin(old, "snapshot", store))
    prepared = polled(begin(new, "prepare", store, checkpoint=second["checkpoint"]))
    assert 0 < prepared["uploaded_bytes"] < BUFFER_BYTES
    context.write(made, b"M")
    context.finish()
    cut = polled(begin(old, "suspend", store))
    resumed = polled(begin(new, "resume", store, checkpoint=cut["checkpoint"]))
    assert resumed["uploaded_bytes"] == 1000
    assert list(new.server.served) == ["job"] and not new.server.prepared
    worker = context._driver._channel  # type: ignore[attr-defined]
    worker._idle = new._idle
    assert [context.read(buffer) for buffer in (kept, made)] == [right[0], b"M" + right[1][1:]]


def test_what_was_prepared_in_vain_is_given_back(
    pair: tuple[Loopback, Loopback], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = pair
    context = old.connect("job").open_context()
    context.alloc(BUFFER_BYTES)
    context.finish()
    cut = polled(begin(old, "snapshot", store))["checkpoint"]
    polled(begin(new, "prepare", store, checkpoint=cut))
    assert polled(begin(new, "unprepare", store)) == {"dropped": True}
    assert polled(begin(new, "unprepare", store)) == {"dropped": False}
    polled(begin(new, "prepare", store, checkpoint=cut))
    monkeypatch.setattr("proxy.prepare.PREPARED_S", -1.0)
    new.server._sweep()
    assert not new.server.prepared


def test_damage_found_while_preparing_leaves_nothing_prepared(
    pair: tuple[Loopback, Loopback], store: Path
) -> None:
    old, new = pair
    context = old.connect("job").open_context()
    buffer = context.alloc(BUFFER_BYTES)
    context.write(buffer, b"x")
    context.finish()
    cut = polled(begin(old, "snapshot", store))["checkpoint"]
    for pack in (store / "packs").iterdir():
        raw = bytearray(pack.read_bytes())
        raw[len(raw) // 4] ^= 1
        pack.write_bytes(raw)
    with pytest.raises(CheckpointRefused):
        polled(begin(new, "prepare", store, checkpoint=cut))
    assert not new.server.prepared
    assert context.read(buffer, 1) == b"x"


# ---- moves


@pytest.mark.parametrize("rounds", [0, 3])
def test_a_worker_that_never_rests_is_moved_again_and_again(
    fleet: Fleet, store: Path, rounds: int
) -> None:
    names = ["cpu:0", "cpu:1"]
    for name in names:
        fleet.start(name)
    worker = fleet.worker(names[0], "job", STEPS)
    read_until(worker, "step 50")
    for hop in range(3):
        moved = move(fleet.root, "job", names[hop % 2], names[(hop + 1) % 2], store, rounds)
        assert moved.epoch == hop + 2
        assert 0 < moved.pause_s < 30
        assert len(moved.rounds) == (2 if rounds else 1), "its few bytes are copied ahead once"
    assert len(Store(store).records()) == 3, "those of rounds are gone"
    assert result_of(worker) == expected(STEPS)


def test_a_target_that_cannot_have_the_session_leaves_it_running(fleet: Fleet, store: Path) -> None:
    fleet.start("cpu:0")
    fleet.start("noop:0")
    worker = fleet.worker("cpu:0", "job", STEPS)
    read_until(worker, "step 50")
    with pytest.raises(CheckpointRefused, match="part"):
        move(fleet.root, "job", "cpu:0", "noop:0", store)
    with pytest.raises(ServerGone, match="no server of cpu:1 runs"):
        move(fleet.root, "job", "cpu:0", "cpu:1", store)
    with pytest.raises(CheckpointRefused, match="part"):
        move(fleet.root, "job", "cpu:0", "noop:0", store, rounds=0)
    assert fleet.control("cpu:0").status().session("job") is not None
    assert result_of(worker) == expected(STEPS)


@pytest.mark.parametrize("fatal", range(3))
def test_a_target_killed_at_any_step_leaves_the_session_at_its_source(
    fleet: Fleet, store: Path, fatal: int
) -> None:
    """Its steps: claim, claimed, run."""
    fleet.start("cpu:0")
    process = fleet.start_fragile(fatal)
    try:
        with connect("cpu:0", fleet.root, "job") as device, device.open_context() as context:
            buffer = context.alloc(3000)
            context.write(buffer, b"content " * 375)
            context.finish()
            with pytest.raises(ServerGone):
                move(fleet.root, "job", "cpu:0", "fragile", store)
            assert fleet.control("cpu:0").status().session("job") is not None
            context.write(buffer, b"after")
            assert context.read(buffer) == b"after" + (b"content " * 375)[5:]
    finally:
        process.kill()
        process.wait()


SOURCE_STEPS = (  # of a round, and of the suspension, of which nothing is new but the record
    *("blob", "blob", "pack", "rename", "commit", "rename", "committed"),
    *("commit", "rename", "committed", "park", "parked"),
)


@pytest.mark.parametrize("fatal", [0, 2, 3, 5, 6, 8, 9, 10, 11, 12])
def test_a_source_killed_at_any_step_leaves_the_session_at_the_target_or_a_whole_checkpoint(
    fleet: Fleet, store: Path, fatal: int
) -> None:
    fleet.start("cpu:1")
    process = fleet.start_fragile(fatal)
    try:
        device = connect("fragile", fleet.root, "job")
        context = device.open_context()
        buffer = context.alloc(3000)
        context.write(buffer, b"content " * 375)
        context.finish()
        if "park" in SOURCE_STEPS[fatal : fatal + 1] or fatal >= len(SOURCE_STEPS) - 1:
            move(fleet.root, "job", "fragile", "cpu:1", store)
            assert context.read(buffer) == b"content " * 375
            assert fleet.control("cpu:1").status().session("job") is not None
            return
        with pytest.raises(ServerGone):
            move(fleet.root, "job", "fragile", "cpu:1", store)
        with pytest.raises((ServerGone, DeviceLost)):
            context.finish(60.0)
        records = Store(store).records()
        assert len(records) == SOURCE_STEPS[: fatal + 1].count("committed")
        for record in records:
            fleet.control("cpu:1").resume("job", record, store)
            found = reattach("cpu:1", "job", fleet.root)
            assert found.context.read(found.buffers[0]) == b"content " * 375
            found.context.close()
    finally:
        process.kill()
        process.wait()


def test_a_restarted_server_keeps_the_sessions_that_were_suspended_when_it_died(
    fleet: Fleet, store: Path
) -> None:
    process = fleet.start_fragile(7)  # when it is about to park the session
    try:
        context = connect("fragile", fleet.root, "job").open_context()
        buffer = context.alloc(3000)
        context.write(buffer, b"content " * 375)
        context.finish()
        with pytest.raises(ServerGone):
            fleet.control("fragile").suspend("job", store)
        fleet.start("cpu:0", "fragile")
        (record,) = Store(store).records()
        fleet.control("fragile").resume("job", record, store)
        assert context.read(buffer) == b"content " * 375
    finally:
        process.kill()
        process.wait()


def test_an_fpga_is_not_prepared_for(root: Path, store: Path) -> None:
    if "fpga-sim:0" not in PRESENT:
        pytest.skip("not present")
    loop = Loopback(open_device("fpga-sim:0"), root)
    try:
        context = loop.connect("job").open_context()
        context.finish()
        cut = polled(begin(loop, "snapshot", store))["checkpoint"]
        with pytest.raises(Unsupported, match="suspend and resume"):
            begin(loop, "prepare", store, checkpoint=cut)
    finally:
        with suppress(HalError, ProxyError):
            loop.close()
