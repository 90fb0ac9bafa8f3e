"""A job's sessions as one: all of them are suspended, go on, or move; or none does.

A rank that opens several contexts has the sessions NAME, NAME.2, NAME.3 on its device; rank 3 of a
gang has NAME-r3, NAME-r3.2. A checkpoint of the job is one id per session, written
`id,2:id2,r3:id3,r3.2:id4`.

All may be repeated after their answer was lost: what was done already is found out from the
sessions' files, and not done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from hal.errors import HalError, StateError
from proxy import checkpoint as checkpoints
from proxy.barrier import Barrier
from proxy.control import Control
from proxy.errors import ProxyError
from proxy.move import left_behind, move
from proxy.paths import ServerPaths
from proxy.store import Store
from scheduler.errors import HalfSuspended, NotConnected, SchedulerError

ERRORS = (HalError, ProxyError, SchedulerError, OSError)
TRIES = 3  # to bring a session somewhere, while somebody's earlier request moves it too
AT_ONCE = 8  # sessions that are moved or resumed at the same time

Places = Mapping[str, str]  # a rank's session -> device
T = TypeVar("T")


class Sessions:
    """Of the jobs of one pool. `up`: devices whose servers live."""

    def __init__(self, root: Path, store: Path, up: Callable[[], list[str]]) -> None:
        self.root = root
        self.store = store
        self._up = up

    def control(self, device: str) -> Control:
        return Control(self.root, device)

    def where(self, session: str) -> str | None:
        """The device on which it is served; the servers are not asked."""
        return next((uri for uri in self._up() if self.control(uri).serves(session)), None)

    # ---- suspending

    def suspend(self, name: str, places: Places) -> str:
        """The checkpoint; `name`: of rank 0. Nothing is stored before all stand still. Raises what
        suspending raised, with everything running as before; or HalfSuspended, when that could
        not be achieved."""
        done = self._parked(places)
        running = self._running(places, done)
        with Barrier.under(self.root, len(running)) as barrier:

            def halt(session: str) -> str:
                try:
                    control = self.control(running[session])
                    return control.suspend(
                        session, self.store, barrier=barrier if len(running) > 1 else None
                    )
                except ERRORS as error:
                    parked = self._parked([session])  # somebody's earlier request did it
                    if session not in parked:
                        barrier.call_off()
                        if self.where(session) is None:
                            raise NotConnected(f"session {session!r} has ended: {error}") from error
                        raise
                    with suppress(HalError):
                        barrier.reached(session)
                    return parked[session]

            answers = _each(halt, running, max(len(running), 1))
        failed = [answer for answer in answers.values() if isinstance(answer, Exception)]
        done.update({s: answer for s, answer in answers.items() if isinstance(answer, str)})
        if failed:
            self._go_on(places, done, failed[0])
            raise _cause(failed)
        return written(name, done)

    def _running(self, places: Places, parked: Iterable[str] = ()) -> dict[str, str]:
        """Sessions that are served, and where. Raises NotConnected for a rank without any."""
        running: dict[str, str] = {}
        for rank, device in places.items():
            found = connected(self.control(device), rank)
            if not found and not any(is_of(rank, session) for session in parked):
                raise NotConnected(
                    f"session {rank!r} is not connected to its device; try again later"
                )
            running.update(dict.fromkeys(found, device))
        return running

    # ---- saving

    def save(self, name: str, places: Places) -> str:
        """A checkpoint of sessions that go on, all as they were at one moment; `name`: of rank 0.
        Raises what storing raised; then none of it is left, and all go on."""
        running = self._running(places)
        with Barrier.under(self.root, len(running)) as barrier:
            together = barrier if len(running) > 1 else None

            def store(session: str) -> str:
                try:
                    control = self.control(running[session])
                    return control.snapshot(session, self.store, barrier=together)
                except ERRORS as error:
                    barrier.call_off()
                    if self.where(session) is None:
                        raise NotConnected(f"session {session!r} has ended: {error}") from error
                    raise

            answers = _each(store, running, max(len(running), 1))
        failed = [answer for answer in answers.values() if isinstance(answer, Exception)]
        done = {s: answer for s, answer in answers.items() if isinstance(answer, str)}
        if failed:
            for record in done.values():
                with suppress(*ERRORS):
                    Store(self.store).forget(record)
            raise _cause(failed)
        return written(name, done)

    # ---- going on after a suspension that failed

    def _go_on(self, places: Places, done: Mapping[str, str], cause: Exception) -> None:
        try:
            for session, found in done.items():
                self.control(places[rank_of(session, places)]).resume(session, found, self.store)
        except (HalError, ProxyError) as error:
            raise HalfSuspended(
                f"of the job's sessions {', '.join(done)} could be suspended, another could not "
                f"({cause}), and the former could not go on ({error})"
            ) from error

    def _parked(self, names: Iterable[str]) -> dict[str, str]:
        """Those of these ranks that are suspended -> the checkpoint of that suspension."""
        names = tuple(names)
        return {
            session: Store(self.store).find(cut)
            for session, cut in self._cuts().items()
            if any(is_of(name, session) for name in names)
        }

    # ---- going on

    def resume(self, places: Places, name: str, checkpoint: str) -> None:
        """Go on there; `name`: of rank 0. Raises what resuming raised, with everything suspended as
        before; or HalfSuspended, if that could not be achieved."""
        wanted = members(name, checkpoint)
        parked = self._parked(places)  # perhaps from a later point: from there they must go on

        def go_on(session: str) -> bool:
            control = self.control(places[rank_of(session, places)])
            if not control.serves(session):
                try:
                    control.resume(session, parked.get(session, wanted[session]), self.store)
                except ERRORS:
                    if not control.serves(session):  # else somebody's earlier request did it
                        raise
            return True

        answers = _each(go_on, (s for s in wanted if rank_of(s, places)), AT_ONCE)
        failed = [answer for answer in answers.values() if isinstance(answer, Exception)]
        going = {s: places[rank_of(s, places)] for s, answer in answers.items() if answer is True}
        if failed and going:
            try:
                for session, device in going.items():
                    self.control(device).suspend(session, self.store)
            except ERRORS as error:
                raise HalfSuspended(
                    f"of the job's sessions {', '.join(going)} went on, another could not "
                    f"({failed[0]}), and the former could not be suspended again ({error})"
                ) from error
        if failed:
            raise _cause(failed)

    # ---- moving while they run

    def move(self, before: Places, after: Places) -> None:
        """Each goes on where `after` says; its worker waits for the last of it only. Raises what
        moving raised, with all where `before` says; or HalfSuspended, if that was not achieved."""
        wanted: dict[str, str] = {}
        for name, device in after.items():
            found = self._of_rank(name)
            if not found:
                raise NotConnected(
                    f"session {name!r} is not connected to a device; try again later"
                )
            wanted.update(dict.fromkeys(found, device))
        answers = _each(lambda session: self._bring(session, wanted[session]), wanted, AT_ONCE)
        failed = [answer for answer in answers.values() if isinstance(answer, Exception)]
        if not failed:
            return
        back = _each(
            lambda session: self._bring(session, before[rank_of(session, before)]), wanted, AT_ONCE
        )
        for session, answer in back.items():
            if isinstance(answer, Exception):
                raise HalfSuspended(
                    f"the job's sessions could not be moved ({failed[0]}), and {session} could not "
                    f"go back to where it was ({answer})"
                ) from answer
        raise _cause(failed)

    def _of_rank(self, name: str) -> set[str]:
        """Its sessions, wherever they are."""
        served = {s for uri in self._up() for s in connected_files(self.root, uri, name)}
        return served | set(self._parked([name]))

    def _bring(self, session: str, device: str) -> bool:
        """To the device, from wherever it is: running, or left behind by an interrupted move. A
        session whose worker has ended meanwhile is nowhere, and needs nothing."""
        for tries in range(TRIES):
            source = self.where(session)
            if source == device:
                return True
            try:
                if source is not None:
                    moved = move(self.root, session, source, device, self.store)
                    Store(self.store).forget(moved.checkpoint)
                    return True
                found = left_behind(self.root, session, self.store)
                if found is None:
                    if self.where(session) is None:
                        return False
                    continue  # somebody's earlier request has just brought it somewhere
                self.control(device).resume(session, found, self.store)
                Store(self.store).forget(found)
            except ERRORS:
                if self.where(session) == source or tries == TRIES - 1:
                    raise
        return self.where(session) in (device, None)

    # ---- ending

    def drop(self, name: str, ranks: Iterable[str], checkpoint: str, devices: list[str]) -> None:
        """End all sessions of these ranks: what is suspended by any server, what is connected by
        its own. A dead server holds nothing any more."""
        names = tuple(ranks)
        suspended = {*names, *(members(name, checkpoint) if checkpoint else ())}
        suspended.update(self._parked_names(names))
        for device in devices:
            control = self.control(device)
            found = {s for each in names for s in connected_files(self.root, device, each)}
            try:
                for session in sorted(found | suspended):
                    control.drop(session)
            except ERRORS:
                continue
            suspended = set()

    def _cuts(self) -> dict[str, str]:
        return self.control("any").parked()  # of all servers under this root

    def _parked_names(self, names: tuple[str, ...]) -> set[str]:
        return {session for session in self._cuts() if any(is_of(name, session) for name in names)}

    def strays(self, names: Iterable[str]) -> list[str]:
        """All checkpoints of sessions of these ranks: those of moves that were interrupted, too."""
        store, names = Store(self.store), tuple(names)
        found = []
        for record in store.records():
            with suppress(*ERRORS):
                session = checkpoints.read(record, store).snapshot.position.session
                if any(is_of(name, session) for name in names):
                    found.append(record)
        return found


def connected(control: Control, name: str) -> list[str]:
    """The sessions of the rank that the server serves now."""
    served = [session.name for session in control.status().sessions]
    return [session for session in served if is_of(name, session)]


def connected_files(root: Path, device: str, name: str) -> list[str]:
    """The same by a look at files: the server is not asked, and may be dead."""
    try:
        found = [path.name for path in ServerPaths.under(root, device).sessions.iterdir()]
    except OSError:
        return []
    return [session for session in found if is_of(name, session)]


def written(name: str, done: Mapping[str, str]) -> str:
    """As a checkpoint of the job whose rank 0 is `name`: session -> id of its snapshot."""
    return ",".join(
        record if session == name else f"{session[len(name) + 1 :]}:{record}"
        for session, record in sorted(done.items())
    )


def members(name: str, checkpoint: str) -> dict[str, str]:
    """Session -> id of its snapshot."""
    found = {}
    for item in checkpoint.split(","):
        suffix, _, record = item.rpartition(":")
        mark = "-" if suffix.startswith("r") else "."
        found[f"{name}{mark}{suffix}" if suffix else name] = record
    return found


def is_of(name: str, session: str) -> bool:
    return session == name or session.startswith(f"{name}.")


def rank_of(session: str, places: Iterable[str]) -> str:
    """Whose session it is; empty: of none of these."""
    return next((name for name in places if is_of(name, session)), "")


def _each(
    work: Callable[[str], T], sessions: Iterable[str], at_once: int
) -> dict[str, T | Exception]:
    """What `work` answers or raises for each."""

    def one(session: str) -> T | Exception:
        try:
            return work(session)
        except ERRORS as error:
            return error

    sessions = tuple(sessions)
    if len(sessions) < 2:
        return {session: one(session) for session in sessions}
    with ThreadPoolExecutor(min(at_once, len(sessions)), thread_name_prefix="sessions") as threads:
        return dict(zip(sessions, threads.map(one, sessions), strict=True))


def _cause(failed: list[Exception]) -> Exception:
    """Not one that says that another's failure called it off."""
    telling = (error for error in failed if getattr(error, "code", "") != StateError.code)
    return next(telling, failed[0])
