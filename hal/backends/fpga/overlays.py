"""The overlays that ship with haltere, as values: built from their recipes on first use.

RTL goes through state capture and is packed as a bundle; both steps are cached by a digest of all
that goes in. `overlay("checksum")` is what `Device.configure` takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bitstreams
import rtl_sim
from bitstreams import Bundle, BundleError, Manifest, Vector
from bitstreams.manifest import SCHEMA_VERSION, parse_draft
from hal.backends.fpga.recipe import Recipe, recipes
from hal.backends.fpga.verilator_shell import PART
from hal.errors import OverlayRejected
from hal.types import Overlay, ProgramImage, SelfTest
from rtl_sim import cache
from rtl_sim.design import Design
from rtl_sim.errors import SimError

RTL_FILE = "rtl/overlay.v"
STATE_MAP_FILE = "state.json"
_RTL_SIM = Path(rtl_sim.__file__).parent


def names() -> tuple[str, ...]:
    """Of the overlays that `overlay` can build."""
    return tuple(recipes())


@lru_cache(maxsize=32)  # values of some hundred kB; a process uses a handful
def overlay(name: str) -> Overlay:
    """The shipped overlay of that name. Raises OverlayRejected."""
    known = recipes()
    if name not in known:
        raise OverlayRejected(f"no overlay {name!r}; there are {', '.join(known) or 'none'}")
    try:
        return as_overlay(_bundle(known[name]))
    except (SimError, BundleError) as error:
        raise OverlayRejected(f"overlay {name!r} cannot be made: {error}") from error


def as_overlay(bundle: Bundle) -> Overlay:
    """A bundle, e.g. one loaded from disk, as the value that crosses the seam."""
    return Overlay(bundle.digest, bundle.manifest_bytes, bundle.files)


def self_tests(made: Overlay) -> tuple[SelfTest, ...]:
    """The known-answer programs that an overlay carries in its manifest."""
    try:
        bundle = bitstreams.verified(made.manifest, made.files, made.digest)
    except BundleError as error:
        raise OverlayRejected(f"overlay {made.digest[:16]}: {error}") from error
    return tuple(_self_test(vector, bundle, made) for vector in bundle.manifest.self_tests)


def _self_test(vector: Vector, bundle: Bundle, made: Overlay) -> SelfTest:
    args: list[tuple[str, bytes | int]] = []
    for kind, value in vector.args:
        if kind == "in":
            args.append((kind, bundle.files[str(value)]))
        elif kind == "out":
            args.append((kind, int(value)))
        else:
            args.append((kind, bytes.fromhex(str(value))))
    return SelfTest(
        name=f"{bundle.manifest.name}: {vector.name}",
        image=ProgramImage("overlay", bundle.digest.encode()),
        entry=vector.kernel,
        args=tuple(args),
        expected=tuple(bundle.files[path] for path in vector.expected),
        overlay=made,
    )


# ---- building


def _bundle(recipe: Recipe) -> Bundle:
    key = cache.digest_of(
        _capture_key(recipe),
        recipe.name,
        recipe.content,
        str(SCHEMA_VERSION),
        *_contents(_RTL_SIM / "model", _RTL_SIM / "spec"),  # vectors are computed by these
        *_contents(Path(__file__).parent),
    )

    def build(folder: Path) -> None:
        bitstreams.pack(*_draft(recipe), folder / "bundle")

    return bitstreams.load(cache.entry("bundles", key, build) / "bundle")


def _draft(recipe: Recipe) -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and files, the known answers as files of their own."""
    captured = _captured(recipe)
    files = {
        RTL_FILE: (captured / "overlay.v").read_bytes(),
        STATE_MAP_FILE: (captured / "state.json").read_bytes(),
    }
    vectors = []
    for index, vector in enumerate(recipe.vectors()):
        args: list[tuple[str, str | int]] = []
        expected = []
        for position, (kind, value) in enumerate(vector["args"]):
            if kind == "in":
                path = f"self_tests/{index}/in{position}.bin"
                files[path] = bytes(value)
                args.append((kind, path))
            else:
                args.append((kind, value if kind == "out" else bytes(value).hex()))
        for position, answer in enumerate(vector["expected"]):
            path = f"self_tests/{index}/out{position}.bin"
            files[path] = bytes(answer)
            expected.append(path)
        vectors.append(
            {"name": vector["name"], "kernel": vector["kernel"], "args": args, "expected": expected}
        )
    draft: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": recipe.name,
        "part": PART,
        "clock_mhz": recipe.clock_mhz,
        "top": recipe.top,
        "sources": [RTL_FILE],
        "state_map": STATE_MAP_FILE,
        "state_layout_id": json.loads(files[STATE_MAP_FILE])["layout_id"],
        "kernels": recipe.kernels,
        "counters": recipe.counters,
        "compatible_digests": [],
        "self_tests": vectors,
        "signature": None,
    }
    return parse_draft(draft, files), files


def _captured(recipe: Recipe) -> Path:
    from rtl_sim.capture import (
        Options,
        capture,
    )  # loads Yosys: only when something must be captured

    def build(folder: Path) -> None:
        design = Design(recipe.sources, recipe.top, recipe.params)
        result = capture(design, folder, Options(lanes=recipe.lanes))
        result.verilog.rename(folder / "overlay.v")
        result.state_map.rename(folder / "state.json")

    return cache.entry("captures", _capture_key(recipe), build)


def _capture_key(recipe: Recipe) -> str:
    return cache.digest_of(
        version("pyosys"),
        recipe.top,
        repr(sorted(recipe.params.items())),
        str(recipe.lanes),
        *_of_files(recipe.sources),
        *_contents(_RTL_SIM / "capture"),
    )


def _contents(*folders: Path) -> Iterable[bytes | str]:
    return _of_files([path for folder in folders for path in sorted(folder.glob("*.py"))])


def _of_files(paths: Sequence[Path]) -> Iterable[bytes | str]:
    for path in paths:
        yield path.name
        yield path.read_bytes()
