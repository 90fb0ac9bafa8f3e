"""The native engine, through ctypes: a simulated cluster that is driven from outside, in C++.

Jobs go in and come out as packed arrays. One thread uses one cluster; calls let others run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scheduler import errors

FOLDER = Path(__file__).parent
ALL_US = 1 << 46  # more than any simulated time

JOB = np.dtype(
    [
        ("submitted_us", "<i8"),
        ("work_us", "<i8"),
        ("count", "<i4"),
        ("least", "<i4"),
        ("most", "<i4"),
        ("tier", "<i4"),
        ("curve", "<i4"),
        ("carried", "<i4"),
    ]
)
"""What is asked for. `work_us` at full speed; `tier` 0 premium, 1 standard, 2 basic; `curve` as
`Cluster.curve` numbered it, 0: none; `carried`: it goes on from a checkpoint made elsewhere."""

DONE = np.dtype(
    [
        ("submitted_us", "<i8"),
        ("started_us", "<i8"),
        ("ended_us", "<i8"),
        ("work_us", "<i8"),
        ("job", "<i4"),
        ("count", "<i4"),
        ("preemptions", "<i4"),
        ("resizes", "<i4"),
        ("tier", "<i4"),
        ("state", "<i4"),
    ]
)
"""A job that ended. `state`: see SUCCEEDED."""

SUCCEEDED, FAILED, CANCELLED = 7, 8, 9

PARAMS = np.dtype(
    [
        *(
            (name, "<i8")
            for name in (
                "first_level_us",
                "first_run_us",
                "min_run_us",
                "settle_us",
                "grow_after_us",
                "turn_us",
                "floor_us",
                "young_us",
                "bear_us",
                "hard_us",
                "look_us",
                "level_ratio",
                "halts_a_level",
                "reserve_ppm",
                "saves",
                "save_cost_us",
                "mtbf_us",
                "home_us",
            )
        ),
        ("grow_share", "<f8"),
        ("spare_share", "<f8"),
        ("burst_us", "<i8", 2),
        ("refill_ppm", "<i8", 2),
        ("share_ppm", "<i8", 2),
    ]
)
COSTS = np.dtype(
    [
        (name, "<i8")
        for name in (
            "start_us",
            "checkpoint_us",
            "restore_us",
            "shrink_us",
            "grow_us",
            "release_us",
            "turns_ppm",
            "save_us",
        )
    ]
)
SUMMARY = np.dtype(
    [
        *((name, "<i8") for name in ("now_us", "steps", "events", "alive", "promised_ppm")),
        ("digest", "<u8"),
        *((name, "<i8") for name in ("over", "losses", "restarts", "saves")),
        ("lost_h", "<f8"),
        ("held_h", "<f8"),
        ("waiting_jobs", "<i8", 3),
        ("waiting_slices", "<i8", 3),
        ("running_jobs", "<i8", 3),
        ("running_slices", "<i8", 3),
    ]
)
"""By tier where there are three. `alive`: jobs that came and have not ended; `over`: that ended.
`losses`: nodes; `restarts`: attempts that ended with one; `lost_h`, `held_h`: slice-hours of work
lost with nodes, and held in all."""

FAULT = np.dtype([("at_us", "<i8"), ("ppm", "<i8"), ("node", "<u4"), ("what", "<i4")])
"""What goes wrong, or is right again. `ppm`: of STRAGGLES, the share of the node's speed that is
left; of SLOW_STORE, how much longer saving, halting and restoring take; both FULL_PPM again."""

LOST, BACK, STRAGGLES, SLOW_STORE = range(4)


class Standing(ctypes.Structure):
    """Slices: all that are up, free, asked for by jobs that wait; and what was promised in
    millionths of a slice, or is asked for by jobs that wait to be promised it."""

    _fields_ = (
        ("capacity", ctypes.c_int64),
        ("free", ctypes.c_int64),
        ("waiting", ctypes.c_int64),
        ("promised_ppm", ctypes.c_int64),
    )


_at, _u64, _i64 = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int64
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "sizes": (_u64, (ctypes.c_int,)),
    "failure_code": (ctypes.c_char_p, ()),
    "failure_message": (ctypes.c_char_p, ()),
    "open": (_at, (_at, _at, _at, _at, _u64)),
    "close": (None, (_at,)),
    "curve": (ctypes.c_uint32, (_at, _at, _at, _u64)),
    "submit": (ctypes.c_bool, (_at, _at, _u64)),
    "advance": (ctypes.c_int, (_at, _i64, _i64)),
    "idles": (ctypes.c_bool, (_at,)),
    "summary": (None, (_at, _at)),
    "standing": (None, (_at, _at)),
    "withdraw": (ctypes.c_int, (_at, ctypes.c_uint32, _at, _at)),
    "foresee": (ctypes.c_bool, (_at, _at, _u64)),
    "movable": (_u64, (_at, _at, _u64)),
    "done_count": (_u64, (_at,)),
    "done": (None, (_at, _at)),
    "keep_words": (None, (_at,)),
    "words": (_at, (_at, _at)),
}
_FAMILY = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.SchedulerError)
}


class Library:
    """The loaded engine; its functions are attributes. Raises OSError if it is not there."""

    def __init__(self, path: Path | None = None) -> None:
        found = [path] if path is not None else sorted(FOLDER.glob("engine.*.so"))
        if not found:
            raise OSError(f"no engine in {FOLDER}: build it with the wheel, or in place")
        library = ctypes.CDLL(str(found[0]))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, f"haltere_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        for which, dtype in enumerate((PARAMS, COSTS, JOB, DONE, SUMMARY, FAULT)):
            size = self.sizes(which)
            if size != dtype.itemsize:
                raise OSError(f"{found[0]} is of another version: {size} bytes, {dtype.itemsize}")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def failure(self) -> errors.SchedulerError:
        kind = _FAMILY.get(self.failure_code().decode(), errors.SchedulerError)
        return kind(self.failure_message().decode())


@cache
def library() -> Library:
    """The engine of this installation, loaded once."""
    return Library()


class Cluster:
    """One cluster. `parts`, `slices`: of each node, its part's number (in the order first seen) and
    how many slices it has (at most 64). Raises Infeasible, naming what is wrong."""

    def __init__(
        self,
        params: npt.NDArray[Any],
        costs: npt.NDArray[Any],
        parts: Sequence[int],
        slices: Sequence[int],
        engine: Library | None = None,
    ) -> None:
        if params.dtype != PARAMS or costs.dtype != COSTS or len(parts) != len(slices):
            raise errors.Infeasible("a cluster needs PARAMS, COSTS, and a part for each node")
        self._engine = engine or library()
        part, size = np.asarray(parts, "<i4"), np.asarray(slices, "<i4")
        self._it = self._engine.open(
            params.ctypes.data, costs.ctypes.data, part.ctypes.data, size.ctypes.data, len(part)
        )
        if not self._it:
            raise self._engine.failure()

    def close(self) -> None:
        if self._it:
            self._engine.close(self._it)
            self._it = None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def curve(self, points: Sequence[tuple[int, int]]) -> int:
        """The number of a curve, for jobs to name. `points`: slices and speed in millionths of that
        on `count` slices, rising, all beyond `count`."""
        slices = np.array([point for point, _ in points], "<i4")
        ppm = np.array([speed for _, speed in points], "<i8")
        number = self._engine.curve(self._it, slices.ctypes.data, ppm.ctypes.data, len(points))
        if not number:
            raise self._engine.failure()
        return int(number)

    def submit(self, jobs: npt.NDArray[Any]) -> None:
        """Of dtype JOB, by time of submission, none before those already submitted or before now.
        They are numbered from 1 on, in the order in which they come."""
        if jobs.dtype != JOB or jobs.ndim != 1:
            raise errors.Infeasible(f"jobs are a row of {JOB}, not {jobs.ndim} of {jobs.dtype}")
        jobs = np.ascontiguousarray(jobs)
        if not self._engine.submit(self._it, jobs.ctypes.data, len(jobs)):
            raise self._engine.failure()

    def advance(self, until_us: int = ALL_US, most_steps: int = 1 << 62) -> bool:
        """All that happens up to and at that moment. False: so many steps were not enough."""
        found = self._engine.advance(self._it, until_us, most_steps)
        if found < 0:
            raise self._engine.failure()
        return bool(found)

    @property
    def idles(self) -> bool:
        """Nothing will happen any more, unless jobs are submitted."""
        return bool(self._engine.idles(self._it))

    def summary(self) -> np.void:
        """A SUMMARY."""
        into = np.zeros(1, SUMMARY)
        self._engine.summary(self._it, into.ctypes.data)
        return into[0]  # type: ignore[no-any-return]

    def standing(self) -> Standing:
        into = Standing()
        self._engine.standing(self._it, ctypes.byref(into))
        return into

    def withdraw(self, job: int) -> tuple[int, bool]:
        """Cancel a job that waits, so that it can be submitted elsewhere. Returns what it still has
        to do (`work_us`), and whether it has a checkpoint. UnknownJob: it does not wait."""
        left_us, carried = ctypes.c_int64(), ctypes.c_bool()
        found = self._engine.withdraw(self._it, job, ctypes.byref(left_us), ctypes.byref(carried))
        if found < 0:
            raise self._engine.failure()
        if not found:
            raise errors.UnknownJob(f"job {job} is not one that waits for slices")
        return left_us.value, carried.value

    def foresee(self, faults: npt.NDArray[Any]) -> None:
        """Of dtype FAULT: each happens when its moment comes, before all else. By time, none before
        those foreseen already or before now."""
        if faults.dtype != FAULT or faults.ndim != 1:
            raise errors.Infeasible(f"faults are a row of {FAULT}, not of {faults.dtype}")
        faults = np.ascontiguousarray(faults)
        if not self._engine.foresee(self._it, faults.ctypes.data, len(faults)):
            raise self._engine.failure()

    def movable(self, most: int) -> npt.NDArray[np.uint32]:
        """Jobs that wait and were promised nothing, first in the queue first; at most so many."""
        found = np.zeros(most, "<u4")
        return found[: self._engine.movable(self._it, found.ctypes.data, most)]

    def done(self) -> npt.NDArray[Any]:
        """Jobs that have ended since this was last asked, of dtype DONE, in the order they did."""
        found = np.empty(self._engine.done_count(self._it), DONE)
        if len(found):
            self._engine.done(self._it, found.ctypes.data)
        return found

    def digest(self) -> str:
        return f"{int(self.summary()['digest']):016x}"

    def keep_words(self) -> None:
        """From now on keep the words under the digest (`scheduler/sim/digest.py`)."""
        self._engine.keep_words(self._it)

    def words(self) -> list[int]:
        count = ctypes.c_uint64()
        at = self._engine.words(self._it, ctypes.byref(count))
        kept = (ctypes.c_int64 * count.value).from_address(at) if count.value else ()
        return list(kept)
