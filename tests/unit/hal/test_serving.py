"""Models, sessions and their async twins over a runner whose speed the test holds in its hands.

The runner adds up what it is given, so that a lost, doubled or reordered call shows in a state.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest

from hal import serving
from hal.errors import Busy, StateError, Unsupported, UsageError
from hal.registry import open_device
from hal.serving import AsyncModel, Model, State
from hal.serving.async_model import Opening
from hal.serving.seam import Outcome, StateSpec, TensorSpec

BOUND_S = 60.0  # of everything that is waited for


class Adder:
    """y = sum + x, with the sum as state. Waits for `gate` in every call."""

    name, digest, kind, device, stateless = "adder", "d1", "sums", "test:0", ""
    inputs = (TensorSpec("x", (1,)),)
    outputs = (TensorSpec("y", (1,)),)
    states = (StateSpec("sum", np.zeros(1, np.float32)),)

    def __init__(self, open_gate: bool = True) -> None:
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)
        self.ran: list[float] = []
        self.closed = 0
        if open_gate:
            self.gate.set()

    def run(self, arrays: Mapping[str, Any], timeout_s: float) -> Outcome:
        assert not self.closed
        self.started.release()
        if not self.gate.wait(timeout_s):
            raise TimeoutError("late")
        x = np.asarray(arrays["x"], np.float32)
        if not np.isfinite(x).all():
            raise ValueError("no number")
        self.ran.append(float(x[0]))
        total = arrays["sum"] + x
        return Outcome({"y": total}, {"sum": total}, 7)

    def close(self) -> None:
        self.closed += 1


def one(value: float) -> np.ndarray:
    return np.array([value], np.float32)


def in_loop(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(BOUND_S):
            await work()

    asyncio.run(bounded())


async def began(runner: Adder) -> None:
    """Until the runner has begun another call."""
    assert await asyncio.to_thread(runner.started.acquire, timeout=BOUND_S)


# ---- models and sessions


def test_a_call_without_a_session_remembers_nothing():
    with Model(Adder()) as m:
        assert [float(m(one(2))[0]) for _ in range(3)] == [2, 2, 2]
        assert m.last_cycles == 7


def test_sessions_of_one_model_do_not_see_each_other():
    with Model(Adder()) as m:
        a, b = m.session(), m.session()
        for value in (1, 2, 3):
            a(one(value))
            b(one(10 * value))
        assert (a.state().arrays["sum"], b.state().arrays["sum"]) == (6, 60)
        assert a.calls == b.calls == 3


def test_a_state_is_a_value_that_later_calls_do_not_change():
    with Model(Adder()) as m, Model(Adder()) as elsewhere:
        s = m.session()
        s(one(1))
        kept = s.state()
        s(one(1))
        assert float(kept.arrays["sum"][0]) == 1
        moved = elsewhere.session(State.from_bytes(kept.to_bytes()))
        assert float(moved(one(5))[0]) == 6
        assert moved.calls == 2


def test_nobody_changes_what_a_session_remembers_through_a_state():
    with Model(Adder()) as m:
        for s in (m.session(), m.session({"sum": [4]}), m.session(m.session().state())):
            with pytest.raises(ValueError, match="read-only"):
                s.state().arrays["sum"][:] = 9
        assert float(m.session()(one(1))[0]) == 1


def test_plain_arrays_begin_a_session_too():
    with Model(Adder()) as m:
        s = m.session({"sum": [4]})
        assert float(s(one(1))[0]) == 5
        assert s.calls == 1


@pytest.mark.parametrize("wrong", [float("nan"), -1, "1", True, float("inf"), 1e30])
def test_a_time_that_nothing_can_wait_is_refused(wrong):
    with pytest.raises(UsageError, match=r"timeout_s=.*give seconds"):
        Model(Adder(), wrong)
    with Model(Adder(), np.float32(5)) as m:
        with pytest.raises(UsageError, match=r"timeout_s=.*give seconds"):
            m(one(1), timeout_s=wrong)
        assert float(m(one(1), timeout_s=np.int64(5))[0]) == 1

    async def main() -> None:
        async with Opening(Adder, 5.0, 2) as twin:
            for call in (twin, twin.session()):
                with pytest.raises(UsageError, match=r"timeout_s=.*give seconds"):
                    await call(one(1), timeout_s=wrong)

    in_loop(main)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"model": None}, "model=None: give an ONNX file's path"),
        ({"model": 3}, "model=3"),
        ({"timeout_s": "1"}, "timeout_s='1'"),
        ({"device": None}, "device None: a URI is kind:index"),
    ],
)
def test_what_no_model_can_be_served_with_is_refused(asked, what):
    tried = {"model": b"", "device": "cpu:0"} | asked
    with pytest.raises(UsageError, match=what):
        if "device" in asked:
            open_device(tried["device"])
        serving.serve(**tried)


@pytest.mark.parametrize("wrong", ["a", None, 0, 1.5])
def test_a_queue_without_a_length_is_refused(wrong):
    with pytest.raises(UsageError, match="max_pending="):
        serving.serve_async(b"", "cpu:0", max_pending=wrong)


@pytest.mark.parametrize(
    ("state", "what"),
    [
        ({"sum": np.zeros(2)}, r"'sum' of 'adder' has shape \[1\]; the one given has \[2\]"),
        ({"total": one(1)}, "states total given to 'adder', which has sum"),
        ({}, "states none given"),
        ({"sum": one(np.nan)}, "NaN"),
        ({"sum": ["a"]}, "no array of numbers"),
        (b"HALTSTAT", "not with bytes; of bytes, State.from_bytes makes one"),
        ([1], "not with list"),
        ({1: one(1)}, "states 1 given"),
        (State("other", "d2", "sums", 1, {"sum": one(1)}), "of model 'other'.*given to 'adder'"),
        (State("adder", "d1", "sums", 1, {"sum": np.zeros((1, 1))}), "shape"),
    ],
)
def test_a_state_that_is_not_this_models_is_refused_by_name(state, what):
    with Model(Adder()) as m, pytest.raises(StateError, match=what):
        m.session(state)


def test_a_model_whose_state_cannot_be_had_has_no_session():
    runner = Adder()
    runner.stateless = "the model itself computes it"
    with Model(runner) as m, pytest.raises(Unsupported, match="the model itself computes it"):
        m.session()


def test_a_call_that_fails_leaves_its_session_where_it_was():
    with Model(Adder()) as m:
        s = m.session()
        s(one(1))
        with pytest.raises(ValueError, match="no number"):
            s(one(np.inf))
        assert s.calls == 1
        assert float(s(one(1))[0]) == 2


def test_arrays_go_by_name_where_there_are_several():
    class Two(Adder):
        inputs = (TensorSpec("x", (1,)), TensorSpec("sum", (1,)))
        outputs = (TensorSpec("y", (1,)), TensorSpec("z", (1,)))
        states = (StateSpec("sum", np.zeros(1, np.float32), declared=True),)

        def run(self, arrays: Mapping[str, Any], timeout_s: float) -> Outcome:
            outcome = super().run(arrays, timeout_s)
            return Outcome({**outcome.outputs, "z": one(0)}, outcome.states, None)

    with Model(Two()) as m:
        result = m({"x": one(1), "sum": one(2)})
        assert isinstance(result, dict)
        assert result["y"] == 3 and m.last_cycles is None
        assert m.session()(one(1))["y"] == 1  # its state is no input of a session's call
        with pytest.raises(UsageError, match="give a mapping of x, sum"):
            m(one(1))
        with pytest.raises(UsageError, match="takes x; given were sum, x"):
            m.session()({"x": one(1), "sum": one(2)})


def test_a_closed_model_says_so_and_closes_its_runner_once():
    runner = Adder()
    m = Model(runner)
    s = m.session()
    m.close()
    m.close()
    assert runner.closed == 1
    for call in (m, s):
        with pytest.raises(UsageError, match="closed"):
            call(one(1))


def test_threads_take_turns_and_one_that_waits_too_long_is_told():
    runner = Adder(open_gate=False)
    m = Model(runner)
    s = m.session()
    threads = [threading.Thread(target=s, args=(one(1),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert runner.started.acquire(timeout=BOUND_S)
    with pytest.raises(Busy, match=r"other calls took all of 0\.01 s"):
        m(one(1), timeout_s=0.01)
    runner.gate.set()
    for thread in threads:
        thread.join(BOUND_S)
    assert float(s.state().arrays["sum"][0]) == 4
    m.close()


# ---- the async twin


def test_many_await_one_model_and_each_gets_its_own_answer():
    async def work() -> None:
        m = AsyncModel(Adder(), 5, 64)
        answers = await asyncio.gather(*(m(one(value)) for value in range(64)))
        assert [float(answer[0]) for answer in answers] == list(range(64))
        await m.close()

    in_loop(work)


def test_one_call_too_many_is_refused_at_once_and_the_others_go_on():
    async def work() -> None:
        runner = Adder(open_gate=False)
        m = AsyncModel(runner, BOUND_S, 2)
        calls = [asyncio.create_task(m(one(value))) for value in range(2)]
        await began(runner)
        with pytest.raises(Busy, match="adder on test:0: 2 calls are waiting or running"):
            await m(one(9))
        assert m.pending == 2
        runner.gate.set()
        assert [float(y[0]) for y in await asyncio.gather(*calls)] == [0, 1]
        assert float((await m(one(3)))[0]) == 3  # there is room again
        await m.close()
        assert runner.ran == [0, 1, 3]

    in_loop(work)


def test_a_call_cancelled_while_it_waits_is_never_begun_and_makes_room():
    async def work() -> None:
        runner = Adder(open_gate=False)
        m = AsyncModel(runner, BOUND_S, 2)
        s = m.session()
        first, second = (asyncio.create_task(s(one(value))) for value in (1, 10))
        await began(runner)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert m.pending == 1
        third = asyncio.create_task(s(one(100)))
        await asyncio.sleep(0)
        runner.gate.set()
        await asyncio.gather(first, third)
        assert float(s.state().arrays["sum"][0]) == 101
        assert s.calls == 2
        await m.close()

    in_loop(work)


def test_a_call_cancelled_while_it_runs_leaves_its_session_where_it_was():
    async def work() -> None:
        runner = Adder(open_gate=False)
        m = AsyncModel(runner, BOUND_S, 4)
        s = m.session()
        call = asyncio.create_task(s(one(5)))
        await began(runner)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert m.pending == 1  # the device works on
        runner.gate.set()
        assert float((await s(one(1)))[0]) == 1
        assert runner.ran == [5, 1]
        assert s.calls == 1
        await m.close()

    in_loop(work)


def test_calls_of_a_session_take_effect_in_the_order_they_were_made():
    async def work() -> None:
        m = AsyncModel(Adder(), 5, 64)
        s = m.session()
        answers = await asyncio.gather(*(s(one(2**k)) for k in range(10)))
        assert [float(answer[0]) for answer in answers] == [2 ** (k + 1) - 1 for k in range(10)]
        await m.close()

    in_loop(work)


def test_closing_a_busy_model_finishes_what_runs_and_refuses_what_waits():
    async def work() -> None:
        runner = Adder(open_gate=False)
        m = AsyncModel(runner, BOUND_S, 4)
        running = asyncio.create_task(m(one(1)))
        await began(runner)
        waiting = asyncio.create_task(m(one(2)))
        await asyncio.sleep(0)
        closing = asyncio.create_task(m.close())
        while not m._turns._closed:
            await asyncio.sleep(0.001)
        with pytest.raises(UsageError, match="closed"):
            await m(one(3))
        assert runner.closed == 0
        runner.gate.set()
        assert float((await running)[0]) == 1
        with pytest.raises(UsageError, match="closed"):
            await waiting
        await closing
        await m.close()
        assert runner.closed == 1 and runner.ran == [1]

    in_loop(work)


def test_the_event_loop_goes_on_while_a_model_opens():
    async def work() -> None:
        runner, slow = Adder(), threading.Event()

        def open_runner() -> Adder:
            assert slow.wait(BOUND_S)
            return runner

        ticked = asyncio.get_running_loop().call_later(0.01, slow.set)
        async with Opening(open_runner, 5, 4) as m:
            assert ticked.when() <= asyncio.get_running_loop().time()
            assert float((await m(one(1)))[0]) == 1
        assert runner.closed == 1

    in_loop(work)


def test_a_model_whose_opening_was_cancelled_is_closed_when_it_is_there():
    async def work() -> None:
        runner, slow = Adder(), threading.Event()

        def open_runner() -> Adder:
            assert slow.wait(BOUND_S)
            return runner

        async def enter() -> None:
            async with Opening(open_runner, 5, 4):
                raise AssertionError("entered")

        entering = asyncio.create_task(enter())
        await asyncio.sleep(0.01)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        slow.set()
        deadline = time.monotonic() + BOUND_S
        while not runner.closed and time.monotonic() < deadline:
            await asyncio.sleep(0.001)
        assert runner.closed == 1

    in_loop(work)


def test_a_queue_of_none_is_refused_before_anything_is_opened():
    with pytest.raises(UsageError, match="max_pending=0"):
        serving.serve_async("nowhere.onnx", "cpu:0", max_pending=0)


# ---- the compiler, by entry point


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, serving.GROUP)


@pytest.mark.parametrize(
    ("entries", "error", "what"),
    [
        ([], Unsupported, "no compiler of models is installed"),
        ([entry("a", "x:y"), entry("b", "z:y")], UsageError, r"a \(x:y\), b \(z:y\)"),
        ([entry("a", "needy_compiler:y")], Unsupported, "needs the module 'absent_library'"),
        ([entry("a", "hal.absent:y")], ModuleNotFoundError, "hal.absent"),
    ],
)
def test_a_missing_compiler_is_named(monkeypatch, tmp_path, entries, error, what):
    (tmp_path / "needy_compiler.py").write_text("import absent_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(serving, "entry_points", lambda group: entries)
    with pytest.raises(error, match=what):
        serving.serve("model.onnx", "cpu:0")


def test_the_installed_compiler_is_found_by_its_entry_point():
    assert serving._compiler().__module__ == "compiler.serving"
