"""A worker on the nosy overlay: spy_worker.py ROOT DEVICE SESSION OVERLAY WORK

WORK is JSON, [[spin, key], ...]. Prints "launched" once all is enqueued, at the end the digest of
all results.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from mix_worker import say
from spies import Spy, spy_overlay

from proxy.client import connect


def digest(results: Iterable[bytearray]) -> str:
    return hashlib.blake2b(b"".join(results)).hexdigest()


def main() -> None:
    root, device, session, overlay, work = sys.argv[1:6]
    with connect(device, Path(root), session) as opened:
        spy = Spy(opened, spy_overlay(overlay))
        results = spy.enqueue(json.loads(work))
        say("launched")
        spy.context.finish()
    say(digest(results))


if __name__ == "__main__":
    main()
