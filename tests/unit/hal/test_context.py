"""The checking layer, on its own: what it refuses never reaches a driver."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal import Context, Device, Grid, Usage, open_device
from hal.errors import StateError, UsageError
from hal.testing.faults import FaultyDriver, Plan
from hal.types import Seq

SIZE = 100
NUMBERS = st.integers(-5, SIZE + 5) | st.integers(-(2**70), 2**70)


@settings(max_examples=200, deadline=None)
@given(offset=NUMBERS, count=NUMBERS, target=NUMBERS)
def test_a_range_is_either_inside_or_refused(offset: int, count: int, target: int) -> None:
    plan = Plan(())
    driver = FaultyDriver(open_device("noop:0")._driver, plan)
    with Device(driver) as device, device.open_context() as context:
        one, other = context.alloc(SIZE), context.alloc(SIZE)
        before = len(plan.log)
        good = count >= 0 and 0 <= offset <= SIZE - count and 0 <= target <= SIZE - count
        if good:
            context.copy(one, other, count, offset, target)
            return
        with pytest.raises(UsageError):
            context.copy(one, other, count, offset, target)
        assert len(plan.log) == before


def test_every_usage_is_asked_for() -> None:
    with open_device("cpu:0") as device, device.open_context() as context:
        bare = context.alloc(8, Usage(0))
        full = context.alloc(8)
        for call in (
            lambda: context.write(bare, b"x"),
            lambda: context.read(bare),
            lambda: context.copy(bare, full, 1),
            lambda: context.copy(full, bare, 1),
        ):
            with pytest.raises(UsageError, match="lacks usage"):
                call()


def test_buffers_are_listed_in_the_order_of_their_birth() -> None:
    with open_device("noop:0") as device, device.open_context() as context:
        made = [context.alloc(size) for size in (3, 1, 2)]
        made.pop(1).free()
        assert [buffer.size_bytes for buffer in context.buffers] == [3, 2]
        assert context.buffers == tuple(made)


def halted() -> Context:
    context = open_device("cpu:0").open_context()
    context.halt()
    return context


def test_a_halted_context_says_so_until_it_goes_on() -> None:
    context = halted()
    buffer = context.alloc(8)
    assert context.halted
    context.peek(buffer)
    context.save_state()
    assert context.halted
    for go_on in (
        lambda: context.write(buffer, b"x"),
        lambda: context.signal(),
        lambda: context.read(buffer),
        lambda: context.copy(buffer, context.alloc(8), 1),
    ):
        context.halt()
        go_on()
        assert not context.halted
        with pytest.raises(StateError, match="halt it first"):
            context.save_state()


def test_a_loaded_context_goes_on_counting_where_the_saved_one_stood() -> None:
    context = halted()
    context.load_state(b"", Seq(41))
    assert context.halted
    assert context.wait(Seq(41), 0.0)
    assert context.signal() == 42
    assert context.wait(Seq(42), 1.0)


def test_peeking_takes_no_seq() -> None:
    context = halted()
    buffer = context.alloc(8)
    context.halt()
    context.peek(buffer)
    assert context.last_seq == 0


def test_a_grid_defaults_to_one_work_item() -> None:
    assert Grid() == Grid((1,), None)
