"""Bundles: overlays as folders of files and a manifest, named by digest."""

from bitstreams.bundle import Bundle, load, make, pack, save, verified, verify
from bitstreams.errors import BundleError
from bitstreams.manifest import Argument, Counter, Kernel, Manifest, Vector
from bitstreams.store import Store

__all__ = [
    "Argument",
    "Bundle",
    "BundleError",
    "Counter",
    "Kernel",
    "Manifest",
    "Store",
    "Vector",
    "load",
    "make",
    "pack",
    "save",
    "verified",
    "verify",
]
