"""The exceptions of bundles, in the shape that every family has (see hal/errors.py).

BundleError
 |- ManifestInvalid    caller   manifest.json is no manifest: missing, mistyped or unknown fields
 |- UnsafePath         caller   a file's path leaves the bundle, or is a link
 |- DigestMismatch     caller   a file, or the bundle, is not the one that was named
 |- SchemaTooNew       caller   written by a newer version
 |- SignatureInvalid   caller   signed in a way that cannot be checked here
 `- BundleMissing      caller   no such bundle
"""

from __future__ import annotations

from typing import ClassVar


class BundleError(Exception):
    """Root of the family."""

    code: ClassVar[str] = "bundle_error"
    disposition: ClassVar[str] = "caller"


class ManifestInvalid(BundleError):
    code = "manifest_invalid"


class UnsafePath(BundleError):
    code = "unsafe_path"


class DigestMismatch(BundleError):
    code = "digest_mismatch"


class SchemaTooNew(BundleError):
    code = "schema_too_new"


class SignatureInvalid(BundleError):
    code = "signature_invalid"


class BundleMissing(BundleError):
    code = "bundle_missing"
