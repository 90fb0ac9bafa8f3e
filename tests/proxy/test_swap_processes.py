"""Swapping between processes that are killed, and in any order of things."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from opencl_records import Speaker
from proxy_fleet import read_until
from swapping import (
    MIB,
    limits,
    swap_of,
    tenant_of,
)

from hal import list_devices, open_device
from hal.errors import OutOfMemory
from proxy import operations, records
from proxy.client import connect
from proxy.control import Control
from proxy.info import read_info
from proxy.known import PIECE_BYTES
from proxy.launcher import spawn
from proxy.loopback import Loopback
from tests.waiting import until

# ---- processes

WORKER = """
import sys, time
from pathlib import Path
from proxy.client import connect
with connect("opencl:0", Path(sys.argv[1])) as device, device.open_context() as context:
    buffer = context.alloc(1 << 20)
    context.write(buffer, bytes(range(256)) * 4096)
    context.finish()
    print("there", flush=True)
    time.sleep(60)
"""


def test_a_worker_that_is_killed_while_it_is_swapped_out_leaves_nothing(root: Path) -> None:
    if "opencl:0" not in {info.uri for info in list_devices()}:
        pytest.skip("opencl:0 is not present")
    server = spawn("opencl:0", root, tied=True, core="native", limits=limits(MIB))
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root)], stdout=subprocess.PIPE, text=True
    )
    try:
        read_until(worker, "there")
        control = Control(root, "opencl:0")
        with connect("opencl:0", root) as device, device.open_context() as context:
            buffer = context.alloc(MIB)
            context.write(buffer, b"abcd" * (MIB // 4))
            context.finish()
            sessions = {each.worker_pid: each.out_bytes for each in control.status().sessions}
            assert sessions == {worker.pid: MIB, os.getpid(): 0}
            worker.kill()
            until(lambda: len(control.status().sessions) == 1)
            assert context.read(buffer) == b"abcd" * (MIB // 4)
    finally:
        worker.kill()
        worker.communicate()
        server.stop()


@pytest.mark.parametrize("checkpoint_every_s", [None, 0.2])
def test_sessions_that_were_swapped_out_are_redone_by_turns_when_their_server_is_killed(
    root: Path, tmp_path: Path, checkpoint_every_s: float | None
) -> None:
    """From their beginning, or from checkpoints."""
    if "opencl:0" not in {info.uri for info in list_devices()}:
        pytest.skip("opencl:0 is not present")
    server = spawn(
        "opencl:0", root, tied=True, core="native", limits=limits(3 * MIB), restarts=2,
        checkpoint_every_s=checkpoint_every_s, store=tmp_path,
    )  # fmt: skip
    control = Control(root, "opencl:0")
    with ExitStack() as opened:
        held = []
        for number in range(3):
            device = opened.enter_context(connect("opencl:0", root, session=f"job-{number}"))
            context = opened.enter_context(device.open_context())
            buffers = [context.alloc(MIB) for _ in range(2)]
            for index, buffer in enumerate(buffers):
                context.write(buffer, bytes([number, index]) * (MIB // 2))
            context.finish()
            held.append((context, buffers))
        assert sum(each.out_bytes for each in control.status().sessions) >= 3 * MIB
        if checkpoint_every_s:
            until(lambda: len(list(tmp_path.glob("records/*"))) >= 3)
        info = read_info(server.paths.info)
        assert info is not None
        os.kill(info.pid, signal.SIGKILL)
        for number, (context, buffers) in enumerate(held):
            for index, buffer in enumerate(buffers):
                assert context.read(buffer) == bytes([number, index]) * (MIB // 2)
        assert sum(each.out_bytes for each in control.status().sessions) >= 3 * MIB
    server.stop()


# ---- any order of things

THERE = 4 * PIECE_BYTES
SIZES = st.sampled_from([1, 1000, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, THERE])


class Sharing(RuleBasedStateMachine):
    """Sessions come, write, copy, free and go; bytes are compared with a model's."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="haltere-t-", dir="/dev/shm"))
        device = open_device("opencl:0")
        bounds = limits(THERE, 4 * THERE)
        self.loop = Loopback(device, self._folder, "n:0", core="native", limits=bounds)
        self.sessions: dict[str, tuple[Speaker, dict[int, bytearray]]] = {}
        self._count = 0

    def teardown(self) -> None:
        self.loop.close()
        shutil.rmtree(self._folder)

    @precondition(lambda self: len(self.sessions) < 4)
    @rule()
    def come(self) -> None:
        self._count += 1
        name = f"s{self._count}"
        self.sessions[name] = Speaker(self.loop, name), {}

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), nbytes=SIZES)
    def alloc(self, data: st.DataObject, nbytes: int) -> None:
        speaker, held = self._one(data)
        alone = sum(map(len, held.values())) + nbytes
        together = sum(len(each) for _, all_ in self.sessions.values() for each in all_.values())
        buffer = speaker.buffer(nbytes)
        if alone > THERE or together + nbytes > 4 * THERE:
            with pytest.raises(OutOfMemory):
                speaker.done()
            speaker.put(records.Free(buffer))
        else:
            speaker.done()
            held[buffer] = bytearray(nbytes)

    @precondition(lambda self: any(held for _, held in self.sessions.values()))
    @rule(data=st.data(), fill=st.binary(min_size=1, max_size=8))
    def write(self, data: st.DataObject, fill: bytes) -> None:
        speaker, held, buffer = self._buffer(data)
        at = data.draw(st.integers(0, len(held[buffer]) - 1))
        fill = fill[: len(held[buffer]) - at]
        speaker.put(records.WriteInline(buffer, at, fill))
        held[buffer][at : at + len(fill)] = fill

    @precondition(lambda self: any(held for _, held in self.sessions.values()))
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        speaker, held, buffer = self._buffer(data)
        assert speaker.bytes_of(buffer, len(held[buffer])) == held[buffer]

    @precondition(lambda self: any(held for _, held in self.sessions.values()))
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        speaker, held, buffer = self._buffer(data)
        speaker.put(records.Free(buffer))
        del held[buffer]

    @precondition(lambda self: self.sessions)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.sessions)))
        del self.sessions[name]
        operations.Drop(self.loop.server, "1", name).poll()

    @invariant()
    def all_adds_up(self) -> None:
        for _ in range(3):
            self.loop._idle(0, 0.001)
        room = swap_of(self.loop)
        if room._move is not None:
            return
        there = room._engine.used_bytes
        assert there <= THERE
        tenants = [tenant_of(self.loop, name) for name in self.sessions]
        assert there == sum(sum(tenant.objects.there().values()) for tenant in tenants)
        outs = [content for tenant in tenants for content in tenant.objects.out.values()]
        assert sum(content.nbytes for content in outs) == sum(t.out_bytes for t in tenants)
        users = sum(piece.users for piece in room._space._pieces.values())
        assert users == sum(len(content._names) for content in outs)
        assert room._space.used_bytes == sum(p.nbytes for p in room._space._pieces.values())

    def _one(self, data: st.DataObject) -> tuple[Speaker, dict[int, bytearray]]:
        return self.sessions[data.draw(st.sampled_from(sorted(self.sessions)))]

    def _buffer(self, data: st.DataObject) -> tuple[Speaker, dict[int, bytearray], int]:
        having = sorted(name for name, (_, held) in self.sessions.items() if held)
        speaker, held = self.sessions[data.draw(st.sampled_from(having))]
        return speaker, held, data.draw(st.sampled_from(sorted(held)))


Sharing.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestSharing = pytest.mark.skipif(
    "opencl:0" not in {info.uri for info in list_devices()}, reason="opencl:0 is not present"
)(Sharing.TestCase)
