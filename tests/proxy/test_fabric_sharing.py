"""Sessions time-sliced on one simulated FPGA: none sees another, each computes what it does alone.

Here the server runs in the test's process (see proxy.loopback), so that every slice is counted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from spies import FOREVER, OUTSIDE, Spy, Work, alone, open_simulation, spy_overlay, together

from hal.context import Device
from hal.errors import DeviceFault, OverlayRejected
from hal.timeline import KINDS, DeviceSpan
from hal.types import Overlay
from proxy.fabric import Fabric
from proxy.loopback import Loopback
from rtl_sim.snapshot import pack, unpack
from rtl_sim.verilated import toolchain

pytestmark = pytest.mark.skipif(toolchain.absence() is not None, reason=str(toolchain.absence()))
SEED = 7  # the fabric powers on with noise: what nobody wrote is not zero by luck
WORKS: tuple[Work, ...] = ([(300, 1), (20, 2)], [(77, 3), (411, 4)], [(150, 5), (150, 6)])
NAMES = ("spy", "spy-too", "spy")


class Shared:
    """One simulated FPGA behind a server, and sessions on it."""

    def __init__(self, root: Path, quantum_cycles: int) -> None:
        self._stack = ExitStack()
        self.device = open_simulation(SEED)
        self.loop = Loopback(self.device, root, quantum_cycles=quantum_cycles)
        self._stack.callback(self.loop.close)

    def connect(self, name: str) -> Device:
        return self._stack.enter_context(self.loop.connect(name))

    def spy(self, name: str, overlay: str = "spy") -> Spy:
        return Spy(self.connect(name), spy_overlay(overlay))

    @property
    def spans(self) -> tuple[DeviceSpan, ...]:
        assert self.device.timeline is not None
        return self.device.timeline.spans()

    @property
    def fabric(self) -> Fabric:
        return self.loop.server.fabric

    def close(self) -> None:
        self._stack.close()


Share = Callable[[int], Shared]


@pytest.fixture
def share(root: Path) -> Iterator[Share]:
    """Call it with a quantum."""
    made: list[Shared] = []

    def make(quantum_cycles: int) -> Shared:
        made.append(Shared(root, quantum_cycles))
        return made[-1]

    yield make
    for shared in made:
        shared.close()


@pytest.fixture(scope="module")
def expected() -> list[list[bytearray]]:
    """Of each of WORKS on a fabric of its own."""
    return [alone(work, name, SEED) for work, name in zip(WORKS, NAMES, strict=True)]


def full_slices(spans: Sequence[DeviceSpan]) -> list[int]:
    """Cycles of every span in which a kernel was put back, ran, and was taken off again."""
    return [
        span.cycles
        for before, span, after in zip(spans, spans[1:], spans[2:], strict=False)
        if (before.kind, span.kind, after.kind) == ("restore", "run", "save")
    ]


@pytest.mark.parametrize("quantum", [1, 2, 7, 64])
def test_each_session_computes_what_it_computes_alone_at_any_quantum(
    share: Share, expected: list[list[bytearray]], quantum: int
) -> None:
    shared = share(quantum)
    works = [work[:1] for work in WORKS] if quantum < 7 else WORKS
    spies = [shared.spy(f"s{index}", name) for index, name in enumerate(NAMES)]
    results = together(spies, works)
    assert results == [whole[: len(work)] for whole, work in zip(expected, works, strict=True)]
    slices = full_slices(shared.spans)
    assert len(slices) > 300 // quantum
    assert sum(cycles == quantum for cycles in slices) > 0.9 * len(slices)  # others end or begin
    assert shared.fabric.slices >= len(slices) // 2
    assert shared.fabric.swaps > 300 // quantum


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_any_mix_of_sessions_and_kernels_computes_what_each_computes_alone(
    share: Share, seed: int
) -> None:
    dice = random.Random(seed)
    shared = share(dice.choice([1, 3, 5, dice.randrange(8, 400)]))
    names = [dice.choice(["spy", "spy-too"]) for _ in range(dice.randrange(2, 6))]
    works = [
        [(dice.randrange(200), dice.randrange(1, 1000)) for _ in range(dice.randrange(1, 4))]
        for _ in names
    ]
    spies = [shared.spy(f"s{index}", name) for index, name in enumerate(names)]
    assert together(spies, works) == [
        alone(work, name, SEED) for work, name in zip(works, names, strict=True)
    ]


def test_a_session_that_is_alone_is_never_sliced(
    share: Share, expected: list[list[bytearray]]
) -> None:
    shared = share(5)
    spy, idle = shared.spy("busy"), shared.spy("idle", "spy-too")
    idle.run([(1, 1)])
    before = len(shared.spans)
    assert spy.run(WORKS[0]) == expected[0]
    kinds = [span.kind for span in shared.spans[before:]]
    assert kinds.count("save") == 1, "of the idle session, once"
    assert shared.fabric.slices == 0
    assert idle.context.read(idle.target) == alone([(1, 1)], "spy-too", SEED)[0]


def test_a_newcomer_finds_the_fabric_as_after_power_on_amid_anothers_kernel(share: Share) -> None:
    assert newcomers_view(share(40)) == alone([(0, 1)], seed=SEED)


def test_the_spy_would_see_a_memory_that_was_left_as_it_was(
    share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = share(40)
    shell = shared.device._driver.shell  # type: ignore[attr-defined]
    reset = shell.reset

    def careless() -> None:
        left = unpack(shell.capture()).segments["mem:secrets"]
        reset()
        fresh = unpack(shell.capture())
        shell.restore(pack(replace(fresh, segments={**fresh.segments, "mem:secrets": left})))

    monkeypatch.setattr(shell, "reset", careless)
    assert newcomers_view(shared) != alone([(0, 1)], seed=SEED)


def newcomers_view(shared: Shared) -> list[bytearray]:
    """What a session finds whose first kernel runs between two slices of another's, of the same
    overlay, which has left secrets everywhere."""
    first = shared.spy("first")
    first.run([(30, 77)])
    first.launch(FOREVER, 78)
    newcomer = shared.spy("newcomer")
    found = newcomer.run([(0, 1)])
    assert shared.fabric.slices > 2
    return found


def test_a_kernel_that_hangs_holds_up_nobody_else(
    share: Share, expected: list[list[bytearray]]
) -> None:
    shared = share(50)
    hung = shared.spy("hung")
    seq = hung.launch(FOREVER, 9)
    others = [shared.spy("a", NAMES[0]), shared.spy("b", NAMES[1])]
    assert together(others, WORKS[:2]) == expected[:2]
    assert not hung.context.wait(seq, 0.0)
    hung.context.close()
    assert others[0].run([(1, 1)])


def test_a_fault_in_one_sessions_kernel_is_its_own(
    share: Share, expected: list[list[bytearray]]
) -> None:
    shared = share(20)
    bad = shared.spy("bad")
    others = [shared.spy("a", NAMES[0]), shared.spy("b", NAMES[1])]
    found = [spy.enqueue(work) for spy, work in zip(others, WORKS, strict=False)]
    bad.launch(10, OUTSIDE)
    with pytest.raises(DeviceFault, match="outside"):
        bad.context.finish()
    for spy in others:
        spy.context.finish()
    assert found == expected[:2]


def test_a_refused_overlay_is_its_sessions_own_trouble(
    share: Share, expected: list[list[bytearray]]
) -> None:
    shared = share(20)
    spies = [shared.spy("a", NAMES[0]), shared.spy("b", NAMES[1])]
    found = [spy.enqueue(work) for spy, work in zip(spies, WORKS, strict=False)]
    good = spy_overlay()
    stranger = shared.connect("stranger")
    with pytest.raises(OverlayRejected):
        stranger.configure(Overlay("00" * 32, good.manifest, good.files))
    for spy in spies:
        spy.context.finish()
    assert found == expected[:2]


def test_a_state_that_cannot_be_put_back_is_named_and_ends_nobody_else(
    share: Share, expected: list[list[bytearray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = share(20)
    spies = [shared.spy("victim"), shared.spy("a", NAMES[0]), shared.spy("b", NAMES[1])]
    spies[0].launch(FOREVER, 5)
    found = [spy.enqueue(work) for spy, work in zip(spies[1:], WORKS, strict=False)]
    driver = shared.device._driver  # type: ignore[attr-defined]
    restore = driver.shell.restore

    def fails(snapshot: bytes) -> None:
        if any(c.parked is snapshot and c.label == "victim" for c in driver._contexts):
            raise DeviceFault("restored state reads back otherwise")
        restore(snapshot)

    monkeypatch.setattr(driver.shell, "restore", fails)
    with pytest.raises(DeviceFault, match="state of victim could not be put back"):
        spies[0].context.finish()
    for spy in spies[1:]:
        spy.context.finish()
    assert found == expected[:2]


def test_reading_and_writing_does_not_wait_for_anothers_kernel(share: Share) -> None:
    shared = share(1000)
    busy, other = shared.spy("busy"), shared.spy("other", "spy-too")
    busy.launch(FOREVER, 1)
    before = shared.spans[-1]
    other.context.write(other.target, bytes(range(160)))
    assert other.context.read(other.target) == bytes(range(160))
    assert shared.fabric.slices == 0, f"nobody needed the fabric after {before}"


def test_the_timeline_has_every_cycle_of_every_session_in_order(share: Share) -> None:
    shared = share(30)
    spies = [shared.spy(f"s{index}", name) for index, name in enumerate(NAMES)]
    together(spies, WORKS)
    spans = shared.spans
    assert {span.kind for span in spans} == set(KINDS)
    for before, after in pairwise(spans):
        assert before.end_cycle == after.start_cycle
        assert before.start_ns <= before.end_ns <= after.start_ns
    ran = {name: sum(s.cycles for s in spans if (s.kind, s.tenant) == ("run", name)) for name in
           ("s0", "s1", "s2")}  # fmt: skip
    assert ran == {name: shared.loop.server.served[name].tenant.cycles for name in ran}
    saves = [span.cycles for span in spans if span.kind == "save"]
    # Idle edge, rows of the chain, a read register, words of its memory, its repair.
    assert set(saves) == {1 + 16 + 1 + 16 + 3}
