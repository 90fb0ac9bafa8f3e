"""Builds in a process of their own end, fail and are ended where their caller sees it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rtl_sim.errors import BuildFailed
from rtl_sim.verilated import toolchain
from rtl_sim.verilated.background import Background
from rtl_sim.verilated.build import Design, find_library

if toolchain.absence():
    pytest.skip(str(toolchain.absence()), allow_module_level=True)
LONG_S = 60.0
STALLED = """#!/bin/sh
case "$1" in --version) exec g++ --version;; esac
echo $$ > "{pid}"
exec sleep 1000
"""


@pytest.fixture
def stalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that never ends; the file that its process writes its number into."""
    pid, compiler = tmp_path / "pid", tmp_path / "stalled"
    compiler.write_text(STALLED.format(pid=pid))
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("HALTERE_CACHE", str(tmp_path / "cache"))
    return pid


def design(
    folder: Path, text: str = "module t(input a, output b); assign b = a; endmodule"
) -> Design:
    (folder / "t.v").write_text(text)
    return Design((folder / "t.v",), "t")


def wait_for(path: Path) -> int:
    """The number of the compiler's process, once it runs."""
    for _ in range(round(LONG_S / 0.05)):
        if path.exists() and (text := path.read_text().strip()):
            return int(text)
        time.sleep(0.05)
    raise AssertionError("no compiler was started")


def is_gone(pid: int) -> bool:
    for _ in range(round(LONG_S / 0.05)):
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_a_build_that_fails_says_why_each_time_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALTERE_CACHE", str(tmp_path / "cache"))
    building = Background(design(tmp_path, "module t(input a, output b); assign b = ; endmodule"))
    give_up = time.monotonic() + LONG_S
    for _ in range(2):
        with pytest.raises(BuildFailed, match="syntax error"):
            while not building.poll():
                assert time.monotonic() < give_up
                time.sleep(0.05)
    building.cancel()


def test_a_build_that_is_not_done_in_time_is_ended_with_its_compilers(
    tmp_path: Path, stalled: Path
) -> None:
    wanted = design(tmp_path)
    building = Background(wanted, timeout_s=LONG_S)
    assert not building.poll()
    compiler = wait_for(stalled)
    building._deadline = time.monotonic()
    for _ in range(2):
        with pytest.raises(BuildFailed, match=f"not done after {LONG_S:.0f} s"):
            building.poll()
    assert is_gone(compiler)
    assert find_library(wanted) is None
    building.cancel()


def test_a_build_that_nobody_wants_is_ended_with_its_compilers(
    tmp_path: Path, stalled: Path
) -> None:
    building = Background(design(tmp_path))
    compiler = wait_for(stalled)
    for _ in range(2):
        building.cancel()
    assert is_gone(compiler)
