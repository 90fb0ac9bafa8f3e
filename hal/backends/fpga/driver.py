"""The FPGA driver: one for every overlay, over a Shell. It knows manifests and no overlay.

The fabric belongs to one context at a time, its *owner*: registers and on-chip memories keep their
contents between launches, so they are a tenant's as much as its buffers. Who else needs the
fabric waits until the owner's kernel is done, or takes it at once from an owner that is halted or
stands at its cycle limit, at whatever cycle; the owner's state is captured and *parked* in its
context, and put back when it goes on. A context that never had the fabric gets it in reset state.
So contexts never see each other, and none computes on another's leftovers. What the fabric did
for whom is on the driver's timeline.

`configure` starts a new *epoch*: fabric state that was not saved is gone. Programs loaded before
refuse to launch, and kernels that were running never complete (StateError), until a saved state is
loaded; loading a program again starts afresh.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import bitstreams
from bitstreams import Bundle, BundleError, Manifest
from hal.backends.fpga.context import FpgaContext
from hal.backends.fpga.shell import Shell
from hal.backends.quota import Quota
from hal.driver import Driver, Preparation
from hal.errors import DeviceTimeout, HalError, OverlayRejected, StateError
from hal.timeline import DeviceTimeline
from hal.types import DeviceInfo, Overlay

WATCHDOG_S = 300.0  # for a kernel that another command waits for; `wait` has the caller's timeout
MAX_VERIFIED = 16  # overlays whose digests were checked: as many as take turns on one fabric


class FpgaDriver(Driver):
    timeline: DeviceTimeline

    def __init__(self, info: DeviceInfo, shell: Shell, watchdog_s: float = WATCHDOG_S) -> None:
        self.info = info
        self.shell = shell
        self.watchdog_s = watchdog_s
        self.quota = Quota(info.caps.memory_bytes)
        self.timeline = DeviceTimeline()
        self.builder = self
        self.lock = threading.RLock()  # contexts may live in threads of their own
        self.epoch = 0
        self._bundle: Bundle | None = None
        self._verified: dict[str, tuple[Overlay, Bundle]] = {}
        self._contexts: list[FpgaContext] = []
        self._owner: FpgaContext | None = None

    def open_context(self) -> FpgaContext:
        with self.lock:
            context = FpgaContext(self)
            self._contexts.append(context)
            return context

    def prepare(self, overlay: Overlay) -> Preparation | None:
        with self.lock:
            return self.shell.prepare(self._bundle_of(overlay))

    def configure(self, overlay: Overlay) -> None:
        with self.lock:
            bundle = self._bundle_of(overlay)
            idle = not any(context.kernel for context in self._contexts)
            if idle and self._bundle is not None and self._bundle.digest == bundle.digest:
                return
            begin_ns = time.monotonic_ns()
            self.shell.program(bundle)
            self._record("reconfigure", "", 0, begin_ns, bundle.manifest.name)
            self._bundle = bundle
            self.epoch += 1
            for context in self._contexts:
                context.lose_fabric()
            self._owner = None
            self.shell.attach(None)

    def close(self) -> None:
        with self.lock:
            for context in list(self._contexts):
                context.close()
            self.shell.close()

    # ---- what is configured

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the configured overlay, and those that it stands in for; empty: none configured."""
        if self._bundle is None:
            return ()
        return (self._bundle.digest, *self._bundle.manifest.compatible_digests)

    @property
    def manifest(self) -> Manifest:
        assert self._bundle is not None, "programs exist only once an overlay is configured"
        return self._bundle.manifest

    # ---- whose the fabric is; called by contexts, which hold the lock

    def acquire(self, context: FpgaContext, timeout_s: float) -> None:
        """Make `context` the owner. Raises DeviceTimeout when the owner's kernel goes on and on."""
        if not self.try_acquire(context, timeout_s):
            raise DeviceTimeout(
                f"{self.info.uri}: a kernel of another context is not done after {timeout_s} s"
            )

    def try_acquire(self, context: FpgaContext, timeout_s: float) -> bool:
        """The same, False when it takes longer than `timeout_s`."""
        if self._owner is context:
            return True
        if not self._park_owner(timeout_s):
            return False
        begin_ns = time.monotonic_ns()
        self.shell.reset()
        self.shell.attach(context.space)
        frozen = self.shell.frozen_cycles
        if context.parked is None:
            self._record("reset", context.label, 0, begin_ns)
        else:
            try:
                self.shell.restore(context.parked)
            except HalError as error:
                raise type(error)(
                    f"{self.info.uri}: the state of {context.label or 'a context'} could not be "
                    f"put back: {error}"
                ) from error
            context.parked = None
            self._record("restore", context.label, self.shell.frozen_cycles - frozen, begin_ns)
        self._owner = context
        context.epoch = self.epoch
        return True

    def make_room(self, context: FpgaContext, timeout_s: float) -> None:
        """Leave the fabric to nobody, so that `context` can be given another state. Raises
        DeviceTimeout, having changed nothing for it."""
        if self._owner is context:
            self._owner = None
        elif not self._park_owner(timeout_s):
            raise DeviceTimeout(
                f"{self.info.uri}: a kernel of another context is not done after {timeout_s} s"
            )

    def fabric_of(self, context: FpgaContext) -> bytes:
        """Snapshot of what `context` has in the fabric, now; empty when it has nothing there."""
        if context.epoch is None:
            return b""
        if context.epoch != self.epoch:
            raise StateError(
                f"{self.info.uri} was configured anew: this context's fabric state is gone"
            )
        if context.parked is not None:
            return context.parked
        return self._capture(context)

    @contextmanager
    def working_for(self, context: FpgaContext) -> Iterator[None]:
        """The clock moves inside, for the kernel of `context`: count it."""
        begin_ns, before = time.monotonic_ns(), self.shell.cycle
        try:
            yield
        finally:
            worked = self.shell.cycle - before
            context.cycles += worked
            self._record("run", context.label, worked, begin_ns, context.kernel)

    def release_fabric(self, context: FpgaContext) -> None:
        """Whatever `context` has in the fabric is of no use any more."""
        if self._owner is context:
            self._owner = None
            self.shell.attach(None)

    def forget(self, context: FpgaContext) -> None:
        self._contexts.remove(context)
        self.release_fabric(context)

    def _park_owner(self, timeout_s: float) -> bool:
        owner = self._owner
        if owner is None:
            return True
        if not owner.can_be_parked and not owner.finish_kernel(timeout_s):
            return False
        if self._owner is owner:  # else its kernel faulted, and there is nothing to keep
            owner.parked = self._capture(owner)
            self._owner = None
        return True

    # ---- inner

    def _capture(self, context: FpgaContext) -> bytes:
        begin_ns, frozen = time.monotonic_ns(), self.shell.frozen_cycles
        state = self.shell.capture()
        self._record("save", context.label, self.shell.frozen_cycles - frozen, begin_ns)
        return state

    def _record(self, kind: str, tenant: str, cycles: int, begin_ns: int, detail: str = "") -> None:
        self.timeline.add(kind, tenant, cycles, begin_ns, time.monotonic_ns(), detail)

    def _bundle_of(self, overlay: Overlay) -> Bundle:
        """The overlay, checked, and for this part; one that was checked before and is the same
        needs no second look. Raises OverlayRejected."""
        known = self._verified.get(overlay.digest)
        if known is not None and known[0] == overlay:
            return known[1]
        try:
            bundle = bitstreams.verified(overlay.manifest, overlay.files, overlay.digest)
        except BundleError as error:
            raise OverlayRejected(f"overlay {overlay.digest[:16]}: {error}") from error
        if bundle.manifest.part != self.info.part:
            raise OverlayRejected(
                f"overlay {bundle.manifest.name} is for part {bundle.manifest.part!r}; "
                f"{self.info.uri} is {self.info.part!r}"
            )
        self._verified[overlay.digest] = overlay, bundle
        while len(self._verified) > MAX_VERIFIED:
            del self._verified[next(iter(self._verified))]
        return bundle
