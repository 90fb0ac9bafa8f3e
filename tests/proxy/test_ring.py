"""The ring: bytes come out as they went in, whatever the sizes, round and round."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.errors import RemoteProtocolError
from proxy.ring import Consumer, Producer

CAPACITY = 64


class Number:
    def __init__(self, value: int = 0) -> None:
        self.value = value

    def get(self) -> int:
        return self.value

    def set(self, value: int) -> None:
        self.value = value


class RingAgainstAList(RuleBasedStateMachine):
    """The model is a bytearray of what was put and not yet released."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = memoryview(bytearray(CAPACITY))
        self.head, self.tail = Number(), Number()
        self.producer = Producer(self.memory, self.head, self.tail)
        self.consumer = Consumer(self.memory, self.head, self.tail)
        self.model = b""
        self.taken = 0
        self.next = 0

    @rule(size=st.integers(1, CAPACITY + 8))
    def put(self, size: int) -> None:
        record = bytes((self.next + i) % 251 for i in range(size))
        fits = size <= CAPACITY - len(self.model)
        assert self.producer.put(record) == fits
        if fits:
            self.model += record
            self.next += size

    @rule(limit=st.integers(0, CAPACITY))
    def take(self, limit: int) -> None:
        data = self.consumer.take(limit)
        assert data == self.model[self.taken : self.taken + limit]
        self.taken += len(data)

    @rule(part=st.integers(0, CAPACITY))
    def release(self, part: int) -> None:
        nbytes = min(part, self.taken)
        self.consumer.release(nbytes)
        self.model = self.model[nbytes:]
        self.taken -= nbytes

    @rule()
    def another_server_goes_on_at_the_tail(self) -> None:
        self.consumer = Consumer(self.memory, self.head, self.tail, self.consumer.tail)
        self.taken = 0

    @invariant()
    def what_is_undone_is_all_there(self) -> None:
        assert self.consumer.undone() == self.model


TestRingAgainstAList = RingAgainstAList.TestCase
TestRingAgainstAList.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@given(st.integers(0, 2**64 - 1))
def test_a_head_that_cannot_be_is_refused(head: int) -> None:
    tail = 1000
    consumer = Consumer(memoryview(bytearray(CAPACITY)), Number(head), Number(tail))
    if tail <= head <= tail + CAPACITY:
        assert len(consumer.take(CAPACITY)) == head - tail
    else:
        with pytest.raises(RemoteProtocolError, match="ring head"):
            consumer.take(CAPACITY)
