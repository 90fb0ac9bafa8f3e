"""Running an unmodified OpenCL program on devices behind servers.

The program's OpenCL loader is told of our driver (`native/opencl.*.so`) by environment variables,
so nothing of the program changes. Servers that do not run yet are started, and end with it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hal.errors import DeviceLost, UsageError
from hal.registry import DEVICE_VARIABLE, absent_backends, list_devices
from proxy import programs
from proxy.errors import LocalProtocolError
from proxy.info import PREFIX, running_servers
from proxy.launcher import spawn
from proxy.paths import ROOT_VARIABLE, SESSION_VARIABLE, ServerPaths, checked_name, write_atomically

DEVICES_VARIABLE = "HALTERE_DEVICES"
KIND = "opencl:"
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and as what. `devices`: how many it sees; None: as many as there are servers."""

    command: tuple[str, ...]
    name: str | None = None
    devices: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """How the servers that are started outlive a `kill -9`: so many others come after each; by
    default none, for a session that can be redone copies all that it writes and reads into a log.
    Checkpoints are taken as what is to be redone grows, into a store of the server's."""

    restarts: int = 0
    checkpoint_every_s: float | None = None
    store: str = ""


KEPT = Kept()


def driver() -> Path:
    """The OpenCL driver that is built beside this file. Raises LocalProtocolError."""
    folder = Path(__file__).with_name("native")
    for path in sorted(folder.glob("opencl.*.so")):
        return path
    raise LocalProtocolError(
        f"no OpenCL driver in {folder}: install haltere again, or build it in place: "
        "python -c 'from setuptools import setup; setup()' build_ext --inplace"
    )


def environment(root: Path, servers: Sequence[str], name: str, devices: int) -> dict[str, str]:
    """The variables that make a program use these servers; writes the loader's vendor file."""
    vendors = root / "vendors"
    vendors.mkdir(mode=0o700, parents=True, exist_ok=True)
    library = driver()
    write_atomically(vendors / "haltere.icd", f"{library}\n".encode())
    return {
        "OCL_ICD_VENDORS": str(vendors),
        "OCL_ICD_FILENAMES": str(library),
        # pyopencl's loader adds a driver of its own, and would put whoever has more devices first.
        "OCL_ICD_PLATFORM_SORT": "none",
        ROOT_VARIABLE: str(root.absolute()),
        SESSION_VARIABLE: name,
        DEVICE_VARIABLE: ",".join(servers),
        DEVICES_VARIABLE: str(devices),
    }


def session_name(program: Program) -> str:
    """The given name, or one that can be read in a list of jobs."""
    if program.name:
        return checked_name(program.name, "program")
    words = [Path(word).name for word in program.command if not word.startswith("-")]
    scripts = [word for word in words[1:] if word.endswith(".py")]
    script = [*scripts, *words, "job"][0]
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", script.removesuffix(".py")).strip("-_") or "job"
    return f"{plain[:60]}-{os.getpid()}"


def run(
    root: Path,
    program: Program,
    devices: Sequence[str] = (),
    keep: bool = False,
    kept: Kept = KEPT,
    told: Callable[[str], None] = lambda line: None,
) -> int:
    """Runs the program on the servers of `devices`, or on all of OpenCL devices; its exit status,
    negative: the signal that ended it. `keep`: servers started for it stay. `kept`: how they are.
    `told` is given what is done, line by line. Raises UsageError, DeviceLost, ServerGone."""
    if not program.command:
        raise UsageError("no program given: haltere run -- PROGRAM ARGUMENTS...")
    if program.devices is not None and program.devices < 1:
        raise UsageError(f"{program.devices} devices asked for: at least one")
    if kept.checkpoint_every_s is not None and not (kept.restarts and kept.checkpoint_every_s > 0):
        raise UsageError("--checkpoint-every: a time above 0, with --restarts 1 or more")
    name = session_name(program)
    driver()  # before anything is started
    if shutil.which(program.command[0]) is None and not Path(program.command[0]).exists():
        raise _no_such(program.command)
    with ExitStack() as ending:
        servers = [_serve(root, uri, keep, kept, ending, told) for uri in _wanted(root, devices)]
        variables = environment(root, servers, name, program.devices or len(servers))
        ending.callback(programs.bury, root, name)
        return _execute(program.command, os.environ | variables)


def _wanted(root: Path, given: Sequence[str]) -> list[str]:
    if given:
        return [uri.removeprefix(PREFIX) for uri in given]
    running = [paths.name for paths, _ in running_servers(root) if paths.opencl_values.exists()]
    if running:
        return running
    found = [info.uri for info in list_devices() if info.uri.startswith(KIND)]
    if not found:
        why = {absent.name: absent.reason for absent in absent_backends()}
        raise DeviceLost(
            "no OpenCL device here"
            + (f": {why['opencl']}" if "opencl" in why else "")
            + "; name a running server by --device, or install one: pip install 'haltere[opencl]'"
        )
    return found


def _serve(
    root: Path,
    uri: str,
    keep: bool,
    kept: Kept,
    ending: ExitStack,
    told: Callable[[str], None],
) -> str:
    """The name of a server of this device (or by this name), started if there is none."""
    for paths, info in running_servers(root):
        if uri in (paths.name, info.device.uri):
            if not paths.opencl_values.exists():
                raise _not_served(uri)
            return paths.name
    told(f"starting a server of {uri}")
    server = spawn(
        uri,
        root,
        tied=not keep,
        checkpoint_every_s=kept.checkpoint_every_s,
        store=kept.store,
        restarts=kept.restarts,
    )
    if not keep:
        ending.callback(server.stop)
    if not ServerPaths.under(root, server.paths.name).opencl_values.exists():
        server.stop()
        raise _not_served(uri)
    return server.paths.name


def _not_served(uri: str) -> UsageError:
    return UsageError(
        f"{uri} is not served by the native engine, which OpenCL programs need: it is no OpenCL "
        "device, or haltere was not built for this release (install it again)"
    )


def _no_such(command: Sequence[str]) -> UsageError:
    return UsageError(f"{command[0]}: no such program")


def _execute(command: Sequence[str], variables: Mapping[str, str]) -> int:
    try:
        process = subprocess.Popen(command, env=variables)
    except FileNotFoundError as error:
        raise _no_such(command) from error
    except PermissionError as error:
        raise UsageError(f"{command[0]}: not a program that may be run") from error
    # the terminal sends its interrupts to the program too: waiting for it is all we do
    before = {signum: signal.signal(signum, _forwarder(process)) for signum in _PASSED_ON}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda signum, frame: None)
    try:
        return process.wait()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _forwarder(process: subprocess.Popen[bytes]) -> Callable[[int, object], None]:
    return lambda signum, frame: process.send_signal(signum)
