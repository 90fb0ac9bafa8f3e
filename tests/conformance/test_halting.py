"""The halting law, on every device: run == run to t + halt + save + load elsewhere + run on.

A *script* is a seeded list of commands over the buffers of a self test and a few more: moves, and
launches where the device computes. It runs once undisturbed; then again with halts at seeded
points, where everything is saved and carried to a fresh context on another device of the same part.
All buffers, not only the outputs, must come out equal to the byte. A device that stops at any cycle
is given some time before each halt, so that it stops in the middle of a kernel.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from hal import Buffer, Context, Device, ProgramImage, SelfTest
from hal.errors import StateError, UsageError
from hal.types import Preemption, Seq
from hal.workload import Workload, prepare

if TYPE_CHECKING:
    from conftest import Opener, Target

SEEDS = (1, 2, 3)
STEPS = 14
LAUNCH_SHARE = 0.35
EXTRA_BYTES = (200, 4097)  # buffers of the script's own, for commands between launches
TIMEOUT_S = 300.0
ATTEMPTS = 10  # to halt in mid-kernel, behind a server that this process does not schedule
SLICES_S = (0.0, 0.0005, 0.002, 0.01)  # how long a kernel may run before it is halted
MEMORY_ONLY = SelfTest(
    "memory", ProgramImage("", b""), "", (("in", b"\x5a" * 300), ("out", 999)), ()
)


@dataclass(frozen=True)
class Step:
    """launch; or a write of `data`, or a copy of `count` bytes, by index of buffer."""

    kind: str
    target: int = 0
    offset: int = 0
    data: bytes = b""
    source: int = 0
    source_offset: int = 0
    count: int = 0


@dataclass(frozen=True)
class Scene:
    """One context with everything that the script needs, created in one fixed order."""

    context: Context
    buffers: tuple[Buffer, ...]
    work: Workload | None

    def apply(self, step: Step) -> None:
        if step.kind == "launch":
            assert self.work is not None
            self.work.launch()
        elif step.kind == "write":
            self.context.write(self.buffers[step.target], step.data, step.offset)
        else:
            self.context.copy(
                self.buffers[step.source],
                self.buffers[step.target],
                step.count,
                step.source_offset,
                step.offset,
            )

    def contents(self) -> list[bytes]:
        return [self.context.read(buffer) for buffer in self.buffers]


@dataclass(frozen=True)
class Saved:
    contents: list[bytes]
    state: bytes
    last_seq: Seq


def scene(context: Context, test: SelfTest, *, fresh: bool = True) -> Scene:
    """`fresh`: a first life, with objects that die early, which the next lives do not have."""
    extra = [context.alloc(size) for size in EXTRA_BYTES]
    dead = context.alloc(333) if fresh else None
    if test is MEMORY_ONLY:
        work = None
        body = tuple(
            context.alloc(value if isinstance(value, int) else len(value)) for _, value in test.args
        )
    else:
        if fresh:
            context.unload(context.load(test.image))
        work = prepare(context, test, fill=fresh)
        body = work.buffers
    if dead is not None:
        dead.free()
    return Scene(context, (*extra, *body), work)


def script(seed: int, test: SelfTest) -> list[Step]:
    """Commands that never touch a kernel's inputs: those may be programs or addresses."""
    source = random.Random(seed)
    sizes = list(EXTRA_BYTES)
    free = list(range(len(sizes)))  # buffers that may be written
    outs = []
    for kind, value in test.args:
        if kind != "scalar":
            if kind == "out":
                outs.append(len(sizes))
            sizes.append(value if isinstance(value, int) else len(value))
    steps = []
    for _ in range(STEPS):
        if test is not MEMORY_ONLY and source.random() < LAUNCH_SHARE:
            steps.append(Step("launch"))
            continue
        target = source.choice(free)
        offset = source.randrange(sizes[target])
        room = sizes[target] - offset
        if source.random() < 0.4:
            steps.append(Step("write", target, offset, source.randbytes(source.randint(1, room))))
            continue
        origin = source.choice([*outs, *(index for index in free if index != target)])
        start = source.randrange(sizes[origin])
        count = source.randint(1, min(room, sizes[origin] - start))
        steps.append(Step("copy", target, offset, b"", origin, start, count))
    if test is not MEMORY_ONLY:
        steps[source.randrange(STEPS)] = Step("launch")
    return steps


def workloads(target: Target) -> tuple[SelfTest, ...]:
    return target.tests or (MEMORY_ONLY,)


def save(here: Scene) -> Saved:
    """Of a halted context; in the order that a snapshot takes: hidden state, then buffers."""
    state = here.context.save_state()
    return Saved(
        [here.context.peek(buffer) for buffer in here.buffers], state, here.context.last_seq
    )


def load(context: Context, test: SelfTest, saved: Saved) -> Scene:
    there = scene(context, test, fresh=False)
    for buffer, data in zip(there.buffers, saved.contents, strict=True):
        context.write(buffer, data)
    context.load_state(saved.state, saved.last_seq)
    return there


def undisturbed(device: Device, test: SelfTest, steps: list[Step]) -> list[bytes]:
    with device.open_context() as context:
        here = scene(context, test)
        for step in steps:
            here.apply(step)
        return here.contents()


@pytest.fixture
def places(target: Target, elsewhere: Target, opener: Opener) -> Iterator[tuple[Device, Device]]:
    with ExitStack() as stack:
        first = stack.enter_context(opener.open(target))
        alone = elsewhere == target
        yield first, first if alone else stack.enter_context(opener.open(elsewhere))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_that_is_halted_and_moved_ends_as_one_that_is_not(
    target: Target, places: tuple[Device, Device], seed: int
) -> None:
    source = random.Random(seed)
    test = source.choice(workloads(target))
    steps = script(seed, test)
    expected = undisturbed(places[0], test, steps)
    cuts = sorted(source.sample(range(len(steps)), 2))
    with ExitStack() as stack:
        here = scene(stack.enter_context(places[0].open_context()), test)
        pending: list[Seq] = []
        hops = 0
        for index, step in enumerate(steps):
            here.apply(step)
            if index not in cuts:
                continue
            pending.append(here.context.signal())
            here.context.wait(pending[-1], source.choice(SLICES_S))
            here.context.halt(TIMEOUT_S)
            saved = save(here)
            here.context.close()
            hops += 1
            there = stack.enter_context(places[hops % 2].open_context())
            here = load(there, test, saved)
            assert here.context.last_seq == saved.last_seq
        assert here.contents() == expected
        assert all(here.context.wait(seq, 0.0) for seq in pending)
        assert hops == len(cuts)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_kernel_halted_in_its_midst_gives_the_known_answer_elsewhere(
    target: Target, places: tuple[Device, Device], seed: int
) -> None:
    if not target.caps.computes:
        pytest.skip("caps.computes is False")
    source = random.Random(100 + seed)
    for test in target.tests:
        with places[0].open_context() as first, places[1].open_context() as second:
            here = scene(first, test)
            assert here.work is not None
            here.work.launch()
            seq = first.signal()
            first.wait(seq, source.choice(SLICES_S))
            first.halt(TIMEOUT_S)
            there = load(second, test, save(here))
            assert there.work is not None
            assert second.wait(seq, TIMEOUT_S)
            assert there.work.read() == test.expected, test.name


def test_a_short_wait_halts_before_the_kernel_is_done(target: Target, device: Device) -> None:
    """Without this, the tests above could pass on kernels that had always finished."""
    if target.caps.preemption is not Preemption.CYCLE:
        pytest.skip("caps.preemption is not CYCLE")
    with device.open_context() as context:
        works = [prepare(context, test) for test in target.tests]
        for work in works * ATTEMPTS:
            for buffer in work.outputs:
                context.write(buffer, bytes(buffer.size_bytes))
            work.launch()
            if not context.wait(context.signal(), 0.0):
                context.halt(TIMEOUT_S)
                if [context.peek(buffer) for buffer in work.outputs] != [*work.test.expected]:
                    return
    pytest.fail("every kernel was done before it could be halted")


def test_a_read_of_a_halted_context_still_comes_after_its_kernel(
    target: Target, device: Device
) -> None:
    """A halt is invisible: a read queues behind what was halted; `peek` alone does not."""
    if not target.caps.computes:
        pytest.skip("caps.computes is False")
    for test in target.tests:
        with device.open_context() as context:
            work = prepare(context, test)
            work.launch()
            context.wait(context.signal(), 0.0)
            context.halt(TIMEOUT_S)
            assert work.read() == test.expected, test.name


def test_a_halted_context_goes_on_as_if_nothing_had_happened(
    target: Target, device: Device
) -> None:
    test = workloads(target)[-1]
    steps = script(7, test)
    expected = undisturbed(device, test, steps)
    with device.open_context() as context:
        here = scene(context, test)
        for step in steps:
            here.apply(step)
            context.halt(TIMEOUT_S)
            assert context.halted
            before = save(here)
            assert save(here) == before, "saving changes nothing"
            assert context.halted
        assert here.contents() == expected


def test_a_halted_context_lets_another_work(target: Target, device: Device) -> None:
    test = workloads(target)[0]
    steps = script(8, test)
    expected = undisturbed(device, test, steps)
    with device.open_context() as context:
        here = scene(context, test)
        for step in steps[: STEPS // 2]:
            here.apply(step)
        context.wait(context.signal(), 0.0)
        context.halt(TIMEOUT_S)
        assert undisturbed(device, test, steps) == expected
        for step in steps[STEPS // 2 :]:
            here.apply(step)
        assert here.contents() == expected


def test_a_state_is_saved_of_a_halted_context_only(context: Context) -> None:
    buffer = context.alloc(8)
    context.write(buffer, bytes(8))
    context.signal()
    with pytest.raises(StateError):
        context.save_state()
    with pytest.raises(StateError):
        context.peek(buffer)
    context.halt(TIMEOUT_S)
    assert context.peek(buffer, nbytes=3, offset=5) == bytes(3)
    with pytest.raises(UsageError):
        context.peek(buffer, nbytes=4, offset=5)


def damaged(state: bytes) -> Iterator[tuple[str, bytes]]:
    source = random.Random(len(state))
    yield "another kind's", b"this is no state of any device we know" * 3
    yield "extended", state + b"\0"
    if not state:
        return
    yield "truncated by one", state[:-1]
    yield "truncated by half", state[: len(state) // 2]
    yield "empty", b""
    for _ in range(8):
        bit = source.randrange(len(state) * 8)
        flipped = bytearray(state)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped", bytes(flipped)


def test_a_refused_state_leaves_the_context_as_it_was(
    target: Target, places: tuple[Device, Device]
) -> None:
    test = workloads(target)[0]
    steps = script(9, test)
    expected = undisturbed(places[0], test, steps)
    with places[0].open_context() as first, places[1].open_context() as second:
        here = scene(first, test)
        for step in steps[: STEPS // 2]:
            here.apply(step)
        if here.work is not None:
            here.work.launch()  # done again by nobody: launches of a self test are idempotent
        first.wait(first.signal(), 0.0)
        first.halt(TIMEOUT_S)
        saved = save(here)
        there = scene(second, test, fresh=False)
        for buffer, data in zip(there.buffers, saved.contents, strict=True):
            second.write(buffer, data)
        for what, state in damaged(saved.state):
            with pytest.raises(StateError):
                second.load_state(state, saved.last_seq)
                pytest.fail(f"a state was accepted: {what}")
        assert there.contents() == saved.contents
        second.close()
        with places[1].open_context() as third:
            there = load(third, test, saved)
            for step in steps[STEPS // 2 :]:
                there.apply(step)
            assert there.contents() == expected


def test_a_context_that_refused_a_state_still_computes(target: Target, context: Context) -> None:
    with pytest.raises(StateError):
        context.load_state(b"this is no state of any device we know")
    if not target.caps.computes:
        buffer = context.alloc(4)
        context.write(buffer, b"good")
        assert context.read(buffer) == b"good"
        return
    test = target.tests[0]
    work = prepare(context, test)
    work.launch()
    assert work.read() == test.expected


def test_a_state_of_other_buffers_is_refused_where_state_names_them(
    target: Target, device: Device
) -> None:
    if target.caps.preemption is not Preemption.CYCLE:
        pytest.skip("caps.preemption is not CYCLE: a state holds nothing")
    test = target.tests[0]
    with device.open_context() as first, device.open_context() as second:
        here = scene(first, test)
        assert here.work is not None
        here.work.launch()
        first.halt(TIMEOUT_S)
        saved = save(here)
        second.alloc(17)
        with pytest.raises(StateError):
            second.load_state(saved.state, saved.last_seq)


def test_a_state_is_not_loaded_into_a_context_that_is_further(context: Context) -> None:
    context.finish()
    context.finish()
    seq = context.last_seq
    with pytest.raises(StateError):
        context.load_state(b"", Seq(1))
    assert context.last_seq == seq
    context.finish()
