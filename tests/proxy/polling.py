"""Control operations done by their tests, which is what a server's loop does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from proxy import operations

PATIENCE_S = 60.0


def polled(
    operation: operations.Operation, meanwhile: Callable[[], object] = lambda: time.sleep(0.0005)
) -> dict[str, Any]:
    """Its answer. `meanwhile` is done between looks, for threads of the server have a part."""
    give_up = time.monotonic() + PATIENCE_S
    while (answer := operation.poll()) is None:
        assert time.monotonic() < give_up, "it does not end"
        meanwhile()
    return answer
