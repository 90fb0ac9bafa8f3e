"""Many blobs at once, from the store straight to where they are wanted.

Blobs that were stored together lie one behind the other in a pack: one read fills them all, their
headers beside them. What is compressed, lies elsewhere or is not right goes the long way, one by
one, which finds other copies of it and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from proxy.store.blobs import HEADER, is_raw
from proxy.store.files import Files

RUN_BLOBS = 16  # that one thread reads in one go
_Get = Callable[[str], memoryview]


class Place(NamedTuple):
    """Where a blob is."""

    pack: str
    offset: int
    stored: int  # bytes, with its header
    size: int  # of what was stored


class Wanted(NamedTuple):
    digest: str
    place: Place
    into: memoryview  # of the blob's size


def room(nbytes: int) -> memoryview:
    """Memory that nobody has set to zero."""
    return np.empty(nbytes, np.uint8).data


def fill(files: Files, get: _Get, blobs: Sequence[Wanted]) -> None:
    """Raises what `get` raises, which is how a blob is read by itself."""
    for group in _neighbours(blobs):
        heads = memoryview(bytearray(HEADER.size * len(group)))
        parts = [heads[at : at + HEADER.size] for at in range(0, heads.nbytes, HEADER.size)]
        views = [
            view for head, blob in zip(parts, group, strict=True) for view in (head, blob.into)
        ]
        first = group[0].place
        try:
            is_full = files.read_into(f"packs/{first.pack}", first.offset, views)
        except OSError:
            is_full = False
        for head, blob in zip(parts, group, strict=True):
            if not (is_full and is_raw(head, blob.into, blob.digest)):
                blob.into[:] = get(blob.digest)


def _neighbours(blobs: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    group: list[Wanted] = []
    for blob in blobs:
        if group and not _follows(group[-1].place, blob.place):
            yield group
            group = []
        group.append(blob)
    if group:
        yield group


def _follows(before: Place, place: Place) -> bool:
    are_raw = all(each.stored == each.size + HEADER.size for each in (before, place))
    return are_raw and (before.pack, before.offset + before.stored) == place[:2]
