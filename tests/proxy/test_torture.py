"""The engine under sanitizers, on a real OpenCL driver: memory, undefined behaviour, data races."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hal import list_devices

ROOT = Path(__file__).parents[2]
SOURCES = [Path(__file__).with_name("torture.cpp"), *(ROOT / "proxy/native/engine").glob("*.cpp")]
COMPILER = "g++"
FLAGS = ["-std=c++20", "-g", "-O1", "-I", str(ROOT), "-ldl", "-pthread"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no {COMPILER}"),
    pytest.mark.skipif(
        "opencl:0" not in {info.uri for info in list_devices()}, reason="opencl:0 is not present"
    ),
]


def driver() -> str:
    """The library of the OpenCL driver that this process has loaded."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    found = {line.split()[-1] for line in lines if "/libpocl-" in line}
    if not found:
        pytest.skip("the device's driver is not PoCL: its library is not known here")
    return found.pop()


def built(folder: Path, sanitizer: str) -> Path:
    program = folder / "torture"
    names = [str(source) for source in SOURCES]
    command = [COMPILER, *names, f"-fsanitize={sanitizer}", *FLAGS, "-o", str(program)]
    if "undefined" in sanitizer:
        command.append("-fno-sanitize-recover=undefined")
    subprocess.run(command, check=True, capture_output=True, timeout=540)
    return program


def survives(program: Path, *arguments: str) -> None:
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0", "POCL_DEVICES": "pthread"}
    found = subprocess.run(
        [program, driver(), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert found.returncode == 0, found.stderr[-4000:]


def test_wild_records_and_words_touch_no_memory_that_is_not_theirs(tmp_path: Path) -> None:
    program = built(tmp_path, "address,undefined")
    for seed in ("1", "1000"):
        survives(program, "garbage", seed, "25")
    survives(program, "threads", "3", "20000")
    survives(program, "trips", "4", "5000")


def test_worker_and_engine_share_a_ring_without_a_race(tmp_path: Path) -> None:
    survives(built(tmp_path, "thread"), "threads", "5", "20000")


def test_whoever_sleeps_is_woken_by_the_device_s_own_thread_without_a_race(tmp_path: Path) -> None:
    survives(built(tmp_path, "thread"), "trips", "6", "5000")
