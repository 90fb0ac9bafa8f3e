"""An overlay as bytes, to cross from worker to server and into a checkpoint.

u64 length of a JSON head {"manifest": size, "files": [[path, size], ...]}, the head, the manifest,
the files. What the manifest says about the files is the driver's to check, not ours.
"""

from __future__ import annotations

import json

from hal.errors import OverlayRejected
from hal.types import Overlay


def pack_overlay(overlay: Overlay) -> bytes:
    files = sorted(overlay.files.items())
    head = {
        "manifest": len(overlay.manifest),
        "files": [[path, len(data)] for path, data in files],
    }
    raw = json.dumps(head).encode()
    return b"".join(
        (len(raw).to_bytes(8, "little"), raw, overlay.manifest, *(data for _, data in files))
    )


def unpack_overlay(data: bytes, digest: str) -> Overlay:
    """Raises OverlayRejected for bytes that are not whole."""
    try:
        at = 8 + int.from_bytes(data[:8], "little")
        head = json.loads(data[8:at])
        parts = []
        for nbytes in (int(head["manifest"]), *(int(size) for _, size in head["files"])):
            if not 0 <= nbytes <= len(data) - at:
                raise ValueError(f"{nbytes} bytes at {at} of {len(data)}")
            parts.append(data[at : at + nbytes])
            at += nbytes
        if at != len(data):
            raise ValueError(f"{len(data) - at} bytes too many")
        names = [str(path) for path, _ in head["files"]]
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise OverlayRejected(
            f"overlay {digest[:16]}: packed bundle is damaged: {error}"
        ) from error
    return Overlay(digest, parts[0], dict(zip(names, parts[1:], strict=True)))
