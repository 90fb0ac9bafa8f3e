"""More sessions than the device's memory holds: whose buffers are there, and whose are swapped out.

A session whose next command finds no room, or some of its own buffers gone, waits here in line. The
first in line has others moved out for it, as much as it lacks: idle ones first, those that are idle
the longest, then busy ones between two commands. Whoever came in stays for a while, which grows
with what an exchange takes, so that sessions which together need more than there is run by turns,
and moving costs a bounded part of the time. The bytes move in a thread; only who is moved stands
still. If all fits, nothing here does anything.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hal.errors import HalError, OutOfMemory
from proxy.aside import Aside, Errand
from proxy.engine import Engine
from proxy.known import CHUNK_BYTES
from proxy.limits import QUANTUM_MS, Limits
from proxy.native_tenant import NativeTenant
from proxy.store.runs import room
from proxy.swap_choice import Seat, chosen, parts
from proxy.swap_space import SwappedOut, SwapSpace

STAY_QUANTA = 4  # of the device's slices: who came in stays for so long at least,
STAY_EXCHANGES = 4  # and for so many times what moving took: a fifth of the time goes to that
ASKED_S = 1.0  # who does not ask any more for room has gone,
UNASKED = 3  # if there were chances to: a server that stood still gave none
AGAIN_S = 1.0  # until what failed is tried again
PATIENCE_S = 120.0  # for memory that sessions have which are neither here yet nor gone


@dataclass(slots=True, eq=False)
class Claim:
    """Room that somebody wants before it makes a session here."""

    nbytes: int
    asked_s: float
    unasked: int = 0  # looks since then
    hopeless: bool = False


class Part(NamedTuple):
    tenant: NativeTenant
    handle: int
    nbytes: int
    content: SwappedOut


class Move:
    """Buffers on their way out of the device, or back."""

    def __init__(self, parts: list[Part], out: bool) -> None:
        self.parts = parts
        self.out = out
        self.tenants = {part.tenant for part in parts}
        self.at = parts[0]
        self.errand: Errand[None] | None = None
        self.begun_s = 0.0

    @property
    def done(self) -> bool:
        return self.errand is not None and self.errand.done

    def copy(self) -> None:
        """In a thread. Raises HalError, OSError, MemoryError."""
        for part in self.parts:
            self.at = part
            transfer = part.tenant.objects.transfer
            for offset in range(0, part.nbytes, CHUNK_BYTES):
                size = min(CHUNK_BYTES, part.nbytes - offset)
                if self.out:
                    data = room(size)
                    transfer(part.handle, offset, data, write=False)
                    part.content.append(data)
                else:
                    transfer(part.handle, offset, part.content.read(offset, size), write=True)


class Swap:
    def __init__(
        self,
        engine: Engine,
        there_bytes: int,
        space: SwapSpace,
        quantum_s: float,
        aside: Aside,
        tenants: Callable[[], list[NativeTenant]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`there_bytes`: of all sessions on the device. `tenants`: those that there are."""
        self._engine = engine
        self._there_bytes = there_bytes
        self._space = space
        self._least_stay_s = STAY_QUANTA * quantum_s
        self._aside = aside
        self._tenants = tenants
        self._clock = clock
        self._line: list[NativeTenant | Claim] = []
        self._claims: dict[object, Claim] = {}
        self._came_s: dict[NativeTenant, float] = {}  # when it last got room,
        self._stays_s: dict[NativeTenant, float] = {}  # and until when it stays
        self._stuck: dict[NativeTenant, str] = {}  # cannot be moved, and why
        self._move: Move | None = None
        self._moving_s = 0.0  # what moving took so far for the first in line
        self._lacks_bytes = 0  # that the driver did not give, whatever is counted
        self._again_s = 0.0  # nothing was to be done before
        self._patient_until_s = 0.0  # for memory of sessions that come and go

    # ---- asked by the server's loop

    @property
    def waited_for(self) -> bool:
        """It is to be asked soon. A thread that moves bytes rings when it is done."""
        return bool(self._line) and (self._move is None or self._move.done)

    def poll(self) -> bool:
        """A bit more; True if something changed."""
        tenants = self._tenants()
        if self._move is not None:
            if not self._move.done:
                return False
            move, self._move = self._move, None
            self._finish(move, tenants)
        self._look(tenants)
        if not self._line or self._clock() < self._again_s:
            return False
        return self._go_on(self._line[0], tenants)

    def has_room(self, whose: object, nbytes: int) -> bool:
        """For what is made at once if so; else ask again, for others are moved out meanwhile."""
        claim = self._claims.setdefault(whose, Claim(nbytes, 0.0))
        claim.nbytes, claim.asked_s, claim.unasked = nbytes, self._clock(), 0
        if claim not in self._line:
            self._line.append(claim)
            if self._line[0] is claim:
                self._turn_over(self._tenants())
        fits = nbytes <= self.free_bytes
        if not (claim.hopeless or (fits and self._line[0] is claim and self._move is None)):
            return False
        self._line.remove(claim)
        del self._claims[whose]
        self._turn_over(self._tenants())
        return True

    @property
    def free_bytes(self) -> int:
        return max(self._there_bytes - self._engine.used_bytes, 0)

    # ---- who waits

    def _look(self, tenants: list[NativeTenant]) -> None:
        """Who came, who went."""
        now, there, first = self._clock(), set(tenants), self._line[:1]
        for gone in self._came_s.keys() - there:
            for known in (self._came_s, self._stays_s, self._stuck):
                known.pop(gone, None)
        for tenant in tenants:
            if tenant not in self._came_s:
                self._came(tenant, 0.0)
            if tenant.words.waits == 1:
                tenant.words.waits = 2
                self._line.append(tenant)
        for whose, claim in tuple(self._claims.items()):
            claim.unasked += 1
            if now - claim.asked_s > ASKED_S and claim.unasked > UNASKED:
                del self._claims[whose]
                self._line.remove(claim)
        self._line = [each for each in self._line if isinstance(each, Claim) or each in there]
        if self._line[:1] != first:
            self._turn_over(tenants)

    def _turn_over(self, tenants: list[NativeTenant]) -> None:
        """Another is the first in line."""
        self._moving_s = 0.0
        self._lacks_bytes = 0
        self._patient_until_s = self._clock() + PATIENCE_S
        for tenant in tenants:
            tenant.words.held = 0

    def _go_on(self, first: NativeTenant | Claim, tenants: list[NativeTenant]) -> bool:
        if isinstance(first, Claim):
            short = first.nbytes - self.free_bytes
            return short > 0 and self._make_room(first, short, tenants)
        if first.halted or first.draining or first.errand is not None:
            self._line.append(self._line.pop(0))  # it would do nothing with it now
            self._turn_over(tenants)
            return False
        words = first.words
        short = words.out_bytes + words.wanted_bytes - self.free_bytes
        if words.driver_full:
            words.driver_full, self._lacks_bytes = 0, words.wanted_bytes
        short = max(short, self._lacks_bytes)
        if short > 0:
            return self._make_room(first, short, tenants)
        if first.objects.out:
            return self._bring_back(first)
        self._admit(first, tenants)
        return True

    def _admit(self, first: NativeTenant, tenants: list[NativeTenant]) -> None:
        self._line.remove(first)
        self._came(first, self._moving_s)
        self._turn_over(tenants)
        first.words.waits = 0

    def _came(self, tenant: NativeTenant, moving_s: float) -> None:
        now = self._clock()
        self._came_s[tenant] = now
        stay_s = max(self._least_stay_s, STAY_EXCHANGES * moving_s)
        self._stays_s[tenant] = max(now + stay_s, self._stays_s.get(tenant, 0.0))

    def _give_up(self, first: NativeTenant | Claim, tenants: list[NativeTenant], why: str) -> None:
        """Others cannot be moved out, or not enough. What asks for more fails; what wants to come
        back waits for others to end."""
        if isinstance(first, Claim):
            first.hopeless = True
        elif first.words.wanted_bytes and not first.words.out_bytes:
            first.words.insists = 1
            self._admit(first, tenants)
        else:
            sys.stderr.write(f"session {first.name!r} cannot come back to the device yet: {why}\n")
            sys.stderr.flush()
            self._again_s = self._clock() + AGAIN_S
            self._line.append(self._line.pop(0))
            self._turn_over(tenants)

    # ---- out

    def _make_room(
        self, first: NativeTenant | Claim, short: int, tenants: list[NativeTenant]
    ) -> bool:
        seats = [self._seat(tenant) for tenant in tenants if tenant is not first]
        seats = [seat for seat in seats if seat.nbytes > 0 and seat.tenant not in self._stuck]
        leaving = chosen([seat for seat in seats if self._may_go(seat)], short)
        if not leaving and sum(seat.nbytes for seat in seats) < short:
            hidden = self._coming_and_going(tenants)
            if hidden > 0 and self._clock() < self._patient_until_s:
                return False
            self._give_up(first, tenants, "no others can be moved out")
            return True
        for seat in seats:
            seat.tenant.words.held = int(any(seat is other for other in leaving))
        if not leaving or any(seat.tenant.words.flights for seat in leaving):
            return False
        return self._move_out([seat.tenant for seat in leaving], short)

    def _coming_and_going(self, tenants: list[NativeTenant]) -> int:
        """Bytes of sessions that are being made from checkpoints, or that the device is not done
        with: they go soon, or can be moved soon."""
        there = sum(tenant.there_bytes for tenant in tenants)
        return self._engine.used_bytes - there

    def _seat(self, tenant: NativeTenant) -> Seat[NativeTenant]:
        words = tenant.words
        nbytes = 0 if words.fault else tenant.there_bytes
        busy = bool(words.flights) or tenant.has_records
        since_s = self._came_s[tenant] if busy else words.active_ns / 1e9
        return Seat(tenant, nbytes, bool(words.held), busy, since_s)

    def _may_go(self, seat: Seat[NativeTenant]) -> bool:
        tenant = seat.tenant
        if tenant.errand is not None or tenant.draining:
            return False
        return self._clock() >= self._stays_s[tenant]

    def _move_out(self, leaving: list[NativeTenant], short: int) -> bool:
        going: list[Part] = []
        for tenant in leaving:
            sizes = tenant.objects.there()
            for handle in parts(sizes, short):
                going.append(Part(tenant, handle, sizes[handle], SwappedOut(self._space)))
                short -= sizes[handle]
        return self._begin(Move(going, out=True))

    # ---- back

    def _bring_back(self, first: NativeTenant) -> bool:
        coming = []
        for handle, content in first.objects.out.items():
            try:
                first.objects.restore(handle)
            except OutOfMemory:
                self._lacks_bytes = content.nbytes
                break
            except HalError as error:
                first.lost = f"what was swapped out cannot be brought back: {error}"
                return True
            coming.append(Part(first, handle, content.nbytes, content))
        return bool(coming) and self._begin(Move(coming, out=False))

    # ---- moving

    def _begin(self, move: Move) -> bool:
        errand = self._aside.start(move.copy)
        if errand is None:
            return False
        move.errand, move.begun_s = errand, self._clock()
        for tenant in move.tenants:
            tenant.errand = errand
        self._move = move
        return True

    def _finish(self, move: Move, tenants: list[NativeTenant]) -> None:
        self._moving_s += self._clock() - move.begun_s
        for tenant in move.tenants:
            tenant.take_back()
        try:
            assert move.errand is not None, "begun"
            move.errand.result()
        except (HalError, OSError, MemoryError) as error:
            self._failed(move, tenants, error)
            return
        for part in move.parts:
            if part.tenant not in tenants:  # it ended meanwhile
                if move.out:
                    part.content.drop()
            elif move.out:
                part.tenant.objects.evict(part.handle, part.content)
            else:
                part.tenant.objects.is_back(part.handle)
        if move.out:
            self._lacks_bytes = 0

    def _failed(self, move: Move, tenants: list[NativeTenant], error: Exception) -> None:
        """Who was to leave stays as it was. Who was to come back and cannot is over."""
        if not move.out:
            move.at.tenant.lost = f"what was swapped out cannot be brought back: {error}"
            return
        for part in move.parts:
            part.content.drop()
        if isinstance(error, HalError):
            self._stuck[move.at.tenant] = str(error)
        elif self._line:
            self._give_up(self._line[0], tenants, f"no room to swap out to: {error!r}")


class Plenty:
    """Where nothing is swapped: what does not fit is an error."""

    waited_for = False
    free_bytes = float("inf")

    def poll(self) -> bool:
        return False

    def has_room(self, whose: object, nbytes: int) -> bool:
        return True


def shared(
    engine: Engine,
    memory_bytes: int,
    limits: Limits,
    name: str,
    ring: Callable[[], None],
    tenants: Callable[[], list[NativeTenant]],
) -> Swap | Plenty:
    """How a device of so much memory is shared. `name`: of the server; `ring`: wakes it."""
    there = memory_bytes if limits.device_bytes is None else limits.device_bytes
    there_or_out = max(there, limits.swapped_bytes)
    engine.share(there, there_or_out)
    if there_or_out == there:
        return Plenty()  # all that they may have fits
    folder = None if limits.swap_to is None else limits.swap_to / name
    space = SwapSpace(there_or_out, folder)
    quantum_s = (limits.quantum_ms or QUANTUM_MS) / 1e3
    return Swap(engine, there, space, quantum_s, Aside(ring, 1), tenants)
