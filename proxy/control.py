"""Control of one server: look at it, suspend and resume sessions, stop it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from hal.timeline import DeviceSpan, from_rows
from hal.types import DeviceInfo
from proxy import desk
from proxy.barrier import Barrier
from proxy.errors import ProxyError, ServerGone
from proxy.info import PREFIX, read_info
from proxy.liveness import holder_lives
from proxy.paths import ServerPaths
from proxy.rendezvous import suspended_file, suspended_names
from proxy.segment import Line, Segment
from proxy.store import Address, address_of

TIMEOUT_S = 60.0  # for a session to reach a halting point, or the fabric to become free
ANSWER_S = 30.0  # beyond that, for the work itself; more with large checkpoints
STORING_S = 600.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SessionStatus:
    name: str
    worker_pid: int
    worker_alive: bool
    durable: bool
    epoch: int
    issued: int  # records taken
    retired: int  # records that the device is done with
    waiting_bytes: int  # in the ring
    buffers: int
    buffer_bytes: int
    overlay: str | None
    kernel_in_flight: bool
    halted: bool
    cycles: int  # of the device's clock that its kernels used here, where the device counts them
    weight: int  # its share of a device that others want too: quanta in a turn
    device_ns: int = 0  # that the device worked for it here: of the wall's time
    out_bytes: int = 0  # of its buffers, swapped out


@dataclass(frozen=True, slots=True)
class ServerStatus:
    name: str
    pid: int
    uptime_s: float
    device: DeviceInfo
    overlay_swaps: int
    kernel_slices: int  # times that a running kernel was taken off for another session
    quantum_cycles: int
    sessions: tuple[SessionStatus, ...]

    def session(self, name: str) -> SessionStatus | None:
        return next((session for session in self.sessions if session.name == name), None)


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint, and what it cost. `halted_at`: s of this system's monotonic clock."""

    checkpoint: str
    buffer_bytes: int
    read_bytes: int  # from the device
    changed_bytes: int  # of pieces that were not known before
    last_bytes: int  # of them, while the session stood still
    stored_bytes: int  # by which the store grew
    halted_at: float  # the session was told to stand still


@dataclass(frozen=True, slots=True)
class Resumed:
    epoch: int
    uploaded_bytes: int  # to the device; without what was prepared
    resumed_at: float  # the session went on


class Control:
    """Of the server of `device_uri` ("opencl:0" or "proxy:opencl:0") under `root`. Any process of
    the same user may hold one; each call stands for itself. All raise ServerGone and
    ControlTimeout."""

    def __init__(self, root: Path, device_uri: str) -> None:
        self._paths = ServerPaths.under(root, device_uri.removeprefix(PREFIX))

    def status(self, timeout_s: float = ANSWER_S) -> ServerStatus:
        answer = self._ask(timeout_s, do="status")
        info = read_info(self._paths.info)
        if info is None:
            raise ServerGone(f"{self._paths.name} has just stopped")
        known = {field.name for field in fields(SessionStatus)}
        return ServerStatus(
            name=answer["name"],
            pid=answer["pid"],
            uptime_s=answer["uptime_s"],
            device=info.device,
            overlay_swaps=answer["overlay_swaps"],
            kernel_slices=answer["kernel_slices"],
            quantum_cycles=answer["quantum_cycles"],
            sessions=tuple(
                SessionStatus(**{key: value for key, value in session.items() if key in known})
                for session in answer["sessions"]
            ),
        )

    def serves(self, session: str) -> bool:
        """Whether the session is connected here. A look at its file: the server is not asked."""
        return (self._paths.sessions / session).exists() and holder_lives(self._paths.lock)

    def parked(self) -> dict[str, str]:
        """Suspended sessions, of whatever server under this root -> how the id of the checkpoint
        begins that each was suspended with. The server is not asked."""
        found = {}
        for name in sorted(suspended_names(self._paths.root)):
            path = suspended_file(self._paths.root, name)
            with suppress(ProxyError, OSError):
                if path is not None:
                    segment = Segment.open(path)
                    found[name] = f"{segment[Line.CUT]:016x}"
                    segment.close()
        return found

    def timeline(self) -> tuple[DeviceSpan, ...]:
        """What the device did for whom, the newest of it. Raises Unsupported for a device that
        records nothing."""
        return from_rows(self._ask(ANSWER_S, do="timeline")["spans"])

    def snapshot(
        self,
        session: str,
        store: Address,
        timeout_s: float = TIMEOUT_S,
        barrier: Barrier | None = None,
    ) -> str:
        """Store a checkpoint of the session, which goes on; the checkpoint's id. Most of it is
        read while the session runs. `barrier`: all that meet there are stored as they were at one
        moment, at which they stood still."""
        return self.store("snapshot", session, store, timeout_s, barrier).checkpoint

    def suspend(
        self,
        session: str,
        store: Address,
        timeout_s: float = TIMEOUT_S,
        barrier: Barrier | None = None,
    ) -> str:
        """Halt at the device's finest point, store a checkpoint, release the device. The worker
        waits in its shared memory until `resume`. On failure the session goes on. The id.
        `barrier`: nothing is stored before all that wait at it stand still."""
        return self.store("suspend", session, store, timeout_s, barrier).checkpoint

    def store(
        self,
        what: str,
        session: str,
        store: Address,
        timeout_s: float = TIMEOUT_S,
        barrier: Barrier | None = None,
    ) -> Stored:
        """`what`: "snapshot" or "suspend", see there; also what it cost."""
        at: dict[str, object] = {}
        if barrier is not None:
            at = {"barrier": str(barrier.folder.absolute()), "parties": barrier.parties}
        return _known(Stored, self._ask_store(what, session, store, timeout_s, **at))

    def resume(
        self, session: str, checkpoint: str, store: Address, timeout_s: float = TIMEOUT_S
    ) -> int:
        """Go on here from a checkpoint, on a device of its part: the waiting worker does not
        notice; if it is dead, `proxy.client.reattach` takes over. The new epoch. On failure
        everything stays as it was, and the session can be resumed elsewhere."""
        return self.resumed(session, checkpoint, store, timeout_s).epoch

    def resumed(
        self, session: str, checkpoint: str, store: Address, timeout_s: float = TIMEOUT_S
    ) -> Resumed:
        """As `resume`; also what it cost."""
        answer = self._ask_store("resume", session, store, timeout_s, checkpoint=checkpoint)
        return _known(Resumed, answer)

    def prepare(
        self, session: str, checkpoint: str, store: Address, timeout_s: float = TIMEOUT_S
    ) -> int:
        """Make here what the checkpoint holds, so that a resume from it, or from a later one of
        the session, finds most of it done; the bytes that were uploaded. What nobody came for is
        dropped after a while, or by `unprepare`. Raises Unsupported for an FPGA."""
        answer = self._ask_store("prepare", session, store, timeout_s, checkpoint=checkpoint)
        return int(answer["uploaded_bytes"])

    def unprepare(self, session: str) -> bool:
        """Drop what was prepared for a session; False if nothing was."""
        return bool(self._ask(ANSWER_S, do="unprepare", session=session)["dropped"])

    def weigh(self, session: str, weight: int) -> None:
        """From now on the session has `weight` shares (1 to 100; 1 at first) of a device that
        others want too: of an FPGA's clock cycles, of an OpenCL device's time. It goes along when
        the session moves."""
        self._ask(ANSWER_S, do="weigh", session=session, weight=weight)

    def bound(self, session: str, nbytes: int) -> None:
        """From now on the session is given no more of the device's memory when it has `nbytes`, or
        what the server allows each session, if that is less. Here only: who moves is bounded anew.
        Raises Unsupported where the server does not count a session's memory (others than the
        native core)."""
        self._ask(ANSWER_S, do="bound", session=session, nbytes=nbytes)

    def drop(self, session: str) -> bool:
        """End a session, running here or suspended; False if there is none."""
        return bool(self._ask(ANSWER_S, do="drop", session=session)["dropped"])

    def stop(self) -> None:
        """Stop the server; workers get ServerGone."""
        self._ask(ANSWER_S, do="stop")

    def _ask_store(
        self, what: str, session: str, store: Address, timeout_s: float, **more: object
    ) -> desk.Reply:
        return self._ask(
            timeout_s + STORING_S,
            do=what,
            session=session,
            store=address_of(store),
            timeout_s=timeout_s,
            **more,
        )

    def _ask(self, patience_s: float, /, **request: object) -> desk.Reply:
        return desk.ask(self._paths, request, patience_s)


def _known(kind: type[T], answer: desk.Reply) -> T:
    """What this release knows of an answer."""
    return kind(**{field.name: answer[field.name] for field in fields(kind)})  # type: ignore[arg-type]
