"""The training job behind a proxy, halted and moved in mid-run, as a user would start it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hal import list_devices
from proxy.control import Control
from proxy.launcher import spawn

DEVICES = ("opencl:0", "opencl:1")
SESSION = "trainer"
JOB = (sys.executable, "-m", "service.demo.train", "--net", "both", "--steps", "250")
DEADLINE_S = 300.0


@pytest.fixture
def root() -> Iterator[Path]:
    """Two servers, one per device, in shared memory of their own."""
    if not set(DEVICES) <= {info.uri for info in list_devices()}:
        pytest.skip(f"needs {' and '.join(DEVICES)}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir="/dev/shm")))
        for uri in DEVICES:
            stack.callback(spawn(uri, folder, tied=True).stop)
        yield folder


def direct(out: Path) -> str:
    done = subprocess.run(
        [*JOB, "--report-every", "17", "--out", str(out)],
        env={**os.environ, "HALTERE_DEVICE": DEVICES[0]},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    return sha_line(done.stdout.splitlines())


def sha_line(lines: list[str]) -> str:
    return next(line for line in lines if line.startswith("sha256 "))


def test_a_training_moved_twice_in_mid_run_ends_in_the_same_bits(
    root: Path, tmp_path: Path
) -> None:
    worker = subprocess.Popen(
        [*JOB, "--report-every", "50", "--out", str(tmp_path / "moved.npz")],
        env={
            **os.environ,
            "HALTERE_DEVICE": f"proxy:{DEVICES[0]}",
            "HALTERE_SESSION": SESSION,
            "HALTERE_PROXY_ROOT": str(root),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    halt_after = ["mlp step 50/", "lstm step 100/"]
    lines, here, there, moves = [], *DEVICES, 0
    with worker:
        try:
            for line in worker.stdout:
                lines.append(line.rstrip())
                if moves < len(halt_after) and line.startswith(halt_after[moves]):
                    checkpoint = Control(root, here).suspend(SESSION, tmp_path / "store")
                    here, there, moves = there, here, moves + 1
                    Control(root, here).resume(SESSION, checkpoint, tmp_path / "store")
            assert worker.wait(DEADLINE_S) == 0
        finally:
            worker.kill()  # one that waits for a device would wait for ever
    assert moves == len(halt_after)
    assert sha_line(lines) == direct(tmp_path / "direct.npz")
    assert (tmp_path / "moved.npz").read_bytes() == (tmp_path / "direct.npz").read_bytes()
