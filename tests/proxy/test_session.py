"""The protocol's halves, without any memory between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal.errors import OutOfMemory, UsageError
from hal.types import Seq
from proxy import records, wire
from proxy.errors import RemoteProtocolError
from proxy.session import ServerHalf, WorkerHalf


def take_all(half: ServerHalf) -> list[records.Command]:
    found = []
    while (command := half.peek()) is not None:
        half.take()
        half.handed_over(isinstance(command, records.Launch))
        found.append(command)
    return found


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.integers(1, 50))
def test_records_arrive_whatever_pieces_they_come_in(values: list[int], piece: int) -> None:
    worker: WorkerHalf[None] = WorkerHalf()
    stream = b""
    for value in values:
        stream += worker.record(records.Free(value))
        worker.was_put()
    server = ServerHalf()
    found = []
    for at in range(0, len(stream), piece):
        server.receive(stream[at : at + piece])
        found += take_all(server)
    assert found == [records.Free(value) for value in values]
    assert server.issued == worker.sent == len(values)


def test_a_record_out_of_turn_ends_the_session() -> None:
    server = ServerHalf()
    server.receive(wire.encode(2, records.Free(1)))
    with pytest.raises(RemoteProtocolError, match="rise by one"):
        server.peek()


def test_a_call_in_the_ring_ends_the_session() -> None:
    server = ServerHalf()
    server.receive(wire.encode(1, records.GoOn()))
    with pytest.raises(RemoteProtocolError, match="not a command"):
        server.peek()


def test_seqs_that_fall_end_the_session() -> None:
    server = ServerHalf()
    server.signalled(5)
    with pytest.raises(RemoteProtocolError, match="seqs rise"):
        server.signalled(5)


def feed(server: ServerHalf, *commands: records.Command) -> None:
    for command in commands:
        server.receive(wire.encode(server.issued + 1, command))
        server.peek()
        server.take()
        if isinstance(command, records.Signal):
            server.signalled(command.seq)
        else:
            server.handed_over(isinstance(command, records.Launch))


LAUNCH = records.Launch(1, "k", (), (1,), ())


def test_a_signal_completes_with_what_is_before_it_and_no_sooner() -> None:
    server = ServerHalf()
    feed(server, LAUNCH, records.Signal(1))
    server.depart(Seq(70))
    feed(server, records.Signal(2))  # nothing new before it: rides along
    feed(server, LAUNCH, records.Signal(3))
    server.depart(Seq(71))
    assert (server.completed, server.retired) == (0, 0)
    server.land()
    assert (server.completed, server.retired) == (2, 3)
    assert server.kernel_in_flight
    server.land()
    assert (server.completed, server.retired) == (3, 5)
    assert not server.kernel_in_flight


def test_a_signal_with_nothing_before_it_completes_at_once() -> None:
    server = ServerHalf()
    feed(server, records.Signal(9))
    assert (server.completed, server.retired) == (9, 1)


def test_the_first_error_is_kept_until_it_is_told() -> None:
    server = ServerHalf()
    server.fail(OutOfMemory("first"))
    server.fail(UsageError("follows from the first"))
    assert isinstance(server.take_error(), OutOfMemory)
    assert server.take_error() is None


def test_reads_are_handed_over_when_they_retired_and_in_order() -> None:
    worker: WorkerHalf[str] = WorkerHalf()
    for name in ("a", "b"):
        worker.record(records.Read(1, 0, 8, 0))
        worker.was_put(reading=name)
    worker.record(records.Signal(1))
    worker.was_put()
    assert worker.finished_reads(0) == []
    assert worker.finished_reads(1) == ["a"]
    assert worker.finished_reads(3) == ["b"]
    assert not worker.reads_pending
