"""Frozen values of the scheduler: what a job asks for, what a device offers.

They check themselves once, when made (this is the floor that faces the stranger); everything
below trusts them. Nothing here knows how a job is run: of `argv` and `env` it reads only whether
any process can be given them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise

from scheduler.errors import Infeasible

MAX_COUNT = 65_536  # slices of one gang; a typing error must not become a million-entry plan
FULL_MILLI = 1000  # thousandths of a slice
MAX_RECALL_US = 3600 * 10**6
MAX_NAME = 200  # characters of a name or tenant: they end up in paths, tables and pictures


class Tier(StrEnum):
    PREMIUM = "premium"
    STANDARD = "standard"
    BASIC = "basic"


RANKS: dict[str, int] = {"premium": 0, "standard": 1, "basic": 2}  # 0 is the highest


class Recovery(StrEnum):
    """What may be done with a job whose device was lost together with its running state."""

    CHECKPOINT = "checkpoint"  # its program finds its way when started on its restored session
    RESTART = "restart"  # it may be run again from the beginning
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job needs of the one device that has all of its slices.

    share_milli  thousandths of each slice; the rest of a slice may be others'. 0: it needs the
                 device's host only
    cpu_milli, memory_mib  of that host, in all
    parts        that it accepts; empty accepts all
    """

    share_milli: int = FULL_MILLI
    cpu_milli: int = 0
    memory_mib: int = 0
    parts: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        if not 0 <= self.share_milli <= FULL_MILLI or min(self.cpu_milli, self.memory_mib) < 0:
            raise Infeasible(
                f"a share of {self.share_milli}, CPU {self.cpu_milli}, {self.memory_mib} MiB: a "
                f"share is 0 to {FULL_MILLI} thousandths; CPU and memory are not below 0"
            )


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a tenant asks for.

    device_kind  the kind of device, e.g. "opencl"
    argv         the worker process; None asks for a *lease*: the worker is the caller's own code
    count        slices that the job asks for, all at once or not at all (a gang)
    least, most  slices that it can be shrunk to and make use of; 0: `count`. Its world size stays
                 (a live job has `most` ranks): on fewer slices ranks take turns
    curve        (slices, speed) beyond `count`, whose speed is 1; a straight line between points
    speeds       (part, speed) of parts that differ; a part that is not named is as the first, or 1
    portable     its checkpoint goes on on any part that `speeds` names, not only on its own
    devices      accept these devices only; empty accepts every device of the kind
    overlay      that its program loads on an FPGA; it is placed where that is loaded already, if
                 it can be
    needs        None: whole slices, on as many devices as it takes
    recovery     default: RESTART for a process, FAIL for a lease
    recall_us    it has its slices so long after it began to wait for them, if only basic jobs stand
                 in its way: who has borrowed them and is not halted by then gives way without a
                 checkpoint; 0: when they can be had
    """

    name: str
    tenant: str
    tier: str
    device_kind: str
    argv: Sequence[str] | None = None
    env: Sequence[tuple[str, str]] = ()
    cwd: str = ""
    count: int = 1
    least: int = 0
    most: int = 0
    curve: Sequence[tuple[int, float]] = ()
    speeds: Sequence[tuple[str, float]] = ()
    portable: bool = False
    devices: Sequence[str] = ()
    overlay: str = ""
    recovery: str = ""
    needs: Needs | None = None
    recall_us: int = 0

    def __post_init__(self) -> None:
        # Callers may write "basic" and lists; the record itself holds one form only: a Tier, a
        # Recovery, tuples.
        fix = object.__setattr__
        try:
            fix(self, "tier", Tier(self.tier))
        except ValueError:
            raise Infeasible(
                f"job {self.name!r}: tier {self.tier!r} is none of {', '.join(Tier)}"
            ) from None
        if isinstance(self.argv, str | bytes) or isinstance(self.devices, str | bytes):
            raise Infeasible(f"job {self.name!r}: argv and devices are sequences of strings")
        try:
            if self.argv is not None:
                fix(self, "argv", tuple(self.argv))
            fix(self, "env", tuple((key, value) for key, value in self.env))
            fix(self, "devices", tuple(self.devices))
            fix(self, "curve", tuple((int(slices), float(speed)) for slices, speed in self.curve))
            fix(self, "speeds", tuple((part, float(speed)) for part, speed in self.speeds))
        except (TypeError, ValueError) as error:
            raise Infeasible(
                f"job {self.name!r}: argv and devices are sequences of strings, env one of pairs "
                f"of strings, curve and speeds of pairs with numbers ({error})"
            ) from error
        default = Recovery.FAIL if self.argv is None else Recovery.RESTART
        try:
            fix(self, "recovery", Recovery(self.recovery) if self.recovery else default)
        except ValueError:
            raise Infeasible(
                f"job {self.name!r}: recovery {self.recovery!r} is none of {', '.join(Recovery)}"
            ) from None
        self._check_words()
        self._check()

    @property
    def rank(self) -> int:
        """0 is the highest tier."""
        return RANKS[self.tier]

    def goes_on(self, part: str, other: str) -> bool:
        """Whether its checkpoint of one part can be restored on the other."""
        if part == other or not part:
            return True
        return self.portable and {part, other} <= {name for name, _ in self.speeds}

    def _check_words(self) -> None:
        """A process cannot be given other words, and neither a journal nor a path can hold them."""
        named = [("name", self.name), ("tenant", self.tenant), ("device_kind", self.device_kind)]
        named += [("devices", word) for word in self.devices] + [("cwd", self.cwd)]
        named += [("overlay", self.overlay)]
        named += [("argv", word) for word in self.argv or ()]
        named += [("env", word) for pair in self.env for word in pair]
        for what, word in named:
            if not isinstance(word, str):
                raise Infeasible(f"job {self.name!r}: {what} holds {word!r}, which is no string")
            if "\0" in word or not _encodes(word):
                raise Infeasible(
                    f"job {self.name!r}: {what} holds {word!r}, with a character that no process "
                    "can be given"
                )
        for key, _ in self.env:
            if not key or "=" in key:
                raise Infeasible(f"job {self.name!r}: {key!r} cannot be an environment's variable")

    def _check(self) -> None:
        if not 0 < len(self.name) <= MAX_NAME or not 0 < len(self.tenant) <= MAX_NAME:
            raise Infeasible(f"a job's name and tenant have 1 to {MAX_NAME} characters each")
        if not isinstance(self.count, int) or not 1 <= self.count <= MAX_COUNT:
            raise Infeasible(f"job {self.name!r}: count {self.count} is not 1 to {MAX_COUNT}")
        fix = object.__setattr__
        fix(self, "least", self.least or self.count)
        fix(self, "most", self.most or self.count)
        if not 1 <= self.least <= self.count <= self.most <= MAX_COUNT:
            raise Infeasible(
                f"job {self.name!r}: least {self.least}, count {self.count} and most {self.most} "
                f"must rise, from 1 to {MAX_COUNT}"
            )
        points = (self.count, *(slices for slices, _ in self.curve))
        rates = (1.0, *(speed for _, speed in self.curve))
        if not (
            _rises(points) and all(0 < x <= 1e6 for x in rates) and list(rates) == sorted(rates)
        ):
            raise Infeasible(
                f"job {self.name!r}: the points {self.curve} of its curve must rise from "
                f"({self.count}, 1.0)"
            )
        if not all(isinstance(part, str) and 0 < speed <= 1e6 for part, speed in self.speeds):
            raise Infeasible(f"job {self.name!r}: speeds are pairs of a part and a number above 0")
        if self.needs is not None and (
            self.least != self.most
            or self.portable
            or (self.count > 1 and self.needs.share_milli < FULL_MILLI)
        ):
            raise Infeasible(
                f"job {self.name!r}: one with {self.needs} has a share of one slice, or several "
                "whole ones; it can neither be resized nor go on on another part"
            )
        if not 0 <= self.recall_us <= MAX_RECALL_US or (self.recall_us and self.tier is Tier.BASIC):
            raise Infeasible(
                f"job {self.name!r}: a recall of {self.recall_us} us is not 0 to {MAX_RECALL_US}, "
                "or of a basic job, which is promised nothing"
            )
        if self.argv is not None and not self.argv:
            raise Infeasible(f"job {self.name!r}: argv is empty; None asks for a lease")
        if self.argv is None and self.recovery is not Recovery.FAIL:
            raise Infeasible(
                f"job {self.name!r}: a lease's worker is its caller's own code, which nobody else "
                "can start again; its recovery must be 'fail'"
            )


def _rises(points: Sequence[int]) -> bool:
    return all(a < b for a, b in pairwise(points))


def _encodes(word: str) -> bool:
    try:
        word.encode("utf-8", "surrogateescape")  # as Python names a file whose name is not UTF-8
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """The schedulable share of a device. `seat`: of those that share the slice, who; 0
    is who has it alone."""

    device: str
    index: int
    seat: int = 0

    def __str__(self) -> str:
        return f"{self.device}/{self.index}" + (f".{self.seat}" if self.seat else "")


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the fleet. `part`: a checkpoint can go on only on a device of its own part.
    `overlay`: that was loaded last, of those that jobs named. `cpu_milli`, `memory_mib`: of its
    host, for jobs that need some; each device has a host of its own."""

    uri: str
    kind: str
    part: str
    slice_count: int = 1
    up: bool = True
    overlay: str = ""
    cpu_milli: int = 0
    memory_mib: int = 0

    @property
    def slices(self) -> tuple[Slice, ...]:
        return _slices(self.uri, self.slice_count)


@lru_cache(maxsize=1 << 17)  # a policy asks for them in every round; more than any fleet has
def _slices(uri: str, count: int) -> tuple[Slice, ...]:
    return tuple(Slice(uri, index) for index in range(count))
