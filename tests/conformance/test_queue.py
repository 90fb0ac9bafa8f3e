"""The queue: commands run in order, and seqs tell how far they came."""

from __future__ import annotations

import random

import pytest

from hal import Context, Device
from hal.errors import UsageError

MANY = 1500  # commands; more than any queue is deep


def test_commands_run_in_the_order_given(context: Context) -> None:
    one, other = context.alloc(16), context.alloc(16)
    context.write(one, b"a" * 16)
    context.copy(one, other, 16)
    context.write(one, b"b" * 16)
    context.copy(other, one, 8)
    assert context.read(one) == b"a" * 8 + b"b" * 8
    assert context.read(other) == b"a" * 16


def test_written_data_may_be_reused_at_once(context: Context) -> None:
    buffer = context.alloc(70_000)
    data = bytearray(b"\x01" * 70_000)
    context.write(buffer, data)
    data[:] = b"\x02" * len(data)
    assert context.read(buffer) == b"\x01" * 70_000


def test_a_read_is_there_once_a_later_signal_is(context: Context) -> None:
    data = random.Random(4).randbytes(5000)
    buffer = context.alloc(len(data))
    into, part = bytearray(len(data)), bytearray(7)
    context.write(buffer, data)
    context.read_into(buffer, into)
    context.read_into(buffer, memoryview(part)[2:5], offset=100)
    context.write(buffer, bytes(len(data)))
    assert context.wait(context.signal(), 60.0)
    assert into == data
    assert part == bytes(2) + data[100:103] + bytes(2)


def test_a_read_needs_a_writable_place(context: Context) -> None:
    buffer = context.alloc(4)
    with pytest.raises(UsageError):
        context.read_into(buffer, memoryview(b"four"))


def test_seqs_increase_and_complete_in_order(context: Context) -> None:
    buffer = context.alloc(4)
    seqs = []
    for index in range(5):
        context.write(buffer, bytes([index] * 4))
        seqs.append(context.signal())
    assert seqs == sorted(set(seqs))
    assert seqs[0] > 0
    assert context.last_seq == seqs[-1]
    assert context.wait(seqs[-1], 60.0)
    assert all(context.wait(seq, 0.0) for seq in seqs)


def test_a_completed_seq_stays_completed(context: Context) -> None:
    seq = context.signal()
    assert context.wait(seq, 60.0)
    context.write(context.alloc(8), bytes(8))
    context.signal()
    assert context.wait(seq, 0.0)


def test_waiting_for_what_was_never_signalled_is_refused(context: Context) -> None:
    seq = context.signal()
    with pytest.raises(UsageError):
        context.wait(type(seq)(seq + 1), 1.0)
    context.finish()


def test_a_finished_context_has_run_everything(context: Context) -> None:
    buffer = context.alloc(4)
    into = bytearray(4)
    context.write(buffer, b"done")
    context.read_into(buffer, into)
    context.finish()
    assert into == b"done"


def test_more_commands_than_the_queue_holds_all_run(context: Context) -> None:
    count = min(MANY, context.caps.queue_depth + 200)
    buffer = context.alloc(count)
    for index in range(count):
        context.write(buffer, bytes([index % 251]), offset=index)
    assert context.read(buffer) == bytes(index % 251 for index in range(count))


def test_a_buffer_may_be_freed_behind_commands_that_use_it(context: Context) -> None:
    source, target = context.alloc(4096), context.alloc(4096)
    context.write(source, b"\x05" * 4096)
    context.copy(source, target, 4096)
    source.free()
    other = context.alloc(4096)
    context.write(other, b"\x06" * 4096)
    assert context.read(target) == b"\x05" * 4096


def test_queues_of_two_contexts_do_not_wait_for_each_other(device: Device) -> None:
    with device.open_context() as one, device.open_context() as other:
        mine, yours = one.alloc(8), other.alloc(8)
        one.write(mine, b"a" * 8)
        other.write(yours, b"b" * 8)
        assert other.wait(other.signal(), 60.0)
        assert one.wait(one.signal(), 60.0)
        assert (one.read(mine), other.read(yours)) == (b"a" * 8, b"b" * 8)
