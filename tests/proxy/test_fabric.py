"""The rule by which sessions share a fabric, with sessions and a device that are only that rule."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from hal.errors import OverlayRejected, UsageError
from hal.types import Caps, DeviceInfo, Overlay, Preemption
from proxy.builds import ABANDONED_S
from proxy.fabric import TURN_S, Fabric

QUANTUM = 1000
CAPS = Caps(("overlay",), 1 << 20, 1 << 20, configurable=True, preemption=Preemption.CYCLE)


@dataclass
class Building:
    """A build that ends when a test says so."""

    done: bool = False
    error: OverlayRejected | None = None
    cancelled: bool = False

    def poll(self) -> bool:
        if self.error:
            raise self.error
        return self.done

    def cancel(self) -> None:
        self.cancelled = True


class FakeDevice:
    info = DeviceInfo("fake:0", "fake", "part", CAPS)

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.building: dict[str, Building] = {}

    def configure(self, overlay: Overlay) -> None:
        if overlay.digest == "bad":
            raise OverlayRejected("not what it says")
        self.log.append(f"configure {overlay.digest}")

    def prepare(self, overlay: Overlay) -> Building | None:
        return self.building.get(overlay.digest)


@dataclass
class Session:
    name: str
    overlay: Overlay | None
    log: list[str]
    must_finish: bool = False
    has_work: bool = False
    stops_anywhere: bool = True
    cycles: int = 0
    weight: int = 1
    limit: int | None = None

    def limit_cycles(self, limit: int | None) -> None:
        self.limit = limit

    def work(self, cycles: int) -> None:
        """A kernel runs, as far as it may."""
        self.must_finish = self.has_work = True
        end = self.cycles + cycles
        self.cycles = end if self.limit is None else min(end, self.limit)

    def leave_fabric(self) -> None:
        self.log.append(f"{self.name} leaves")

    def enter_fabric(self, anew: bool) -> None:
        self.log.append(f"{self.name} enters" + (" anew" if anew else ""))


@dataclass
class Scene:
    log: list[str] = field(default_factory=list)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.device = FakeDevice(self.log)
        self.fabric = Fabric(self.device, QUANTUM, lambda: self.now)  # type: ignore[arg-type]

    def session(self, name: str, overlay: str) -> Session:
        return Session(name, Overlay(overlay, b"", {}), self.log)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_nobody_makes_way_for_an_overlay_that_is_being_built(scene: Scene) -> None:
    a, b = scene.session("a", "x"), scene.session("b", "y")
    build = scene.device.building["y"] = Building()
    assert scene.fabric.acquire(a)
    for _ in range(3):
        scene.fabric.new_round()
        assert not scene.fabric.acquire(b, anew=True)
        assert scene.fabric.acquire(a)
    assert not scene.fabric.waited_for
    build.done = True
    assert scene.fabric.acquire(b, anew=True)
    assert scene.log[-2:] == ["configure y", "b enters anew"]
    assert build.cancelled, "what it holds is released"
    del scene.device.building["y"]
    assert scene.fabric.acquire(a)
    assert scene.fabric.acquire(b), "and it is remembered"


def test_a_build_that_fails_is_told_to_who_asked_and_can_be_tried_again(scene: Scene) -> None:
    a, b = scene.session("a", "x"), scene.session("b", "y")
    build = scene.device.building["y"] = Building(error=OverlayRejected("syntax"))
    assert scene.fabric.acquire(a)
    with pytest.raises(OverlayRejected, match="syntax"):
        scene.fabric.acquire(b)
    assert build.cancelled
    assert scene.fabric.acquire(a)
    scene.device.building["y"] = Building(done=True)
    assert scene.fabric.acquire(b)


def test_builds_that_nobody_asks_for_keep_no_other_from_being_built(scene: Scene) -> None:
    builds = scene.device.building
    builds |= {name: Building() for name in ("x", "y", "z")}
    x, y, z = (scene.session(name, name) for name in ("x", "y", "z"))
    assert not any(scene.fabric.acquire(who) for who in (x, y, z))
    builds["z"].done = True
    assert not scene.fabric.acquire(z), "two at once are built, not three"
    builds["x"].error = OverlayRejected("nobody wants to know")
    scene.now += 2 * ABANDONED_S
    assert scene.fabric.acquire(z)
    assert (builds["x"].cancelled, builds["y"].cancelled) == (True, False)
    scene.fabric.close()
    assert builds["y"].cancelled


def test_an_idle_owner_gives_way_at_once_and_everyone_saves_before_a_swap(scene: Scene) -> None:
    a, b, c = scene.session("a", "x"), scene.session("b", "x"), scene.session("c", "y")
    for who in (a, b, c, a):
        assert scene.fabric.acquire(who)
    assert scene.log == [
        "configure x", "a enters", "b enters",
        "b leaves", "a leaves", "configure y", "c enters",
        "c leaves", "configure x", "a enters",
    ]  # fmt: skip
    assert scene.fabric.swaps == 3


def test_a_running_kernel_is_taken_off_after_its_quantum_exactly(scene: Scene) -> None:
    a, b = scene.session("a", "x"), scene.session("b", "y")
    assert scene.fabric.acquire(a)
    a.work(400)
    assert not scene.fabric.acquire(b)
    a.work(QUANTUM)
    assert a.cycles == QUANTUM
    assert scene.fabric.acquire(b)
    assert scene.log == ["configure x", "a enters", "a leaves", "configure y", "b enters"]
    assert scene.fabric.slices == 1
    b.work(10)
    assert not scene.fabric.acquire(a)
    b.work(2 * QUANTUM)
    assert b.cycles == QUANTUM
    assert scene.fabric.acquire(a)
    assert a.limit == 2 * QUANTUM, "b is in line again already"


def test_a_turn_has_as_many_quanta_as_its_session_weighs(scene: Scene) -> None:
    light, heavy = scene.session("light", "x"), scene.session("heavy", "x")
    heavy.weight = 3
    light.has_work = light.must_finish = heavy.has_work = heavy.must_finish = True
    turns: list[tuple[str, int]] = []
    owner: Session | None = None
    for _ in range(40):
        scene.fabric.new_round()
        for who in (light, heavy):
            if scene.fabric.acquire(who) and who is not owner:
                owner = who
                turns.append((who.name, who.cycles))
        assert owner is not None
        owner.work(QUANTUM // 2)
    assert turns[:4] == [("light", 0), ("heavy", 0), ("light", QUANTUM), ("heavy", 3 * QUANTUM)]
    before = light.cycles + heavy.cycles
    light.weight = 5  # holds in the next turn, at the latest
    for _ in range(1600):
        scene.fabric.new_round()
        for who in (light, heavy):
            owner = who if scene.fabric.acquire(who) else owner
        owner.work(QUANTUM // 2)
    had = light.cycles + heavy.cycles - before
    assert light.cycles / had == pytest.approx(5 / 8, abs=0.02)


def test_between_kernels_a_heavy_sessions_turn_lasts_longer_too(scene: Scene) -> None:
    a, b = scene.session("a", "x"), scene.session("b", "x")
    a.weight, a.has_work = 2, True
    assert scene.fabric.acquire(a)
    scene.now += 1.5 * TURN_S
    assert not scene.fabric.acquire(b)
    scene.now += TURN_S
    assert scene.fabric.acquire(b)


def test_a_kernel_that_is_alone_has_no_limit_also_after_someone_waited(scene: Scene) -> None:
    a, b = scene.session("a", "x"), scene.session("b", "x")
    assert scene.fabric.acquire(a)
    a.work(50 * QUANTUM)
    assert a.cycles == 50 * QUANTUM
    assert scene.fabric.acquire(b), "a had more than its share"
    b.work(1)
    assert b.limit == QUANTUM
    scene.fabric.new_round()
    assert b.limit == QUANTUM
    scene.fabric.new_round()  # a did not ask again
    assert b.limit is None


def test_who_waits_is_served_in_turn(scene: Scene) -> None:
    sessions = [scene.session(name, overlay) for name, overlay in zip("abc", "xyx", strict=True)]
    served = []
    for _ in range(200):
        scene.fabric.new_round()
        for session in sessions:
            if scene.fabric.acquire(session) or scene.fabric.owns(session):
                session.work(300)
                if served[-1:] != [session.name]:
                    served.append(session.name)
    assert "".join(served[:9]) == "abcabcabc"
    counts = [session.cycles for session in sessions]
    assert max(counts) - min(counts) <= QUANTUM


def test_a_kernel_that_cannot_be_stopped_is_never_taken_off(scene: Scene) -> None:
    a, b = scene.session("a", "x"), scene.session("b", "y")
    a.stops_anywhere = False
    assert scene.fabric.acquire(a)
    a.work(100 * QUANTUM)
    scene.now += 100 * TURN_S
    assert not scene.fabric.acquire(b)
    a.must_finish = False
    assert scene.fabric.acquire(b)
    assert scene.fabric.slices == 0


def test_a_quantum_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="quantum"):
        Fabric(FakeDevice([]), 0)  # type: ignore[arg-type]


def test_a_busy_owner_gives_way_when_its_turn_is_over_and_starts_nothing_more(scene: Scene) -> None:
    a, b = scene.session("a", "x"), scene.session("b", "y")
    assert scene.fabric.acquire(a)
    a.has_work = True
    assert not scene.fabric.acquire(b)
    assert scene.fabric.acquire(a), "its turn is not over"
    scene.now += 1.1 * TURN_S
    assert not scene.fabric.acquire(a), "someone waits"
    assert scene.fabric.acquire(b)
    assert scene.fabric.owns(b)


def test_an_owner_that_nobody_waits_for_keeps_the_fabric(scene: Scene) -> None:
    a, b = scene.session("a", "x"), scene.session("b", "y")
    assert scene.fabric.acquire(a)
    a.has_work = True
    assert not scene.fabric.acquire(b)  # and then it goes away
    scene.now += 2 * TURN_S
    assert not scene.fabric.acquire(a)
    scene.fabric.new_round()
    scene.fabric.new_round()
    assert scene.fabric.acquire(a)


def test_a_refused_overlay_takes_nothing_from_anyone(scene: Scene) -> None:
    a, bad = scene.session("a", "x"), scene.session("bad", "bad")
    assert scene.fabric.acquire(a)
    with pytest.raises(OverlayRejected):
        scene.fabric.acquire(bad, anew=True)
    assert scene.fabric.acquire(a)
    assert scene.log == ["configure x", "a enters", "a leaves", "configure x", "a enters"]


def test_a_session_with_a_new_overlay_starts_afresh(scene: Scene) -> None:
    a = scene.session("a", "x")
    assert scene.fabric.acquire(a)
    a.overlay = Overlay("y", b"", {})
    assert scene.fabric.acquire(a, anew=True)
    assert scene.log[-3:] == ["a leaves", "configure y", "a enters anew"]


def test_a_session_without_an_overlay_is_told_to_configure(scene: Scene) -> None:
    with pytest.raises(OverlayRejected, match="configure"):
        scene.fabric.acquire(Session("a", None, scene.log))


def test_who_is_gone_is_not_asked_to_save(scene: Scene) -> None:
    a, b = scene.session("a", "x"), scene.session("b", "y")
    assert scene.fabric.acquire(a)
    scene.fabric.forget(a)
    assert scene.fabric.acquire(b)
    assert scene.log == ["configure x", "a enters", "configure y", "b enters"]
