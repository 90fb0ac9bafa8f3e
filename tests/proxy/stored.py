"""What the store's tests put into it."""

from __future__ import annotations

import random

from proxy.store import Store


def put(store: Store, *contents: bytes) -> list[str]:
    """Made durable, and named by a record."""
    with store.writing() as batch:
        digests = [batch.put(data) for data in contents]
        batch.commit("\n".join(digests).encode())
    return digests


def names(body: bytes) -> list[str]:
    return body.decode().split()


def noise(nbytes: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(nbytes)
