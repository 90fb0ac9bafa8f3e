"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0  # for what takes milliseconds on an idle machine
LOOK_S = 0.005


def until(
    is_so: Callable[[], object], what: str = "it did not happen", patience_s: float = PATIENCE_S
) -> None:
    """Returns once `is_so`. Fails with `what`, if that never comes."""
    give_up = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < give_up, f"{what} in {patience_s:.0f} s"
        time.sleep(LOOK_S)
