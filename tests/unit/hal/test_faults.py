"""The fault-injecting driver does what its plan says, and Context passes it on unharmed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hal import Context, Device, open_device
from hal.errors import DeviceFault, DeviceLost, DeviceTimeout, HalError, OutOfMemory
from hal.registry import self_tests
from hal.testing.faults import Fault, FaultyDriver, Kind, Plan
from hal.workload import prepare


def device(*faults: Fault) -> tuple[Device, Plan]:
    plan = Plan(faults)
    return Device(FaultyDriver(open_device("cpu:0")._driver, plan)), plan


def work(context: Context) -> tuple[bytes, ...]:
    prepared = prepare(context, self_tests("cpu:0")[0])
    prepared.launch()
    context.finish()
    return prepared.read()


def test_without_faults_nothing_differs() -> None:
    opened, plan = device()
    with opened, opened.open_context() as context:
        assert work(context) == self_tests("cpu:0")[0].expected
    assert {kind for _, kind in plan.log} == {None}
    assert {"open_context", "alloc", "load", "launch", "signal", "wait"} <= {
        name for name, _ in plan.log
    }


def test_the_nth_call_fails_and_the_next_one_works() -> None:
    opened, _ = device(Fault(2, Kind.MEMORY), Fault(4, Kind.FAULT))
    with opened, opened.open_context() as context:
        buffer = context.alloc(8)
        with pytest.raises(OutOfMemory):
            context.alloc(8)
        context.write(buffer, b"unharmed")
        with pytest.raises(DeviceFault):
            context.write(buffer, b"lost....")
        assert context.read(buffer) == b"unharmed"


def test_a_lost_device_stays_lost_but_closes() -> None:
    opened, _ = device(Fault(1, Kind.LOSS))
    with opened, opened.open_context() as context:
        for _ in range(3):
            with pytest.raises(DeviceLost):
                context.alloc(8)


def test_a_timeout_is_no_loss() -> None:
    opened, _ = device(Fault(4, Kind.TIMEOUT), Fault(6, Kind.TIMEOUT))
    with opened, opened.open_context() as context:
        buffer = context.alloc(4)
        context.write(buffer, b"here")
        seq = context.signal()
        assert not context.wait(seq, 60.0)
        assert context.wait(seq, 60.0)
        with pytest.raises(DeviceTimeout):
            context.halt()
        context.halt()
        assert context.peek(buffer) == b"here"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 3))
def test_a_seed_gives_the_same_failures_again(seed: int, count: int) -> None:
    stories = []
    for _ in range(2):
        plan = Plan.seeded(seed, 12, count)
        opened = Device(FaultyDriver(open_device("cpu:0")._driver, plan))
        try:
            with opened, opened.open_context() as context:
                ending = repr(work(context))
        except HalError as error:
            ending = repr(error)
        stories.append((plan.log, ending))
    assert stories[0] == stories[1]
