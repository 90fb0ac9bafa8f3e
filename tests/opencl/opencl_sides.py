"""The two sides of a comparison: a program with the device's own driver, and the same program,
unmodified, with haltere's driver and a proxy server behind it."""

from __future__ import annotations

import ctypes.util
import hashlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyopencl
from opencl_machine import Machine

from proxy import run

HERE = Path(__file__).parent
COMPILER = ["g++", "-std=c++20", "-O1", "-Wall", "-Wextra", "-Wno-deprecated-declarations"]
POCL_CACHE = str(Path.home() / ".cache/pocl/kcache")  # kept, or each run compiles for minutes


@dataclass(frozen=True)
class Outcome:
    code: int
    out: bytes
    err: bytes

    @property
    def lines(self) -> list[str]:
        """What must be equal on both sides: lines that begin with "~" are for a reader."""
        return [line for line in self.out.decode().splitlines() if not line.startswith("~")]

    def checked(self) -> Outcome:
        """Itself, if the program ended well."""
        assert self.code == 0, (
            f"status {self.code}\n{self.out.decode()[-3000:]}\n{self.err.decode()[-3000:]}"
        )
        return self


class Side:
    """Runs programs with these environment variables more."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def start(self, command: list[str], **more: str) -> subprocess.Popen[bytes]:
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("OCL_ICD_", "HALTERE_"))
        }
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean | self.environment | more,
            start_new_session=True,  # so that it ends with all that it started
        )

    def run(self, command: list[str], timeout_s: float = 120.0, **more: str) -> Outcome:
        return finish(self.start(command, **more), timeout_s)


def finish(process: subprocess.Popen[bytes], timeout_s: float) -> Outcome:
    """Wait; kill what takes longer. Whatever it printed is in the outcome."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill(process)
        out, err = process.communicate()
        err += b"\nkilled after %d s" % timeout_s
    return Outcome(process.returncode, out, err)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def native(folder: Path) -> Side:
    """The processor's own driver, as a loader of the system finds it: pyopencl's bundled loader
    works inside pyopencl only. One device, as a proxy with one server shows."""
    drivers = list(Path(pyopencl.__file__).parent.glob(".libs/libpocl*.so"))
    assert len(drivers) == 1, f"pocl-binary-distribution brings one driver, not {drivers}"
    (folder / "pocl.icd").write_text(f"{drivers[0]}\n")
    own = {"OCL_ICD_VENDORS": str(folder), "POCL_DEVICES": "pthread"}
    return Side(own | _caches(folder))


def proxied(machine: Machine, folder: Path, name: str = "") -> Side:
    """What `haltere run` sets: the first server shows one device. `name`: of the program."""
    return Side(run.environment(machine.root, machine.servers, name, 1) | _caches(folder))


def _caches(folder: Path) -> dict[str, str]:
    """Programs keep what they compiled by the platform's name: each side for itself."""
    return {"XDG_CACHE_HOME": str(folder), "POCL_CACHE_DIR": POCL_CACHE}


def loader() -> str | None:
    return ctypes.util.find_library("OpenCL")


def compiled(source: Path, cache: Path) -> str:
    """The program of a C++ source, from the cache if nothing of it has changed."""
    text = b"".join(path.read_bytes() for path in (source, *source.parent.glob("*.hpp")))
    digest = hashlib.sha256(text + " ".join(COMPILER).encode()).hexdigest()[:16]
    program = cache / f"{source.stem}-{digest}"
    if not program.exists():
        partial = program.with_name(f"{program.name}.{os.getpid()}")
        libraries = [f"-l:{loader()}", "-lpthread"]
        subprocess.run([*COMPILER, source, "-o", partial, *libraries], check=True, timeout=300)
        partial.replace(program)
    return str(program)
