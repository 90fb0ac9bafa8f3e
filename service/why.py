"""Why a job is where it is: a job's view, as `/v1/jobs/N` gives it, in words.

The view says the same for programs: `blockers`, each of which can be checked against the cluster
(scheduler.policies.explain, elastic_audit).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scheduler.core.plan import listed

WORDS = {
    "no_device": "no device that is up would do",
    "too_few": "only {slices} slices would do, and it needs more at once",
    "backing_off": "its last start failed; it is tried again later",
    "unadmitted": "its tier's promise cannot be kept yet: {promised:g} of {limit:g} slices are "
    "promised to others, it needs {asked:g}",
    "over_quota": "its tenant has its quota: ",
    "ahead": "{of} kept for {jobs}, before it in the queue",
    "reserved": "{of} kept for it until there are enough",
    "releasing": "{of} about to be free, let go by {jobs}",
    "held": "{of} held by {jobs}, not to be halted for it",
    "starting": "{of} held by {jobs}, just being started or moved",
    "protected": "{of} held by {jobs}, changed a moment ago",
    "saving": "{of} held by {jobs}, being saved",
    "promised": "{of} held by {jobs}, to whom a promise would be broken",
    "pinned": "{of} held by {jobs}, that cannot be halted",
    "short": "{of} free, which is not enough",
    "avoided": "{of} free, of devices that are avoided: they run slower than their peers, or jobs "
    "failed to start there",
    "spared": "{of} held by {jobs}, which stands behind it and is not halted for it yet",
    "unsuited": "{on} {is_} of a part or a name that it does not accept",
    "draining": "{on} {is_} to be removed",
    "too_small": "{on} would not have enough for it if nobody else was there",
    "gathered": "room is being made {at} for {jobs}",
    "share": "{on} {has} no slice with so much left; the rest is held by {jobs}",
    "whole": "{on} {has} too few whole slices left; held by {jobs}",
    "cpu": "{on} {has} too little CPU left; held by {jobs}",
    "memory": "{on} {has} too little memory left; held by {jobs}",
    "evictable": "{of} held by {jobs}, could be had and would not do",
}

OVER_QUOTA = {
    True: "{of} held by {jobs}, who owe less",
    False: "{promised:g} of {limit:g} slices are promised to its jobs, it needs {asked:g}",
}


def words(job: Mapping[str, Any]) -> Iterator[str]:
    """One line per fact."""
    where = f" on {', '.join(job['slices'])}" if job["slices"] else ""
    yield f"job {job['id']} ({job['name']}, {job['tier']}) is {job['state']}{where}"
    if job["ranks"] > 1 and job["slices"]:
        on = len(job["slices"])
        turns = ", where they take turns" if on < job["ranks"] else ""
        yield f"  its {job['ranks']} ranks are on {on} slice{'s' * (on > 1)}{turns}"
    if job["target"]:
        yield f"  they are going to {', '.join(job['target'])}"
    if job["halted_for"] == job["id"]:
        waits = job["state"] == "preempted"
        yield "  it was halted to go on elsewhere" if waits else "  it is being moved"
    elif job["gave_way"]:
        yield f"  it gave way to job {job['halted_for']}, whose device was due before it was halted"
    elif job["halted_for"]:
        how = "shrunk" if job["state"] in ("running", "resizing") else "halted"
        yield f"  it was {how} for job {job['halted_for']}"
    for blocker in job["blockers"]:
        yield f"  {_sentence(blocker)}"
    if job["reason"]:
        yield f"  {job['reason']}"


def _sentence(blocker: Mapping[str, Any]) -> str:
    jobs, slices = blocker["jobs"], blocker["slices"]
    named = ("jobs " if len(jobs) > 1 else "job ") + listed(jobs)
    devices = listed(blocker["devices"])
    promised, asked, limit = (ppm / 1e6 for ppm in blocker["ppm"] or (0, 0, 0))
    words_of = WORDS[blocker["why"]]
    if blocker["why"] == "over_quota":
        words_of += OVER_QUOTA[bool(slices)]
    of = f"{slices} slice{'s' * (slices != 1)}" if slices else "everything"
    several = len(blocker["devices"]) > 1
    text = words_of.format(
        slices=slices,
        of=f"what it needs of {devices} is" if devices else of,
        on=devices,
        has="have" if several else "has",
        is_="are" if several else "is",
        at=f"on {devices}" if devices else "elsewhere",
        jobs=named if jobs else "nobody",
        promised=promised,
        asked=asked,
        limit=limit,
    )
    until = blocker["until_us"]
    return text if until is None else f"{text} (until {until / 1e6:.1f} s after the pool began)"
