"""A bundle: an overlay as a folder on disk, or as one value. Everything is checked on the way in.

folder/manifest.json     see manifest.py
folder/<path>            the files that the manifest names, and no others
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bitstreams import manifest as manifests
from bitstreams.errors import (
    BundleError,
    BundleMissing,
    DigestMismatch,
    ManifestInvalid,
    UnsafePath,
)
from bitstreams.manifest import MANIFEST_NAME, Manifest, digest_of

MAX_FILE_BYTES = 1 << 30  # the largest full-device bitstreams have some 100 MB
MAX_MANIFEST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle; `digest` is that of `manifest_bytes`, which hold the files' digests."""

    digest: str
    manifest: Manifest
    manifest_bytes: bytes = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)


def verified(
    manifest_bytes: bytes, files: Mapping[str, bytes], digest: str | None = None
) -> Bundle:
    """The bundle made of these parts. Raises BundleError unless all is as the manifest says, and
    the manifest is the one that `digest` names, if given."""
    found = digest_of(manifest_bytes)
    if digest is not None and digest != found:
        raise DigestMismatch(f"bundle {digest[:16]} was asked for; the manifest has {found[:16]}")
    manifest = manifests.parse(manifest_bytes)
    if files.keys() != manifest.files.keys():
        wrong = sorted(files.keys() ^ manifest.files.keys())
        raise BundleError(
            f"bundle {manifest.name}: files missing, or not in the manifest: {', '.join(wrong[:5])}"
        )
    for path, data in files.items():
        if digest_of(data) != manifest.files[path]:
            raise DigestMismatch(
                f"bundle {manifest.name}: {path} has digest {digest_of(data)[:16]}, the manifest "
                f"says {manifest.files[path][:16]}"
            )
    return Bundle(found, manifest, manifest_bytes, dict(files))


def make(draft: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """The bundle of `draft` (whose `files` are filled in here) and `files`."""
    digests = {path: digest_of(files[path]) for path in sorted(files)}
    return verified(dataclasses.replace(draft, files=digests).to_bytes(), files)


def pack(draft: Manifest, files: Mapping[str, bytes], folder: Path) -> Bundle:
    """Write the bundle to the new directory `folder`, by one rename."""
    bundle = make(draft, files)
    save(bundle, folder)
    return bundle


def save(bundle: Bundle, folder: Path) -> None:
    """Write a bundle to a directory that does not exist yet, by one rename."""
    if folder.exists():
        raise BundleError(f"{folder} exists; a bundle is written to a new directory")
    folder.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for path, data in {**bundle.files, MANIFEST_NAME: bundle.manifest_bytes}.items():
            target = workspace / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        workspace.chmod(0o755)
        os.replace(workspace, folder)  # noqa: PTH105  (the atomic step, said plainly)
    except BaseException:
        shutil.rmtree(workspace, ignore_errors=True)
        raise


def load(folder: Path, digest: str | None = None) -> Bundle:
    """The bundle in `folder`, verified. Raises BundleError."""
    files = read_folder(folder)
    manifest_bytes = files.pop(MANIFEST_NAME, None)
    if manifest_bytes is None:
        raise ManifestInvalid(f"{folder} has no {MANIFEST_NAME}")
    if len(manifest_bytes) > MAX_MANIFEST_BYTES:
        raise ManifestInvalid(f"{folder}/{MANIFEST_NAME} has more than {MAX_MANIFEST_BYTES} bytes")
    return verified(manifest_bytes, files, digest)


def read_folder(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by relative path. Refuses links, and more than a bundle holds."""
    if not folder.is_dir():
        raise BundleMissing(f"no bundle at {folder}: it is no directory")
    return {name: path.read_bytes() for name, path in _regular_files(folder)}


def verify(folder: Path, digest: str | None = None) -> str:
    """Raises BundleError unless `folder` holds an intact bundle; returns its digest."""
    return load(folder, digest).digest


def _regular_files(folder: Path) -> Iterator[tuple[str, Path]]:
    count = 0
    for base, directories, names in os.walk(folder, followlinks=False):
        for name in (*directories, *names):
            path = Path(base) / name
            relative = path.relative_to(folder).as_posix()
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                raise UnsafePath(f"{relative} in {folder} is a link or no regular file")
            if status.st_size > MAX_FILE_BYTES:
                raise BundleError(f"{relative} in {folder} is larger than {MAX_FILE_BYTES} bytes")
            count += 1
            if count > manifests.MAX_FILES + 1:
                raise BundleError(f"{folder} holds more than {manifests.MAX_FILES} files")
            yield relative, path
