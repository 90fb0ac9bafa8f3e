"""What the commands of a job do: slow, each on a thread of its own, answered by one event.

Start, Checkpoint, Save, Resize and Release work on all ranks of a job at once: they succeed as a
whole, or leave everything as it was. A job is *started* when its workers are connected to their
devices: only then can it be halted. A lease has no worker process: its holder connects when it
likes.

A checkpoint is removed when the job's next command comes, not when a newer one is complete: before
the newer one is in the journal, a pool that is killed knows of the older one only. The end of an
attempt is no such command, for it may have come before the newer one was heard of.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from hal.errors import HalError
from proxy import checkpoint, whereabouts
from proxy.errors import ControlTimeout, ProxyError
from proxy.paths import ServerPaths
from proxy.store import Store
from proxy.store.garbage import collect
from scheduler.core import events
from scheduler.core.commands import Checkpoint, Release, Resize, Save, Start
from scheduler.errors import HalfSuspended, SchedulerError
from scheduler.live.crew import Crew
from scheduler.live.gang import Run, rank_session, session_name, spread
from scheduler.live.inbox import Inbox
from scheduler.live.sessions import ERRORS, Sessions, members
from scheduler.live.shares import Shares

CONNECT_S = 60.0  # for workers to connect; then they count as started, since they may not need to
CLEAR_S = 1.0  # for a server to answer when its device is due
LOOK_S = 0.005  # between two looks for their sessions

Failure = Callable[[int, int, int, str, str, str], events.Event]


class Operations:
    """`up`: devices whose servers live; `restart` ends one and starts it anew. `tag` makes names of
    sessions unique under a root that others use too."""

    def __init__(
        self,
        crew: Crew,
        sessions: Sessions,
        shares: Shares,
        inbox: Inbox,
        tag: str,
        up: Callable[[], list[str]],
        restart: Callable[[str], None],
    ) -> None:
        self.tag = tag
        self._crew = crew
        self._sessions = sessions
        self._shares = shares
        self._inbox = inbox
        self._up = up
        self._restart = restart

    def _failed(
        self, failure: Failure, command: Start | Checkpoint | Save | Resize, error: BaseException
    ) -> None:
        code, disposition = _kind(error)
        text, job, epoch = str(error), command.job, command.epoch
        self._inbox.post(lambda at: failure(at, job, epoch, code, disposition, text))

    # ---- starting

    def start(self, run: Run, start: Start) -> None:
        self._heed(run, start.checkpoint)
        try:
            self._bring_up(run, start)
        except HalfSuspended as error:
            self._give_up(run, start, error)
        except ERRORS as error:
            run.littered |= bool(start.checkpoint)
            self._failed(events.StartFailed, start, error)

    def _heed(self, run: Run, known: str) -> None:
        """A checkpoint that was complete when its attempt was over is heard of by nobody: the one
        before it is what the job goes on from."""
        if run.checkpoint != known:
            before = (*run.outdated, run.checkpoint)
            run.outdated = tuple(each for each in before if each not in ("", known))
            run.checkpoint = known
        self._forget_outdated(run)

    def _bring_up(self, run: Run, start: Start) -> None:
        if start.checkpoint and run.end is not None:
            self._crew.tell_end(run)  # it was told of an older epoch, while it was suspended
            return
        if not start.checkpoint:
            run.session = session_name(self.tag, run.job, start.epoch)
        run.place(spread(len(run.ranks), start.slices))
        if start.checkpoint:
            self._sessions.resume(run.places(), run.session, start.checkpoint)
            self._note_whereabouts(run)
        if run.spec.argv is not None:
            self._spawn(run, start)
            self._wait_until_connected(run, start.epoch)
        self._shares.enter(run, anew=bool(start.checkpoint))
        self._inbox.post(lambda at: events.JobStarted(at, start.job, start.epoch))

    def _spawn(self, run: Run, start: Start) -> None:
        """The workers that are not there; all or none."""
        missing = [rank for rank in run.ranks if rank.worker is None and rank.exit is None]
        if not missing:
            return
        if start.checkpoint:  # of a gang, some may have ended before it
            held = members(run.session, start.checkpoint)
            for rank in missing:
                if rank_session(run.session, rank.number) not in held:
                    rank.exit = (0, "")
        try:
            begun = [rank for rank in missing if rank.exit is None]
            self._crew.spawn(run, begun, start.epoch, start.checkpoint)
        except ERRORS:
            self._crew.end(run)
            self._drop(run)
            self._crew.forget(run)
            raise

    def _wait_until_connected(self, run: Run, epoch: int) -> None:
        """Or until it is of no use to wait on. A look is a stat: the servers are not disturbed. If
        one dies meanwhile, the fleet says so, and the worker ends."""
        give_up = time.monotonic() + CONNECT_S
        for rank in run.ranks:
            folder = ServerPaths.under(self._sessions.root, rank.device).sessions
            session = folder / rank_session(run.session, rank.number)
            while rank.exit is None and not session.exists():
                if time.monotonic() > give_up or run.released_epoch >= epoch or run.end:
                    return
                time.sleep(LOOK_S)

    # ---- halting

    def checkpoint(self, run: Run, command: Checkpoint) -> None:
        self._forget_outdated(run)
        try:
            found = self._sessions.suspend(run.session, run.places())
        except HalfSuspended as error:
            self._give_up(run, command, error)
        except ERRORS as error:
            self._failed(events.CheckpointFailed, command, error)
        else:
            self._shares.leave(run)
            self._replace(run, found)
            self._inbox.post(
                lambda at: events.JobCheckpointed(at, command.job, command.epoch, found)
            )

    def save(self, run: Run, command: Save) -> None:
        self._forget_outdated(run)
        try:
            found = self._sessions.save(run.session, run.places())
        except ERRORS as error:
            run.littered = True  # one that was stored when others failed, perhaps
            self._failed(events.SaveFailed, command, error)
        else:
            self._replace(run, found)
            self._inbox.post(lambda at: events.JobSaved(at, command.job, command.epoch, found))

    def _replace(self, run: Run, found: str) -> None:
        if run.checkpoint and run.checkpoint != found:
            run.outdated = (*run.outdated, run.checkpoint)
        run.checkpoint = found

    # ---- resizing

    def resize(self, run: Run, command: Resize) -> None:
        """Its ranks go to the devices of its new slices, while they run."""
        run.littered = True
        before = run.slices
        there = run.places()
        after = spread(len(run.ranks), command.slices, before)
        targets = {
            rank_session(run.session, rank.number): item.device
            for rank, item in zip(run.ranks, after, strict=True)
            if rank.exit is None
        }
        try:
            self._sessions.move(there, targets)
        except HalfSuspended as error:
            self._give_up(run, command, error)
        except ERRORS as error:
            self._failed(events.ResizeFailed, command, error)
        else:
            run.place(after)
            self._note_whereabouts(run)
            self._shares.enter(run)
            self._inbox.post(lambda at: events.JobResized(at, command.job, command.epoch))

    def _give_up(
        self, run: Run, command: Start | Checkpoint | Resize, error: HalfSuspended
    ) -> None:
        """Its ranks can neither go on nor be moved all together."""
        text = str(error)
        self._inbox.post(lambda at: events.JobExited(at, command.job, command.epoch, 1, text))

    # ---- ending

    def end(self, run: Run, command: Release) -> None:
        """Its workers and its sessions. What was under way for it fails. Idempotent."""
        self._crew.end(run)
        for device in dict.fromkeys(rank.device for rank in run.ranks if rank.at):
            if command.due and self._hangs(device):
                self._restart(device)
        self._drop(run)

    def _hangs(self, device: str) -> bool:
        """A kernel that nobody can stop, perhaps."""
        try:
            self._sessions.control(device).status(CLEAR_S)
        except ControlTimeout:
            return True
        except ERRORS:  # it is gone, which the fleet sees
            return False
        return False

    def release(self, run: Run, command: Release) -> None:
        self.end(run, command)
        self._crew.forget(run)
        self._shares.leave(run)
        if command.final:
            self._forget_outdated(run)
            self._forget_all(run)
        self._inbox.post(lambda at: events.LeaseReleased(at, command.job, command.epoch))

    def _note_whereabouts(self, run: Run) -> None:
        """Processes of its workers that come later come there. Who cannot be told finds its device
        as it was; what moved has moved."""
        with suppress(OSError):
            for session, device in run.places().items():
                whereabouts.note(self._sessions.root, session, device)

    def _names(self, run: Run) -> list[str]:
        return [rank_session(run.session, rank.number) for rank in run.ranks]

    def _drop(self, run: Run) -> None:
        devices = dict.fromkeys((*(rank.device for rank in run.ranks if rank.at), *self._up()))
        if run.session:
            names = self._names(run)
            self._sessions.drop(run.session, names, run.checkpoint, list(devices))
            for name in names:
                whereabouts.forget(self._sessions.root, name)

    def _forget_outdated(self, run: Run) -> None:
        """Whoever gives the job another command has heard of the newer ones."""
        if run.outdated:
            self._forget(run, [r for each in run.outdated for r in members("", each).values()])
            run.outdated = ()

    def _forget_all(self, run: Run) -> None:
        found = [*members("", run.checkpoint).values()] if run.checkpoint else []
        if run.littered:
            found += self._sessions.strays(self._names(run))
        run.checkpoint = ""
        if found or run.littered:
            self._forget(run, found)

    def _forget(self, run: Run, records: Iterable[str]) -> None:
        """Remove them, and blobs that nobody has needed for a while. What the store does not let
        go of, or garbage beside another job's damaged record, stays."""
        store = Store(self._sessions.store)
        try:
            for record in records:
                store.forget(record)
        except ERRORS:
            run.littered = True
        with suppress(*ERRORS):
            collect(store, checkpoint.blobs_of)


def _kind(error: BaseException) -> tuple[str, str]:
    """Code and disposition. A program that cannot be started is its owner's affair."""
    if isinstance(error, HalError | ProxyError | SchedulerError):
        return error.code, error.disposition
    caller = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
    return "os_error", "caller" if caller else "retry"
