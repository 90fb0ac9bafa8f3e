"""Bundles under their digests in one directory. Entries never change; a second put is free."""

from __future__ import annotations

import re
from pathlib import Path

from bitstreams import bundle as bundles
from bitstreams.bundle import Bundle
from bitstreams.errors import BundleError, BundleMissing

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Store:
    """A content-addressed store of bundles. Processes may share its directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, bundle: Bundle) -> str:
        """Keep `bundle`; returns its digest."""
        place = self._root / bundle.digest
        if not place.is_dir():
            try:
                bundles.save(bundle, place)
            except (BundleError, OSError):
                if not place.is_dir():  # else another process was faster: same digest, same bytes
                    raise
        return bundle.digest

    def get(self, digest: str) -> Bundle:
        """The bundle of that digest, verified again. Raises BundleMissing, DigestMismatch."""
        if not _DIGEST.fullmatch(digest) or not (self._root / digest).is_dir():
            raise BundleMissing(f"bundle {digest!r} is not in the store {self._root}")
        return bundles.load(self._root / digest, digest)

    def digests(self) -> tuple[str, ...]:
        if not self._root.is_dir():
            return ()
        return tuple(
            sorted(path.name for path in self._root.iterdir() if _DIGEST.fullmatch(path.name))
        )
