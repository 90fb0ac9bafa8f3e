"""`python -m bitstreams pack|verify|show`: bundles from the command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bitstreams import bundle as bundles
from bitstreams import manifest as manifests
from bitstreams.bundle import Bundle
from bitstreams.errors import BundleError, ManifestInvalid


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 1 with the error's code and message."""
    parser = argparse.ArgumentParser(prog="python -m bitstreams", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("pack", help="make a bundle of a folder and a draft manifest")
    command.add_argument("draft", type=Path, help="manifest.json; its digests are filled in")
    command.add_argument("folder", type=Path, help="the files")
    command.add_argument("out", type=Path, help="new directory for the bundle")
    for name, purpose in (("verify", "check a bundle"), ("show", "check a bundle and describe it")):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("bundle", type=Path)
        command.add_argument("--digest", help="the digest that it must have")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "pack":
            print(_pack(chosen.draft, chosen.folder, chosen.out).digest)
        else:
            bundle = bundles.load(chosen.bundle, chosen.digest)
            print(_describe(bundle) if chosen.command == "show" else f"intact: {bundle.digest}")
    except (BundleError, OSError) as error:
        print(f"{getattr(error, 'code', 'io_error')}: {error}", file=sys.stderr)
        return 1
    return 0


def _pack(draft: Path, folder: Path, out: Path) -> Bundle:
    files = bundles.read_folder(folder)
    try:
        raw = dict(json.loads(draft.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ManifestInvalid(f"{draft} is no JSON object: {error}") from error
    return bundles.pack(manifests.parse_draft(raw, files), files, out)


def _describe(bundle: Bundle) -> str:
    manifest = bundle.manifest
    lines = [
        f"overlay   {manifest.name}",
        f"digest    {bundle.digest}",
        f"part      {manifest.part}, {manifest.clock_mhz:g} MHz",
        f"state     {manifest.state_layout_id or 'cannot be halted'}",
    ]
    for kernel in manifest.kernels:
        args = ", ".join(f"{arg.kind} {arg.name} @{arg.offset:#x}" for arg in kernel.args)
        lines.append(f"kernel    {kernel.name}({args})")
    lines += [f"counter   {counter.name} @{counter.offset:#x}" for counter in manifest.counters]
    lines += [f"self test {vector.name}" for vector in manifest.self_tests]
    lines += [f"file      {path}  {len(bundle.files[path])} bytes" for path in manifest.files]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
