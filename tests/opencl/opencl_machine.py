"""Programs that run under our driver, or natively."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from proxy import run

PROGRAMS = Path(__file__).with_name("programs")
TIMEOUT_S = 120
_OURS = ("OCL_ICD_", "HALTERE_")


@dataclass(frozen=True)
class Machine:
    """Servers under a root of their own."""

    root: Path
    servers: tuple[str, ...]

    def under(
        self, *arguments: str, name: str = "", devices: int = 0, stdin: int | None = None
    ) -> subprocess.Popen[str]:
        """`python ARGUMENTS` under our driver."""
        count = devices or len(self.servers)
        return start(arguments, run.environment(self.root, self.servers, name, count), stdin)


def start(
    arguments: tuple[str, ...], variables: dict[str, str], stdin: int | None = None
) -> subprocess.Popen[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=clean | variables,
        cwd=PROGRAMS,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(process: subprocess.Popen[str]) -> list[str]:
    """What a program printed, once it has ended well."""
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, f"{out}\n{err}"
    return out.splitlines()
