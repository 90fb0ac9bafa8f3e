"""A backend that keeps memory and computes nothing: for measuring what everything else costs.

It accepts any "noop" image and every launch, and says so: `Caps.computes` is False, so that no
default ever picks it and no suite expects an answer of it.
"""

from __future__ import annotations

from hal.backends.noop.backend import NoopBackend

backend = NoopBackend()

__all__ = ["backend"]
