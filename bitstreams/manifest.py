"""The manifest of a bundle: what an overlay is, how its kernels are called, digests of its files.

Plain values and their JSON form. Parsing is strict: a field that is missing, mistyped or unknown
is an error that names it, because a driver trusts a manifest with register offsets. docs/bundles.md
describes the fields. The digest of a bundle is the digest of its manifest's bytes; as these hold
the digests of all files, it names the whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from bitstreams.errors import ManifestInvalid, SchemaTooNew, SignatureInvalid, UnsafePath
from bitstreams.fields import Fields

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
PROTOCOLS = ("ap_ctrl_hs",)
ARGUMENT_KINDS = ("buffer", "scalar")
BUFFER_BYTES = 8  # a buffer argument is a 64-bit device address
REGISTER_SPACE_BYTES = 4096  # 12 address bits
FIRST_ARGUMENT_OFFSET = 0x10  # below stand the control registers
MAX_FILES = 4096
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TITLE = re.compile(r"[ -~]{1,128}")  # of a self test: for people


@dataclass(frozen=True, slots=True)
class Argument:
    name: str
    kind: str  # "buffer": a device address, or "scalar": by value
    offset: int  # of its first 32-bit register
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Kernel:
    name: str
    protocol: str
    args: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Counter:
    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Vector:
    """A known answer. args: ("in", file), ("out", size in bytes) or ("scalar", hex bytes), one per
    kernel argument; expected: one file per "out" argument."""

    name: str
    kernel: str
    args: tuple[tuple[str, str | int], ...]
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    name: str
    part: str
    clock_mhz: float
    top: str
    sources: tuple[str, ...]  # what configures the part, in order
    state_map: str | None  # file that says where each bit of state is; None: cannot be halted
    state_layout_id: str | None
    kernels: tuple[Kernel, ...]
    files: Mapping[str, str]  # path -> digest
    counters: tuple[Counter, ...] = ()
    compatible_digests: tuple[str, ...] = ()  # bundles whose programs and snapshots this one takes
    self_tests: tuple[Vector, ...] = ()
    signature: None = None
    schema_version: int = SCHEMA_VERSION

    def to_bytes(self) -> bytes:
        """Canonical JSON: equal manifests have equal bytes, hence equal digests."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode() + b"\n"

    def kernel(self, name: str) -> Kernel | None:
        return next((kernel for kernel in self.kernels if kernel.name == name), None)


def digest_of(data: bytes) -> str:
    """How bundles and their files are named."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def check_path(path: str) -> str:
    """`path` if it names a file inside the bundle. Raises UnsafePath."""
    parts = PurePosixPath(path).parts
    safe = (
        0 < len(path) <= 255
        and all(char.isprintable() and char not in '\\:*?"<>|' for char in path)
        and "/".join(parts) == path
        and not path.startswith("/")
        and all(part not in (".", "..") for part in parts)
        and path != MANIFEST_NAME
    )
    if not safe:
        raise UnsafePath(f"file path {path!r}: must be relative, inside the bundle, without links")
    return path


def parse(data: bytes) -> Manifest:
    """Raises ManifestInvalid, SchemaTooNew, SignatureInvalid, UnsafePath."""
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"manifest is no JSON: {error}") from error
    fields = Fields(raw, "manifest")
    version = fields.integer("schema_version", 1)
    if version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"manifest of schema version {version}; this version reads up to {SCHEMA_VERSION}: "
            "update haltere"
        )
    if fields.take("signature") is not None:
        raise SignatureInvalid("the manifest is signed, and this version cannot check signatures")
    state_map, layout = fields.take("state_map"), fields.take("state_layout_id")
    if (state_map is None) != (layout is None) or not isinstance(state_map, str | None):
        raise ManifestInvalid("manifest: state_map and state_layout_id are both given or both null")
    manifest = Manifest(
        name=fields.matching("name", _NAME),
        part=fields.matching("part", _NAME),
        clock_mhz=fields.positive("clock_mhz"),
        top=fields.matching("top", _NAME),
        sources=fields.texts("sources"),
        state_map=state_map,
        state_layout_id=layout,
        kernels=tuple(_kernel(item) for item in fields.items("kernels")),
        files=_files(fields.take("files")),
        counters=tuple(_counter(item) for item in fields.items("counters")),
        compatible_digests=fields.texts("compatible_digests"),
        self_tests=tuple(_vector(item) for item in fields.items("self_tests")),
    )
    fields.finish()
    _check_references(manifest)
    return manifest


def parse_draft(draft: Mapping[str, Any], files: Mapping[str, bytes]) -> Manifest:
    """The manifest of a draft in its JSON form, digests of `files` filled in."""
    digests = {path: digest_of(data) for path, data in files.items()}
    return parse(json.dumps({**draft, "files": digests}).encode())


def _files(raw: Any) -> dict[str, str]:
    if not isinstance(raw, dict) or len(raw) > MAX_FILES:
        raise ManifestInvalid(f"manifest: files is no object of at most {MAX_FILES} paths")
    for path, digest in raw.items():
        check_path(path)
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ManifestInvalid(f"manifest: files[{path!r}] is no blake2b-256 digest")
    return dict(raw)


def _kernel(fields: Fields) -> Kernel:
    kernel = Kernel(
        fields.matching("name", _NAME),
        fields.choice("protocol", PROTOCOLS),
        tuple(_argument(item) for item in fields.items("args")),
    )
    fields.finish()
    taken: set[int] = set()
    for arg in kernel.args:
        registers = set(range(arg.offset, arg.offset + arg.size_bytes, 4))
        if registers & taken:
            raise ManifestInvalid(f"kernel {kernel.name}: argument {arg.name} overlaps another")
        taken |= registers
    return kernel


def _argument(fields: Fields) -> Argument:
    arg = Argument(
        fields.matching("name", _NAME),
        fields.choice("kind", ARGUMENT_KINDS),
        _offset(fields),
        fields.integer("size_bytes", 4, 64),
    )
    fields.finish()
    if arg.size_bytes % 4 or (arg.kind == "buffer" and arg.size_bytes != BUFFER_BYTES):
        raise ManifestInvalid(
            f"argument {arg.name}: size_bytes {arg.size_bytes}; a buffer has {BUFFER_BYTES}, a "
            "scalar a multiple of 4"
        )
    if arg.offset < FIRST_ARGUMENT_OFFSET:
        raise ManifestInvalid(f"argument {arg.name} at {arg.offset:#x} covers control registers")
    return arg


def _counter(fields: Fields) -> Counter:
    counter = Counter(fields.matching("name", _NAME), _offset(fields))
    fields.finish()
    return counter


def _offset(fields: Fields) -> int:
    offset = fields.integer("offset", 0, REGISTER_SPACE_BYTES - 4)
    if offset % 4:
        raise ManifestInvalid(f"{fields.where}: offset {offset:#x} is not a multiple of 4")
    return offset


def _vector(fields: Fields) -> Vector:
    args: list[tuple[str, str | int]] = []
    for item in fields.sequence("args"):
        match item:
            case ["in", str() as path]:
                args.append(("in", path))
            case ["out", int() as size] if size > 0:
                args.append(("out", size))
            case ["scalar", str() as digits] if re.fullmatch(r"([0-9a-f]{2})+", digits):
                args.append(("scalar", digits))
            case _:
                raise ManifestInvalid(f"{fields.where}: argument {item!r} is no in, out or scalar")
    vector = Vector(
        fields.matching("name", _TITLE),
        fields.matching("kernel", _NAME),
        tuple(args),
        fields.texts("expected"),
    )
    fields.finish()
    return vector


def _check_references(manifest: Manifest) -> None:
    """Every file, kernel and digest that is named exists."""
    for what, names in (
        ("kernel", [kernel.name for kernel in manifest.kernels]),
        ("counter", [counter.name for counter in manifest.counters]),
        ("self test", [vector.name for vector in manifest.self_tests]),
    ):
        if len(set(names)) != len(names):
            raise ManifestInvalid(f"manifest: two of {what} have one name: {names}")
    used = [*manifest.sources, *([manifest.state_map] if manifest.state_map else [])]
    for vector in manifest.self_tests:
        kernel = manifest.kernel(vector.kernel)
        kinds = ["scalar" if kind == "scalar" else "buffer" for kind, _ in vector.args]
        outs = sum(kind == "out" for kind, _ in vector.args)
        if (
            kernel is None
            or kinds != [arg.kind for arg in kernel.args]
            or outs != len(vector.expected)
        ):
            raise ManifestInvalid(f"self test {vector.name} does not fit kernel {vector.kernel}")
        used += [str(value) for kind, value in vector.args if kind == "in"] + [*vector.expected]
    for path in used:
        if path not in manifest.files:
            raise ManifestInvalid(f"manifest: {path!r} is used, but stands not in files")
    for digest in manifest.compatible_digests:
        if not _DIGEST.fullmatch(digest):
            raise ManifestInvalid(f"manifest: compatible digest {digest!r} is no digest")
