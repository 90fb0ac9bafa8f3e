"""Sessions that share an OpenCL device: turns by weight, a watchdog, bounds, hostile neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opencl_records import Speaker

from hal import list_devices, open_device
from hal.errors import DeviceFault, OutOfMemory, Unsupported, UsageError
from hal.types import BufferArg, Handle, ScalarArg
from proxy import operations, records, wire
from proxy.errors import LeaseExpired
from proxy.limits import Limits
from proxy.loopback import Loopback
from proxy.native_tenant import NativeTenant
from proxy.segment import Line

SPIN = """
kernel void spin(global uint *a, uint turns) {
    uint x = a[0];
    for (uint i = 0; i < turns; ++i) x = x * 1664525u + a[1];
    a[0] = x;
}
"""
SLICES = Limits(quantum_ms=2.0, kernel_s=0.0)
ROUNDS = 100_000


Serve = Callable[[Limits], Loopback]


@pytest.fixture
def serve(root: Path) -> Iterator[Serve]:
    """Start a native server with some limits."""
    if "opencl:0" not in {info.uri for info in list_devices()}:
        pytest.skip("opencl:0 is not present")
    found: list[Loopback] = []

    def start(limits: Limits) -> Loopback:
        device = open_device("opencl:0")
        found.append(Loopback(device, root, "native:0", core="native", limits=limits))
        return found[-1]

    yield start
    for loop in found:
        loop.close()


def tenant_of(loop: Loopback, session: str) -> NativeTenant:
    tenant = loop.server.served[session].tenant
    assert isinstance(tenant, NativeTenant)
    return tenant


def bound(loop: Loopback, session: str, nbytes: int) -> None:
    request = {"do": "bound", "session": session, "nbytes": nbytes}
    operations.begin(loop.server, "r", request).poll()


class Spinner:
    """A session whose kernels take a while."""

    def __init__(self, loop: Loopback, session: str, turns: int = 300_000) -> None:
        self.speaker = Speaker(loop, session)
        self.tenant = tenant_of(loop, session)
        self._program, self._buffer = self.speaker.program(SPIN), self.speaker.buffer(8)
        self.speaker.done()
        self._args = (BufferArg(Handle(self._buffer)), ScalarArg.u32(turns))

    def launch(self, count: int) -> None:
        for _ in range(count):
            self.speaker.launch(self._program, "spin", self._args, (1,))

    @property
    def has_more(self) -> bool:
        return self.tenant.words.issued < self.speaker.channel.sent


def weigh(loop: Loopback, session: str, weight: int) -> None:
    request = {"do": "weigh", "session": session, "weight": weight}
    assert operations.begin(loop.server, "1", request).poll() == {}


def switches(loop: Loopback) -> int:
    assert loop.server._engine is not None
    return loop.server._engine.switches


# ---- turns


@pytest.mark.parametrize("weights", [(1, 1), (1, 3)])
def test_busy_sessions_have_the_device_as_their_weights_say(
    serve: Serve, weights: tuple[int, int]
) -> None:
    loop = serve(SLICES)
    spinners = [Spinner(loop, "a", 1_500_000), Spinner(loop, "b", 3_500_000)]
    for spinner, weight in zip(spinners, weights, strict=True):
        weigh(loop, spinner.tenant.name, weight)
        spinner.tenant.draining = True  # until all have work
        spinner.launch(130)
    before = [spinner.tenant.device_ns for spinner in spinners]
    for spinner in spinners:
        spinner.tenant.draining = False
    for _ in range(ROUNDS):
        loop._idle(0, 0.001)
        if not all(spinner.has_more for spinner in spinners):
            break
    used = [s.tenant.device_ns - was for s, was in zip(spinners, before, strict=True)]
    assert abs(used[0] / sum(used) - weights[0] / sum(weights)) < 0.1
    assert switches(loop) > 5
    for spinner in spinners:
        spinner.speaker.done()


def test_a_session_alone_has_all_of_the_device(serve: Serve) -> None:
    loop = serve(SLICES)
    others = [Spinner(loop, name) for name in "bcd"]
    busy = Spinner(loop, "a")
    before = switches(loop)
    busy.launch(50)
    busy.speaker.done()
    assert switches(loop) - before <= 1
    assert not any(other.has_more for other in others)


def test_a_session_that_never_ends_a_record_keeps_nobody_waiting(serve: Serve) -> None:
    """Its ring is not empty, but there is nothing to do."""
    loop = serve(SLICES)
    hostile, honest = Speaker(loop, "hostile"), Spinner(loop, "honest")
    segment = hostile.channel.segment
    record = wire.encode(hostile.channel.sent + 1, records.WriteInline(1, 0, bytes(64)))
    at = segment[Line.HEAD] % segment.ring_bytes
    segment.ring[at : at + 24] = record[:24]
    segment[Line.HEAD] += 24
    honest.launch(20)
    honest.speaker.done()


def test_a_session_that_floods_the_server_with_nothing_keeps_nobody_waiting(serve: Serve) -> None:
    loop = serve(SLICES)
    hostile, honest = Speaker(loop, "hostile"), Spinner(loop, "honest")
    honest.launch(20)
    for _ in range(200):
        hostile.put(records.Free(77))
    honest.speaker.done()


# ---- bounds


def test_a_kernel_that_runs_too_long_ends_its_session_by_name_and_no_other(serve: Serve) -> None:
    loop = serve(Limits(kernel_s=0.15))
    stuck, other = Spinner(loop, "stuck", 400_000_000), Speaker(loop, "other")
    kept = other.buffer(b"kept")
    stuck.launch(1)
    with pytest.raises(DeviceFault, match=r"kernel 'spin' \(command 2\)"):
        stuck.speaker.done()
    assert list(loop.server.served) == ["other"]
    assert other.bytes_of(kept, 4) == b"kept"


def test_a_session_s_memory_is_bounded(serve: Serve) -> None:
    loop = serve(Limits(session_bytes=1 << 20))
    speaker, other = Speaker(loop, "a"), Speaker(loop, "b")
    first = speaker.buffer(1 << 19)
    speaker.buffer((1 << 19) + 1)
    with pytest.raises(OutOfMemory, match="this session holds"):
        speaker.done()
    speaker.put(records.Free(first))
    speaker.buffer(1 << 20)
    other.buffer(1 << 20)
    speaker.done()
    other.done()


def test_a_session_s_bound_is_changed_while_it_lives_but_not_beyond_the_server_s(
    serve: Serve,
) -> None:
    loop = serve(Limits(session_bytes=1 << 20))
    speaker, other = Speaker(loop, "a"), Speaker(loop, "b")
    bound(loop, "a", 1 << 19)
    speaker.buffer(1 << 19)
    speaker.done()
    speaker.buffer(1)
    with pytest.raises(OutOfMemory, match="this session holds"):
        speaker.done()
    bound(loop, "b", 1 << 30)
    other.buffer((1 << 20) + 1)
    with pytest.raises(OutOfMemory):
        other.done()


def test_a_server_that_counts_no_session_s_memory_says_so(root: Path) -> None:
    loop = Loopback(open_device("cpu:0"), root, "python:0")
    try:
        Speaker(loop, "a")
        with pytest.raises(Unsupported, match="does not count"):
            bound(loop, "a", 1 << 20)
        with pytest.raises(UsageError, match="64 bits"):
            bound(loop, "a", -1)
    finally:
        loop.close()


# ---- garbage

WORDS = [line for line in Line if line not in (Line.MAGIC, Line.RING_BYTES, Line.ARENA_BYTES)]
ODD = st.one_of(
    st.sampled_from([0, 1, 2, 16, 2**31, 2**32 - 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1)
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    garbage=st.binary(max_size=2000),
    words=st.dictionaries(st.sampled_from(WORDS), ODD, max_size=4),
    real=st.integers(0, 3),
)
def test_garbage_in_shared_memory_ends_its_own_session_at_most(
    shared: Loopback, garbage: bytes, words: dict[Line, int], real: int
) -> None:
    bystander, speaker = Speaker(shared, "bystander"), Speaker(shared, "garbage")
    kept, buffer = bystander.buffer(b"kept"), speaker.buffer(64)
    for _ in range(real):
        speaker.put(records.Fill(buffer, 0, 64, b"ab"))
    segment = speaker.channel.segment
    at = segment[Line.HEAD] % segment.ring_bytes
    garbage = garbage[: segment.ring_bytes - at]
    segment.ring[at : at + len(garbage)] = garbage
    segment[Line.HEAD] += len(garbage)
    for line, value in words.items():
        segment[line] = value
    segment.bell.ring()
    for _ in range(20):
        shared._idle(0, 0.001)
    assert bystander.bytes_of(kept, 4) == b"kept"
    for name in tuple(shared.server.served):
        shared.server.end(shared.server.served[name], LeaseExpired("the example is over"))


@pytest.fixture
def shared(serve: Serve) -> Loopback:
    return serve(Limits())
