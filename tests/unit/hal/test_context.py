"""The checking layer, on its own: what it refuses never reaches a driver."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal import Context, Device, Grid, ProgramImage, Usage, open_device
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


@pytest.mark.parametrize(
    "grid",
    [
        Grid((2**63,)),
        Grid((2**70,)),
        Grid((2**31,)),
        Grid((2**16, 2**16, 2)),
        Grid((2.5,)),  # type: ignore[arg-type]
        Grid((4,), (2.0,)),  # type: ignore[arg-type]
        Grid(4),  # type: ignore[arg-type]
        Grid((4,), ()),
        Grid(()),
    ],
)
def test_a_grid_that_no_device_can_count_never_reaches_one(grid: Grid) -> None:
    plan = Plan(())
    with Device(FaultyDriver(open_device("cpu:0")._driver, plan)) as device:
        context = device.open_context()
        program = context.load(ProgramImage("numpy", b"def f(grid):\n    pass\n"))
        before = len(plan.log)
        with pytest.raises(UsageError):
            context.launch(program, "f", (), grid)
        assert len(plan.log) == before
        context.launch(program, "f", (), Grid((np.int64(2**31 - 1), 2)))
        context.finish()


def test_a_read_of_more_than_there_is_makes_no_memory_for_it() -> None:
    context = halted()
    buffer = context.alloc(8)
    context.halt()
    for read in (context.peek, context.read):
        for count, offset in ((2**60, 0), (-1, 0), (None, 9), (1.5, 0), (1, 0.5)):
            with pytest.raises(UsageError):
                read(buffer, count, offset)  # type: ignore[arg-type]


def test_an_array_that_lies_in_pieces_is_written_in_its_own_order() -> None:
    context = halted()
    buffer = context.alloc(24)
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for data in (np.asfortranarray(array), np.repeat(array, 2, axis=1)[:, ::2]):
        context.write(buffer, bytes(24))
        context.write(buffer, data)
        assert context.read(buffer) == array.tobytes()
    context.write(buffer, np.zeros((0, 3), np.float32))
    context.write(buffer, array.astype(">f4"))
    assert context.read(buffer) == array.astype(">f4").tobytes()


def test_what_is_no_memory_is_refused() -> None:
    context = halted()
    buffer = context.alloc(8)
    for call in (
        lambda: context.write(buffer, "text"),  # type: ignore[arg-type]
        lambda: context.read_into(buffer, memoryview(bytearray(8))[::2]),
        lambda: context.read_into(buffer, b"fixed"),  # type: ignore[arg-type]
        lambda: context.alloc(1.5),  # type: ignore[arg-type]
        lambda: context.alloc("4"),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError):
            call()


def test_a_device_is_closed_even_if_one_of_its_contexts_cannot_be() -> None:
    device = open_device("cpu:0")
    contexts = [device.open_context() for _ in range(3)]

    def fail() -> None:
        raise StateError("cannot close")

    contexts[1]._driver.close = fail  # type: ignore[method-assign]
    with pytest.raises(StateError):
        device.close()
    for context in contexts:
        with pytest.raises(UsageError, match="closed"):
            context.alloc(1)
