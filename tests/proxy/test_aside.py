"""What takes long for one session holds up no other."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from opencl_records import Speaker
from polling import polled

from hal.errors import ProgramRejected
from hal.types import BufferArg, Handle
from proxy import checkpoint, operations, records, wire
from proxy.aside import Aside, at_once
from proxy.errors import LeaseExpired
from proxy.loopback import Loopback
from proxy.native_objects import NativeObjects
from proxy.segment import Line
from proxy.store import Store

MIB = 1 << 20
TRIPS = 20
BUMP = "kernel void bump(global uint *a) { a[get_global_id(0)] += 1; }"
# some seconds of a compiler's time
LONG = "".join(
    f"kernel void k{n}(global float *a) {{ for (int i = 0; i < 8; ++i) "
    f"a[i] = sin(a[i] * {n}.5f) + cos(a[i + 1]) * exp(a[i + 2]); }}\n"
    for n in range(400)
)


class Other:
    """A session that launches and waits, again and again."""

    def __init__(self, loop: Loopback) -> None:
        self.speaker = Speaker(loop, "other")
        self._program, self._buffer = self.speaker.program(BUMP), self.speaker.buffer(64)
        self.trip()
        self.trips = 0

    def trip(self) -> None:
        args = (BufferArg(Handle(self._buffer)),)
        self.speaker.launch(self._program, "bump", args, (16,))
        self.speaker.done()
        self.trips = getattr(self, "trips", 0) + 1


def ask_to_load(speaker: Speaker, source: str) -> int:
    """Without waiting for the answer; the call's number."""
    channel, segment = speaker.channel, speaker.channel.segment
    channel.upload(source.encode())
    channel._calls += 1
    number = channel._calls
    call = records.Load(speaker.handle(), "opencl-c", "")
    segment.write_request(wire.encode(number, call))
    segment[Line.REQUEST_AFTER] = 0
    segment[Line.REQUEST] = number
    segment.bell.ring()
    return number


def test_others_go_on_while_a_session_builds_a_long_program(native_loop: Loopback) -> None:
    other, building = Other(native_loop), Speaker(native_loop, "building", 4 * MIB)
    number, segment = ask_to_load(building, LONG), building.channel.segment
    while segment[Line.REPLY] != number and other.trips < 10_000:
        other.trip()
    assert other.trips >= TRIPS
    assert building.channel.block(lambda: segment[Line.REPLY] == number, 60.0)
    assert isinstance(segment.read_reply(), records.Done)


def test_a_build_that_fails_tells_why_and_uses_its_number_up(native_loop: Loopback) -> None:
    speaker = Speaker(native_loop, "job")
    with pytest.raises(ProgramRejected, match="nonsense"):
        speaker.program("kernel void k() { nonsense; }")
    speaker.program(BUMP)


class Gate:
    """Holds every build until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.begun = threading.Event(), threading.Event()
        inner = NativeObjects.builder

        def builder(objects: NativeObjects, image: object) -> object:
            build = inner(objects, image)  # type: ignore[arg-type]

            def gated() -> None:
                self.begun.set()
                assert self.open.wait(60.0)
                build()

            return gated

        monkeypatch.setattr(NativeObjects, "builder", builder)


def test_a_session_may_end_while_it_builds(
    native_loop: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, building = Other(native_loop), Speaker(native_loop, "building")
    gate = Gate(monkeypatch)
    ask_to_load(building, BUMP)
    other.trip()
    assert gate.begun.wait(20.0)
    server = native_loop.server
    server.end(server.served["building"], LeaseExpired("its worker died"))
    other.trip()
    gate.open.set()
    assert server.builds.close(20.0)
    server._look_around()
    other.trip()


def test_a_session_is_stored_while_it_builds_and_has_its_program_afterwards(
    native_loop: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    speaker = Speaker(native_loop, "job")
    gate = Gate(monkeypatch)
    number = ask_to_load(speaker, BUMP)
    while not gate.begun.is_set():
        native_loop._idle(0, 0.001)
    request = {"do": "snapshot", "session": "job", "store": str(tmp_path), "timeout_s": 20}
    storing = operations.begin(native_loop.server, "1", request)
    answer = polled(storing)
    gate.open.set()
    segment = speaker.channel.segment
    assert speaker.channel.block(lambda: segment[Line.REPLY] == number, 60.0)
    log = checkpoint.read(answer["checkpoint"], Store(tmp_path)).snapshot.log
    assert log.programs == {}
    assert len(native_loop.server.served["job"].tenant.objects.log.programs) == 1


@pytest.mark.parametrize("do", ["snapshot", "suspend"])
def test_others_go_on_while_a_large_session_is_stored(
    native_loop: Loopback, root: Path, do: str
) -> None:
    other, large = Other(native_loop), Speaker(native_loop, "large", 8 * MIB)
    tile = np.random.default_rng(1).integers(0, 2**32, 2 * MIB, np.uint32)
    buffers = [large.buffer(tile + number) for number in range(4)]
    whole = large.buffer(512 * MIB)
    large.launch(large.program(BUMP), "bump", (BufferArg(Handle(whole)),), (MIB,))
    large.done()
    request = {"do": do, "session": "large", "store": str(root / "s"), "timeout_s": 60}
    storing = operations.begin(native_loop.server, "1", request)
    answer = polled(storing, other.trip)
    assert other.trips >= TRIPS
    found = checkpoint.read(answer["checkpoint"], Store(root / "s"))
    for number, buffer in enumerate(buffers):
        assert b"".join(found.contents(buffer)) == (tile + number).tobytes()


def test_no_more_errands_are_under_way_than_may_be() -> None:
    rung, gate = threading.Semaphore(0), threading.Event()
    aside = Aside(rung.release, 2)
    first, second = aside.start(gate.wait), aside.start(lambda: 1 // 0)
    assert first is not None and second is not None
    assert rung.acquire(timeout=20.0)
    assert second.done and not first.done
    with pytest.raises(ZeroDivisionError):
        second.result()
    third = aside.start(gate.wait)
    assert third is not None and aside.start(gate.wait) is None
    assert not aside.close(0.0)
    gate.set()
    assert aside.close(20.0) and first.result() and third.result()
    assert at_once(lambda: 3).result() == 3
